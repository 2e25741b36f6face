//! One object, as it is.

use serde_json::Value;
use store::objects::Stored;

use super::Place;
use crate::{server::Server, status::Failure};

/// An object as it is kept.
pub async fn stored(server: &Server, place: Place<'_>, name: &str) -> Result<Stored, Failure> {
    let snapshot = server.objects.snapshot().await?;
    snapshot.get(&place.key(name)).cloned().ok_or_else(|| Failure::not_found(place.kind, name))
}

/// An object.
pub async fn object(server: &Server, place: Place<'_>, name: &str) -> Result<Value, Failure> {
    Ok(place.kind.decode(&stored(server, place, name).await?))
}
