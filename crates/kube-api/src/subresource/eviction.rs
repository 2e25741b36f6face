//! `eviction`: a pod is asked to go (`policy/v1` Eviction). No budget forbids it: there are none yet.

use serde_json::{Value, json};

use crate::{
    query::Query,
    server::Server,
    status::Failure,
    verb::{
        Place,
        delete::{self, DeleteOptions},
    },
};

/// Evicts a pod.
pub async fn create(
    server: &Server,
    place: Place<'_>,
    name: &str,
    body: &Value,
    query: &Query,
) -> Result<Value, Failure> {
    let null = Value::Null;
    let options = DeleteOptions::read(body.get("deleteOptions").unwrap_or(&null), query)?;
    delete::delete(server, place, name, &options).await?;
    Ok(json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 }))
}
