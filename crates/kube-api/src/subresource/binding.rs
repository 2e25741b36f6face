//! `binding`: a pod is given to a node.

use serde_json::{Value, json};

use crate::{
    kind::Kind,
    object::{Look, meta},
    status::Failure,
    verb::update::Changed,
};

/// The pod on the node that a binding names.
pub fn change(kind: &Kind, pod: &Value, binding: &Value, now: &str) -> Changed {
    let name = meta::name(pod);
    let node = binding.text("target.name");
    if node.is_empty() {
        return Err(Failure::unprocessable(format!("Binding {name:?} is invalid: target.name: Required value")));
    }
    let uid = binding.text("metadata.uid");
    if !uid.is_empty() && uid != pod.text("metadata.uid") {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            pod.text("metadata.uid")
        );
        return Err(Failure::conflict(kind, name, &why));
    }
    let holder = pod.text("spec.nodeName");
    if !holder.is_empty() {
        let why = format!("pod {name} is already assigned to node {holder:?}");
        return Err(Failure::conflict(kind, name, &why));
    }
    if meta::is_terminating(pod) {
        return Err(Failure::conflict(
            kind,
            name,
            &format!("pod {name} is being deleted, cannot be assigned to a host"),
        ));
    }
    let mut bound = pod.clone();
    bound.put("spec.nodeName", node);
    let mut conditions: Vec<Value> =
        bound.list("status.conditions").iter().filter(|c| c.text("type") != "PodScheduled").cloned().collect();
    conditions
        .push(json!({ "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now }));
    bound.put("status.conditions", conditions);
    Ok((bound, Vec::new()))
}
