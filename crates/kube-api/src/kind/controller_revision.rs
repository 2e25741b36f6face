//! `apps/v1 ControllerRevision`.

use super::{Column, Kind, Path, column, syntax, workload};
use crate::object::Look;

/// A past wish of a controller.
pub static KIND: Kind = Kind {
    group: "apps",
    kind: "ControllerRevision",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    schema: "ControllerRevision",
    columns: COLUMNS,
    validate: |object, errors| {
        syntax::check_number(object.at("revision"), &Path::new("revision"), syntax::not_negative, errors);
    },
    validate_update: |new, old, errors| {
        if new.at("data") != old.at("data") {
            errors.invalid(&Path::new("data"), new.at("data").cloned().unwrap_or_default(), "field is immutable");
        }
    },
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    column::NAME,
    column::text("Controller", "Whose wish it was.", |object, _| {
        let owner = object.list("metadata.ownerReferences").iter().find(|owner| owner.is("controller"));
        let told = owner.map(|owner| {
            let group = owner.text("apiVersion").split_once('/').map_or("", |(group, _)| group);
            let dot = if group.is_empty() { "" } else { "." };
            format!("{}{dot}{group}/{}", owner.text("kind").to_lowercase(), owner.text("name"))
        });
        told.unwrap_or_else(|| column::NONE.to_owned()).into()
    }),
    column::integer("Revision", "Its number.", |object, _| workload::number(object, "revision")),
    column::AGE,
];
