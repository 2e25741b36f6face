//! A new node gets no pods before it has said that it is ready (the page "Admission Controllers", `TaintNodesByCondition`).

use serde_json::{Value, json};

use crate::object::Look;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const EFFECT: &str = "NoSchedule";

/// Admits a new node.
pub fn create(node: &mut Value) {
    let mut taints = node.list("spec.taints").to_vec();
    if !taints.iter().any(|taint| taint.text("key") == NOT_READY && taint.text("effect") == EFFECT) {
        taints.push(json!({ "key": NOT_READY, "effect": EFFECT }));
        node.put("spec.taints", taints);
    }
}
