//! `v1 Event`.

use super::Kind;
use crate::object::Look;

/// Something that happened.
pub static KIND: Kind = Kind {
    kind: "Event",
    plural: "events",
    singular: "event",
    short: &["ev"],
    schema: "Event",
    fields: &[
        ("involvedObject.kind", |object| object.text("involvedObject.kind").to_owned()),
        ("involvedObject.namespace", |object| object.text("involvedObject.namespace").to_owned()),
        ("involvedObject.name", |object| object.text("involvedObject.name").to_owned()),
        ("involvedObject.uid", |object| object.text("involvedObject.uid").to_owned()),
        ("involvedObject.apiVersion", |object| object.text("involvedObject.apiVersion").to_owned()),
        ("involvedObject.resourceVersion", |object| object.text("involvedObject.resourceVersion").to_owned()),
        ("involvedObject.fieldPath", |object| object.text("involvedObject.fieldPath").to_owned()),
        ("reason", |object| object.text("reason").to_owned()),
        ("reportingComponent", |object| object.text("reportingComponent").to_owned()),
        ("source", |object| object.text("source.component").to_owned()),
        ("type", |object| object.text("type").to_owned()),
    ],
    ..Kind::BASE
};
