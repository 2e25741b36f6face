//! What the controllers ask of a pod, and the pod that a template makes.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::template;

/// One condition of its status.
pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// The phase; Pending until somebody says otherwise.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// Its containers have ended for good.
pub fn finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Its deletion has begun.
pub fn terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// It counts as a replica.
pub fn active(pod: &Pod) -> bool {
    !finished(pod) && !terminating(pod)
}

/// It serves.
pub fn ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// Since when it serves.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|condition| condition.status == "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// Whether it has been ready for `min_ready_seconds`.
pub fn available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    ready(pod) && (min_ready_seconds <= 0 || available_in(pod, min_ready_seconds, now) == Some(Duration::ZERO))
}

/// How long it must stay ready until it is available; `None` if it is not ready.
pub fn available_in(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    let passed = now.duration_since(ready_since(pod)?);
    let wanted = jiff::SignedDuration::from_secs(i64::from(min_ready_seconds));
    Some(Duration::try_from(wanted - passed).unwrap_or(Duration::ZERO))
}

/// The node it is bound to.
pub fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty())
}

/// How often its containers have been started again, the one that was most often.
pub fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| status.restart_count).max().unwrap_or(0)
}

/// The pod that `owner` makes of its template. `salt` is the cluster's revision and the number of the pod among those made at it: whoever makes
/// the same pod twice finds that it is there.
pub fn from_template(
    template: &PodTemplateSpec,
    owner: OwnerReference,
    namespace: Option<&String>,
    salt: (u64, usize),
) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    let generate_name = format!("{}-", owner.name);
    Pod {
        metadata: ObjectMeta {
            name: Some(name(&generate_name, &owner.uid, salt)),
            generate_name: Some(generate_name),
            namespace: namespace.cloned(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// A name like those that the server generates, but the same for the same salt: a controller can tell of the pod that it makes.
fn name(generate_name: &str, uid: &str, (revision, number): (u64, usize)) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    const SUFFIX: usize = 5;
    let salt = format!("{uid}/{revision}/{number}");
    let mut hash =
        u64::from(template::fnv32(&[salt.as_bytes()])) << 32 | u64::from(template::fnv32(&[b"-", salt.as_bytes()]));
    let mut name: String = generate_name.chars().take(63 - SUFFIX).collect();
    for _ in 0..SUFFIX {
        name.push(char::from(LETTERS[usize::try_from(hash % 27).unwrap_or(0)]));
        hash /= 27;
    }
    name
}
