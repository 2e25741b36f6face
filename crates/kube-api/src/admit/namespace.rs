//! Nothing is made in a namespace that is not there, or that is on its way out; and some namespaces stay.

use serde_json::{Value, json};

use crate::{
    kind::{self, Kind},
    object::{Look, encoding, meta},
    server::{self, Server},
    status::Failure,
    verb::Place,
};

/// Namespaces that stay.
const STAY: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Whether a namespace may be deleted.
pub fn delete(kind: &Kind, name: &str) -> Result<(), Failure> {
    if STAY.contains(&name) {
        return Err(Failure::not_allowed(kind, name, "this namespace may not be deleted"));
    }
    Ok(())
}

/// Whether something may be made in its namespace.
pub fn open(server: &Server, place: Place<'_>, object: &Value) -> Result<(), Failure> {
    let Some(namespaces) = kind::by_plural("", "namespaces") else { return Ok(()) };
    let stored = server.objects.cached().get(&server::key(namespaces, "", place.namespace)).cloned();
    let Some(stored) = stored else { return Err(Failure::not_found(namespaces, place.namespace)) };
    if !meta::is_terminating(&encoding::decode(&stored)) {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {} because it is being terminated", place.namespace);
    let mut failure = Failure::not_allowed(place.kind, object.text("metadata.name"), &why);
    let message = format!("namespace {} is being terminated", place.namespace);
    failure.details["causes"] =
        json!([{ "reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace" }]);
    Err(failure)
}
