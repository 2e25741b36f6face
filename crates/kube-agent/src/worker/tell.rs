//! What a worker tells the API of its pod.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use tracing::debug;

use super::Worker;
use crate::{
    event::Kind,
    pod::{Seen, spec, status::status},
};

/// How long after a failure of the API the status is told again.
const AGAIN: Duration = Duration::from_secs(1);
/// The reason of a pod whose time is over.
const OVERDUE: &str = "DeadlineExceeded";

impl Worker {
    /// Tells the API how the pod is, if that is news. When it must be told again.
    pub(super) async fn tell(&mut self, seen: &Seen, now: Timestamp) -> Option<Duration> {
        // What is told of a pod that goes is how it ended, not how it is taken apart.
        if self.gone || self.deleted || (self.is_ending() && (self.clearing || seen.attempts.is_empty())) {
            return None;
        }
        let status = status(&self.pod, seen, now);
        if self.reported.as_ref() == Some(&status) {
            return None;
        }
        self.tell_news(&status);
        let (name, namespace, uid) = spec::names(&self.pod);
        let pods: Api<Pod> = Api::namespaced(self.shared.client.clone(), &namespace);
        let mut patch = serde_json::json!({ "metadata": { "uid": uid }, "status": status });
        // What is absent is not meant to stay as it was.
        for gone in ["reason", "message"] {
            let known = self
                .pod
                .status
                .as_ref()
                .and_then(|s| if gone == "reason" { s.reason.clone() } else { s.message.clone() });
            if known.is_some() && patch["status"].get(gone).is_none() {
                patch["status"][gone] = serde_json::Value::Null;
            }
        }
        match pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(patched) => {
                if patched.metadata.uid == self.pod.metadata.uid {
                    // What times it has now is what the next one goes on from.
                    let mut pod = (*self.pod).clone();
                    pod.status = patched.status;
                    self.pod = Arc::new(pod);
                }
                self.reported = Some(status);
                None
            }
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409 | 422) => {
                debug!(pod = name, %error, "the status of a pod is not taken");
                self.reported = Some(status);
                None
            }
            Err(error) => {
                debug!(pod = name, %error, "the status of a pod is told again");
                Some(AGAIN)
            }
        }
    }

    /// Tells of what begins: containers that wait for their next start, and the end of the pod's time.
    fn tell_news(&self, status: &PodStatus) {
        let reason = |status: &ContainerStatus| status.state.clone()?.waiting?.reason;
        let (name, namespace, uid) = spec::names(&self.pod);
        for container in statuses(Some(status)) {
            let before = statuses(self.reported.as_ref()).find(|known| known.name == container.name).and_then(reason);
            let now = reason(container).filter(|_| reason(container) != before);
            let pod_spec = spec::of(&self.pod);
            let found = spec::container(&pod_spec, &container.name);
            let tell = |kind, reason, words: String| {
                let field = found.as_ref().map(|(role, _)| spec::field_path(*role, &container.name));
                self.shared.recorder.tell(&self.pod, field, kind, reason, words);
            };
            match now.as_deref() {
                Some("CrashLoopBackOff") => {
                    let of = format!("{} in pod {name}_{namespace}({uid})", container.name);
                    tell(Kind::Warning, "BackOff", format!("Back-off restarting failed container {of}"));
                }
                Some("ImagePullBackOff") => {
                    tell(Kind::Normal, "BackOff", format!("Back-off pulling image \"{}\"", container.image));
                    tell(Kind::Warning, "Failed", "Error: ImagePullBackOff".to_owned());
                }
                _ => {}
            }
        }
        if self.overdue(status) && !self.reported.as_ref().is_some_and(|reported| self.overdue(reported)) {
            self.shared.recorder.tell(
                &self.pod,
                None,
                Kind::Normal,
                OVERDUE,
                status.message.clone().unwrap_or_default(),
            );
        }
    }

    fn overdue(&self, status: &PodStatus) -> bool {
        status.reason.as_deref() == Some(OVERDUE)
    }
}

/// All that is told of the containers of a pod.
pub(super) fn statuses(status: Option<&PodStatus>) -> impl Iterator<Item = &ContainerStatus> {
    status.into_iter().flat_map(|status| {
        status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
    })
}
