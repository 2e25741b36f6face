//! An object that is there, changed by a description of the change: the four kinds of patches.

use serde_json::{Value, json};

use super::{
    Place, create,
    update::{self, Changed, Part, Update},
    write::{self, Written},
};
use crate::{
    body::{self, BODY_MAX},
    object::{Look, meta},
    patch::{
        PatchError,
        apply::{self, OnConflict},
        json as json_patch,
        managed::Writer,
        merge, strategic,
    },
    query::{Owners, WriteOptions},
    schema::{self, Type},
    server::Server,
    status::Failure,
};

/// A patch, read.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own, by the schema.
    Strategic(Value),
    /// Server-side apply.
    Apply(Value),
}

/// The media types of patches.
const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json, \
                        application/strategic-merge-patch+json, application/apply-patch+yaml";

impl Patch {
    /// Reads a patch of a media type, and what it says twice.
    pub fn read(media_type: &str, text: &[u8]) -> Result<(Self, Vec<String>), Failure> {
        let (read, form): (_, fn(Value) -> Self) = match media_type {
            "application/json-patch+json" => (body::json(text)?, Self::Json),
            "application/merge-patch+json" => (body::json(text)?, Self::Merge),
            "application/strategic-merge-patch+json" => (body::json(text)?, Self::Strategic),
            "application/apply-patch+yaml" => (body::yaml(text)?, Self::Apply),
            _ => return Err(Failure::unsupported_media(ACCEPTED)),
        };
        Ok((form(read.value), read.twice))
    }

    /// What it makes of a value that has no schema of its own here (a Scale).
    pub fn apply_plain(&self, value: &Value) -> Result<Value, Failure> {
        let patched = match self {
            Self::Json(patch) => json_patch::apply(value, patch),
            Self::Merge(patch) | Self::Strategic(patch) | Self::Apply(patch) => merge::apply(value, patch),
        };
        patched.map_err(Failure::from)
    }
}

/// Patches an object. Server-side apply makes one that is not there.
pub async fn patch(server: &Server, place: Place<'_>, asked: &Update<'_>, patch: &Patch) -> Result<Written, Failure> {
    match patch {
        Patch::Apply(config) => apply_config(server, place, asked, config).await,
        patch => {
            let change = |object: &Value| {
                let patched = match patch {
                    Patch::Json(patch) => json_patch::apply(object, patch)?,
                    Patch::Strategic(patch) => by_schema(place.kind.schema(), object, patch)?,
                    Patch::Merge(patch) | Patch::Apply(patch) => merge::apply(object, patch)?,
                };
                unpinned(object, patched)
            };
            update::update(server, place, asked, change).await
        }
    }
}

fn by_schema(of: &Type, object: &Value, patch: &Value) -> Result<Value, Failure> {
    let patched = strategic::apply(of, object, patch)?;
    schema::check_patched(of, &patched).map_err(|wrong| {
        let message = format!(" \"\" is invalid: patch: Invalid value: \"{}\": {wrong}", go(patch));
        Failure::unprocessable(message)
    })?;
    Ok(patched)
}

/// A value as Go prints it.
fn go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go).collect::<Vec<_>>().join(" ")),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{name}:{}", go(value)));
            format!("map[{}]", members.collect::<Vec<_>>().join(" "))
        }
        plain => plain.to_string(),
    }
}

async fn apply_config(
    server: &Server,
    place: Place<'_>,
    asked: &Update<'_>,
    config: &Value,
) -> Result<Written, Failure> {
    if asked.options.manager.is_empty() {
        return Err(Failure::unprocessable("fieldManager: Required value: is required for apply patch"));
    }
    let mut config = config.clone();
    write::address(place, &mut config)?;
    if meta::name(&config).is_empty() {
        config.put("metadata.name", asked.name);
    }
    let (kind, now) = (place.kind, meta::time(server.now()));
    let untouched = write::untouched(kind, asked.part);
    let manager = asked.options.manager.as_str();
    let writer = Writer { manager, subresource: asked.part.name(), now: &now, untouched: &untouched };
    let on_conflict = if asked.options.force { OnConflict::Force } else { OnConflict::Refuse };
    let applied = |live: Option<&Value>| apply::apply(kind.schema(), live, &config, (&writer, on_conflict));
    let options = WriteOptions { owners: Owners::Known, ..asked.options.clone() };
    let asked = Update { options: &options, ..*asked };
    let outcome = update::update(server, place, &asked, |live| unpinned(live, applied(Some(live))?)).await;
    match outcome {
        Err(failure) if failure.reason == "NotFound" && asked.part == Part::Whole => {
            if !config.text("metadata.uid").is_empty() {
                return Err(failure);
            }
            create::create(server, place, asked.user, applied(None)?, &options).await
        }
        outcome => outcome,
    }
}

/// A version that the patch did not name is that of the object as it was read, which binds nobody.
fn unpinned(object: &Value, mut changed: Value) -> Changed {
    if changed.at("metadata.resourceVersion") == object.at("metadata.resourceVersion") {
        changed.take_at("metadata.resourceVersion");
    }
    Ok((changed, Vec::new()))
}

impl From<PatchError> for Failure {
    fn from(error: PatchError) -> Self {
        let message = error.to_string();
        match error {
            PatchError::Malformed(_) => Self::bad_request(message),
            PatchError::Rejected { .. } => Self::unprocessable(message),
            PatchError::TooLarge(_) => Self { message, ..Self::too_large(BODY_MAX) },
            PatchError::Untyped(_) => Self::internal(message),
            PatchError::Conflict(conflicts) => {
                let cause = |conflict: &crate::patch::Conflict| json!({ "reason": "FieldManagerConflict", "message": conflict.message(), "field": conflict.field });
                Self::apply_conflict(message, conflicts.iter().map(cause).collect())
            }
        }
    }
}
