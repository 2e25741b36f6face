//! The end of many objects.

use serde_json::Value;

use super::{
    Place,
    delete::{self, DeleteOptions, Deleted},
    list::{self, Filter},
};
use crate::{
    kind::Kind,
    object::{Look, meta},
    query::Query,
    server::Server,
    status::Failure,
};

/// Deletes the objects of a kind that a filter takes; those that others delete meanwhile are not missed.
pub async fn delete(
    server: &Server,
    kind: &'static Kind,
    namespace: Option<&str>,
    query: &Query,
    options: &DeleteOptions,
) -> Result<Vec<Value>, Failure> {
    let filter = Filter::read(kind, query)?;
    let page = list::list(server, kind, namespace, &filter, query).await?;
    let mut deleted = Vec::new();
    for stored in &page.items {
        let object = kind.decode(stored);
        let place = Place { kind, namespace: meta::namespace(&object) };
        // This one, not one of the same name that came after it.
        let options = DeleteOptions { uid: Some(object.text("metadata.uid").to_owned()), ..options.clone() };
        match delete::delete(server, place, meta::name(&object), &options).await {
            Ok(Deleted::Gone(object) | Deleted::Going(object)) => deleted.push(object),
            Err(failure) if matches!(failure.reason, "NotFound" | "Conflict") => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(deleted)
}
