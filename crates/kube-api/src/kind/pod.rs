//! `v1 Pod`.

use super::{Kind, Subresource, Verbs, strategy};
use crate::object::Look;

/// Containers that live together.
pub static KIND: Kind = Kind {
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short: &["po"],
    categories: &["all"],
    subresources: &[
        Subresource { name: "attach", group: "", version: "v1", kind: "PodAttachOptions", verbs: Verbs::STREAM },
        Subresource { name: "binding", group: "", version: "v1", kind: "Binding", verbs: Verbs::CREATE },
        Subresource { name: "ephemeralcontainers", group: "", version: "v1", kind: "Pod", verbs: Verbs::PART },
        Subresource { name: "eviction", group: "policy", version: "v1", kind: "Eviction", verbs: Verbs::CREATE },
        Subresource { name: "exec", group: "", version: "v1", kind: "PodExecOptions", verbs: Verbs::STREAM },
        Subresource { name: "log", group: "", version: "v1", kind: "Pod", verbs: Verbs(&["get"]) },
        Subresource {
            name: "portforward",
            group: "",
            version: "v1",
            kind: "PodPortForwardOptions",
            verbs: Verbs::STREAM,
        },
        Subresource { name: "proxy", group: "", version: "v1", kind: "PodProxyOptions", verbs: Verbs::PROXY },
        Subresource { name: "resize", group: "", version: "v1", kind: "Pod", verbs: Verbs::PART },
        Subresource { name: "status", group: "", version: "v1", kind: "Pod", verbs: Verbs::PART },
    ],
    schema: "Pod",
    prepare: |new, old| {
        strategy::generations(new, old);
        if old.is_none() {
            new.put("status.phase", "Pending");
        }
    },
    fields: &[
        ("spec.nodeName", |object| object.text("spec.nodeName").to_owned()),
        ("spec.restartPolicy", |object| object.text("spec.restartPolicy").to_owned()),
        ("spec.schedulerName", |object| object.text("spec.schedulerName").to_owned()),
        ("spec.serviceAccountName", |object| object.text("spec.serviceAccountName").to_owned()),
        ("spec.hostNetwork", |object| object.is("spec.hostNetwork").to_string()),
        ("status.phase", |object| object.text("status.phase").to_owned()),
        ("status.podIP", |object| object.text("status.podIP").to_owned()),
        ("status.nominatedNodeName", |object| object.text("status.nominatedNodeName").to_owned()),
    ],
    ..Kind::BASE
};
