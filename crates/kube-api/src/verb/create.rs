//! A new object.

use serde_json::Value;
use store::objects::{Expect, WriteError};

use super::{
    Place,
    update::Part,
    write::{self, Written},
};
use crate::{
    admit,
    auth::User,
    object::{Look, meta, name},
    query::WriteOptions,
    server::Server,
    status::Failure,
};

/// How often a name is made when those made before are taken.
const TRIES: usize = 8;

/// Makes an object.
pub async fn create(
    server: &Server,
    place: Place<'_>,
    user: &User,
    mut object: Value,
    options: &WriteOptions,
) -> Result<Written, Failure> {
    write::address(place, &mut object)?;
    if !object.text("metadata.resourceVersion").is_empty() {
        return Err(Failure::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let warnings = write::check_fields(place.kind, &mut object, options)?;
    let base = object.text("metadata.generateName").to_owned();
    let generated = object.text("metadata.name").is_empty() && !base.is_empty();
    meta::born(&mut object, server.uid()?, server.now());
    for _ in 0..TRIES {
        if generated {
            object.put("metadata.name", name::generate(&base, server.random()?));
        }
        match born(server, place, user, object.clone(), options).await {
            Err(taken) if generated && taken.reason == "AlreadyExists" => {}
            outcome => return outcome.map(|object| Written { object, warnings, created: true }),
        }
    }
    Err(Failure::name_taken(place.kind, object.text("metadata.name")))
}

async fn born(
    server: &Server,
    place: Place<'_>,
    user: &User,
    mut object: Value,
    options: &WriteOptions,
) -> Result<Value, Failure> {
    let kind = place.kind;
    write::default(kind, &mut object);
    (kind.prepare)(&mut object, None);
    let _held = admit::create(server, place, user, &mut object).await?;
    write::validate(kind, &object, None)?;
    let name = object.text("metadata.name").to_owned();
    if server.objects.snapshot().await?.get(&place.key(&name)).is_some() {
        return Err(Failure::already_exists(kind, &name));
    }
    write::own(kind, None, &mut object, Part::Whole, options, server.now());
    if options.dry_run {
        return Ok(object);
    }
    match server.objects.write(&place.key(&name), Expect::Absent, Some(kind.encode(&object))).await {
        Ok(written) => Ok(write::versioned(object, written.revision)),
        Err(WriteError::Conflict { .. }) => Err(Failure::already_exists(kind, &name)),
        Err(WriteError::Failed(error)) => Err(error.into()),
    }
}
