//! `v1 Service`.

use serde_json::json;

use super::{Kind, NameRule, Subresource, Verbs, strategy};
use crate::object::Look;

/// A lasting address of pods that come and go.
pub static KIND: Kind = Kind {
    kind: "Service",
    plural: "services",
    singular: "service",
    short: &["svc"],
    categories: &["all"],
    subresources: &[
        Subresource { name: "proxy", group: "", version: "v1", kind: "ServiceProxyOptions", verbs: Verbs::PROXY },
        Subresource { name: "status", group: "", version: "v1", kind: "Service", verbs: Verbs::PART },
    ],
    schema: "Service",
    name: NameRule::Label1035,
    prepare: |new, old| {
        strategy::status_apart(new, old);
        if old.is_none() {
            new.put("status.loadBalancer", json!({}));
        }
    },
    fields: &[
        ("spec.clusterIP", |object| object.text("spec.clusterIP").to_owned()),
        ("spec.type", |object| object.text("spec.type").to_owned()),
    ],
    ..Kind::BASE
};
