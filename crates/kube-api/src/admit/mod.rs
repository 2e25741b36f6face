//! Admission: what an object gets or is refused because of others that are there. What can be said of it alone is said by its kind.

mod ingress;
mod namespace;
mod node;
mod pod;
mod service;

use serde_json::Value;
use tokio::sync::MutexGuard;

use crate::{auth::User, kind::Scope, object::Look, server::Server, status::Failure, verb::Place};

/// Held until the object is written: nobody else takes what was found free for it.
pub type Held<'s> = Option<MutexGuard<'s, ()>>;

/// A new object is admitted.
pub async fn create<'s>(
    server: &'s Server,
    place: Place<'_>,
    user: &User,
    object: &mut Value,
) -> Result<Held<'s>, Failure> {
    if place.kind.scope == Scope::Namespaced {
        namespace::open(server, place, object)?;
    }
    match place.kind.kind {
        "Pod" => pod::create(server, user, object)?,
        "Ingress" => ingress::create(server, object),
        "Node" => node::create(object),
        "Service" => return service::take(server, place, object, None).await,
        _ => {}
    }
    Ok(None)
}

/// Whether an object may go.
pub fn delete(place: Place<'_>, name: &str) -> Result<(), Failure> {
    match place.kind.kind {
        "Namespace" => namespace::delete(place.kind, name),
        _ => Ok(()),
    }
}

/// A changed object is admitted.
pub async fn update<'s>(
    server: &'s Server,
    place: Place<'_>,
    _user: &User,
    object: &mut Value,
    old: &Value,
) -> Result<Held<'s>, Failure> {
    match place.kind.kind {
        "Pod" => {
            pod::tolerations(object);
            Ok(None)
        }
        "Service" if object.at("spec") != old.at("spec") => service::take(server, place, object, Some(old)).await,
        _ => Ok(None),
    }
}
