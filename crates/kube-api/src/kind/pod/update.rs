//! What may change of a pod that is there.

use serde_json::{Value, json};

use super::spec;
use crate::{
    kind::{Errors, Path, strategy::list_mut},
    object::Look,
};

const REFUSED: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Finds what may not change from `old` to `new`.
pub fn validate(new: &Value, old: &Value, errors: &mut Errors) {
    let path = Path::new("spec");
    for kind in ["containers", "initContainers"] {
        let count = |pod: &Value| pod.list(&format!("spec.{kind}")).len();
        if count(new) != count(old) {
            errors.forbidden(&path.field(kind), "pod updates may not add or remove containers");
            return;
        }
    }
    let (before, after) = (old.int("spec.activeDeadlineSeconds"), new.int("spec.activeDeadlineSeconds"));
    match (before, after) {
        (Some(before), Some(after)) if after > before => {
            let wrong = "must be less than or equal to previous value";
            errors.invalid(&path.field("activeDeadlineSeconds"), after, wrong);
        }
        (Some(_), None) => {
            errors.invalid(
                &path.field("activeDeadlineSeconds"),
                Value::Null,
                "must not update from a positive integer to nil value",
            );
        }
        _ => {}
    }
    let tolerated = new.list("spec.tolerations");
    if !old.list("spec.tolerations").iter().all(|one| tolerated.iter().any(|other| is_kept(one, other))) {
        errors.forbidden(
            &path.field("tolerations"),
            "existing toleration can not be modified except its tolerationSeconds",
        );
    }
    let (before, mut after) =
        (old.at("spec").cloned().unwrap_or_default(), new.at("spec").cloned().unwrap_or_default());
    take_over(&mut after, &before);
    if after != before {
        errors.forbidden(&path, format!("{REFUSED}\n{}", difference(&before, &after)));
    }
}

/// The pod as it was, with the resources that it is to have now: what its subresource `resize` may change, so long as the pod stays in its
/// class.
pub fn resized(old: &Value, new: &Value, errors: &mut Errors) -> Value {
    let mut resized = old.clone();
    for kind in ["containers", "initContainers"] {
        let wanted = new.list(&format!("spec.{kind}"));
        let Some(spec) = resized.get_mut("spec") else { break };
        for (container, wanted) in list_mut(spec, kind).zip(wanted) {
            same(container, wanted, &["resources"]);
        }
    }
    let (before, after) = (spec::qos_class(old), spec::qos_class(new));
    if before != after {
        let wrong = "Pod QOS Class may not change as a result of resizing";
        errors.invalid(&Path::new("spec"), after, wrong);
    }
    resized
}

fn is_kept(old: &Value, new: &Value) -> bool {
    ["key", "operator", "value", "effect"].iter().all(|field| old.text(field) == new.text(field))
}

/// Makes equal what may change, and what other subresources change.
fn take_over(new: &mut Value, old: &Value) {
    for kind in ["containers", "initContainers"] {
        for (container, before) in list_mut(new, kind).zip(old.list(kind)) {
            same(container, before, &["image"]);
        }
    }
    let mut fields = vec!["activeDeadlineSeconds", "tolerations", "ephemeralContainers"];
    if old.int("terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        fields.push("terminationGracePeriodSeconds");
    }
    // A binding sets it; gates are only ever taken away.
    if old.text("nodeName").is_empty() {
        fields.push("nodeName");
    }
    let gates = old.list("schedulingGates");
    if new.list("schedulingGates").iter().all(|gate| gates.contains(gate)) {
        fields.extend(["schedulingGates", "nodeSelector"]);
    }
    same(new, old, &fields);
}

fn same(new: &mut Value, old: &Value, fields: &[&str]) {
    for field in fields {
        match old.get(*field) {
            Some(value) => new.put(field, value.clone()),
            None => drop(new.take_at(field)),
        }
    }
}

/// The fields that differ, as lines of a diff.
fn difference(old: &Value, new: &Value) -> String {
    let mut lines = Vec::new();
    compare(old, new, "", &mut lines);
    lines.join("\n")
}

fn compare(old: &Value, new: &Value, path: &str, lines: &mut Vec<String>) {
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        if let (Value::Array(before), Value::Array(after)) = (old, new)
            && before.len() == after.len()
        {
            for (at, (before, after)) in before.iter().zip(after).enumerate() {
                compare(before, after, &format!("{path}[{at}]"), lines);
            }
        } else if old != new {
            lines.extend([format!("- {path}: {old}"), format!("+ {path}: {new}")]);
        }
        return;
    };
    let null = json!(null);
    for name in before.keys().chain(after.keys().filter(|name| !before.contains_key(*name))) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        compare(before.get(name).unwrap_or(&null), after.get(name).unwrap_or(&null), &path, lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_may_change_by_their_subresource() {
        let pod = |cpu: &str, request: &str, image: &str| {
            let resources =
                json!({ "limits": { "cpu": cpu, "memory": "1Mi" }, "requests": { "cpu": request, "memory": "1Mi" } });
            json!({ "spec": { "containers": [{ "name": "a", "image": image, "resources": resources }] } })
        };
        let check = |new: Value, expected: &[&str]| {
            let mut errors = Errors::default();
            let old = resized(&pod("1", "1", "x"), &new, &mut errors);
            validate(&new, &old, &mut errors);
            let found: Vec<_> = errors.0.iter().map(|error| error.to_string()).collect();
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.contains(expected), "{found}");
            }
        };
        check(pod("2", "2", "x"), &[]);
        check(pod("2", "1", "x"), &["Pod QOS Class may not change as a result of resizing"]);
        let mut named = pod("2", "2", "x");
        named["spec"]["containers"][0]["tty"] = json!(true);
        check(named, &["pod updates may not change fields other than"]);
    }
}
