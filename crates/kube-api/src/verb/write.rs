//! What every write does to an object before it is kept: addressed, defaulted, checked, and its fields' owners noted.

use jiff::Timestamp;
use serde_json::Value;
use store::objects::Revision;

use super::{Place, update::Part};
use crate::{
    kind::{Errors, Kind, Scope},
    object::{Look, meta},
    patch::{
        FieldSet,
        managed::{self, Writer},
    },
    query::{FieldValidation, Owners, WriteOptions},
    schema,
    status::Failure,
};

/// An object as it was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The object.
    pub object: Value,
    /// What the client should know.
    pub warnings: Vec<String>,
    /// Whether it is new.
    pub created: bool,
}

/// Sees to it that an object says the kind and the namespace that the request went to.
pub fn address(place: Place<'_>, object: &mut Value) -> Result<(), Failure> {
    let kind = place.kind;
    for (field, ours) in [("apiVersion", kind.api_version()), ("kind", kind.kind.to_owned())] {
        let said = object.text(field).to_owned();
        if said.is_empty() {
            object.put(field, ours);
        } else if said != ours {
            let what = if field == "kind" { "kind" } else { "API version" };
            let message = format!("the {what} in the data ({said}) does not match the expected {what} ({ours})");
            return Err(Failure::bad_request(message));
        }
    }
    if object.at("metadata").is_none() {
        object.put("metadata", serde_json::json!({}));
    }
    let said = meta::namespace(object);
    match kind.scope {
        Scope::Namespaced if said.is_empty() => object.put("metadata.namespace", place.namespace),
        Scope::Namespaced if said != place.namespace => {
            let message = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Failure::bad_request(message));
        }
        Scope::Namespaced => {}
        Scope::Cluster => drop(object.take_at("metadata.namespace")),
    }
    Ok(())
}

/// Refuses, or tells of, what the schema does not know or the text says twice; takes it out; and refuses values of the wrong type.
pub fn check_fields(kind: &Kind, object: &mut Value, options: &WriteOptions) -> Result<Vec<String>, Failure> {
    let unknown = schema::prune(kind.schema(), object);
    if let Err(wrong) = schema::check(kind.schema(), object) {
        let message =
            format!("{} in version {:?} cannot be handled as a {}: {wrong}", kind.kind, kind.version, kind.kind);
        return Err(Failure::bad_request(message));
    }
    // What is not known is not told a second time.
    let once = |twice: &&String| !unknown.contains(&twice.replacen("duplicate", "unknown", 1));
    let wrong: Vec<String> = options.twice.iter().filter(once).cloned().chain(unknown.iter().cloned()).collect();
    match options.validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(wrong),
        FieldValidation::Strict if wrong.is_empty() => Ok(wrong),
        FieldValidation::Strict => {
            let told = wrong.join(", ");
            let message = format!(
                "{} in version {:?} cannot be handled as a {}: strict decoding error: {told}",
                kind.kind, kind.version, kind.kind
            );
            Err(Failure::bad_request(message))
        }
    }
}

/// Fills in what is left out.
pub fn default(kind: &Kind, object: &mut Value) {
    kind.fill(object);
}

/// Refuses an object that is not as it must be.
pub fn validate(kind: &Kind, object: &Value, old: Option<&Value>) -> Result<(), Failure> {
    let mut errors = Errors::default();
    kind.check(object, old, &mut errors);
    if errors.is_empty() {
        return Ok(());
    }
    Err(Failure::invalid(kind, meta::name(object), &errors))
}

/// Notes who owns which fields.
pub fn own(kind: &Kind, old: Option<&Value>, new: &mut Value, part: Part, options: &WriteOptions, now: Timestamp) {
    if options.owners == Owners::Known {
        return;
    }
    let (manager, now) = (options.manager.as_str(), meta::time(now));
    let writer = Writer { manager, subresource: part.name(), now: &now, untouched: &untouched(kind, part) };
    managed::record(kind.schema(), old, new, &writer);
}

/// What is not changed through a part of an object, and so never owned by who writes there.
pub fn untouched(kind: &Kind, part: Part) -> FieldSet {
    let has_status = kind.subresources.iter().any(|one| one.name == "status");
    match part {
        Part::Whole if has_status => FieldSet::of_fields(&[&["status"]]),
        Part::Status => FieldSet::of_fields(&[&["spec"]]),
        Part::Whole | Part::Other(_) => FieldSet::of_fields(&[]),
    }
}

/// The object as it reads now that it is written.
pub fn versioned(mut object: Value, revision: Revision) -> Value {
    object.put("metadata.resourceVersion", revision.0.to_string());
    object
}
