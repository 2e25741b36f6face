//! The end of an object: at once, or when those who must do something first have done it.

use jiff::Span;
use serde_json::Value;
use store::objects::{Expect, WriteError};

use super::{Place, update};
use crate::{
    admit,
    object::{Look, meta},
    query::{self, Query},
    server::Server,
    status::Failure,
};

/// How often it is tried when others write meanwhile.
const TRIES: usize = 64;

/// What becomes of what an object owns (the garbage collection page, "Cascading deletion").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// It goes after the object.
    Background,
    /// The object goes after it.
    Foreground,
    /// It stays.
    Orphan,
}

/// What is asked besides (`metav1.DeleteOptions`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// How long its processes may take to end, seconds.
    pub grace_s: Option<i64>,
    /// It must be this one.
    pub uid: Option<String>,
    /// It must be of this version.
    pub resource_version: Option<String>,
    /// What becomes of what it owns.
    pub propagation: Option<Propagation>,
    /// Whether all is done but the writing.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Those of a request: in its body, or in its query.
    pub fn read(body: &Value, query: &Query) -> Result<Self, Failure> {
        let said = |path: &str| body.at(path).and_then(Value::as_str).map(str::to_owned);
        let propagation = said("propagationPolicy").unwrap_or_else(|| query.text("propagationPolicy").to_owned());
        let propagation = match propagation.as_str() {
            "" => None,
            "Background" => Some(Propagation::Background),
            "Foreground" => Some(Propagation::Foreground),
            "Orphan" => Some(Propagation::Orphan),
            other => {
                let message = format!(
                    "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: {other:?}: supported values: \"Background\", \"Foreground\", \"Orphan\""
                );
                return Err(Failure::unprocessable(message));
            }
        };
        let propagation = match (propagation, body.at("orphanDependents").and_then(Value::as_bool)) {
            (None, Some(true)) => Some(Propagation::Orphan),
            (None, Some(false)) => Some(Propagation::Background),
            (named, _) => named,
        };
        let grace_s = match body.int("gracePeriodSeconds") {
            Some(seconds) => Some(seconds),
            None => query.int("gracePeriodSeconds")?,
        };
        if grace_s.is_some_and(|seconds| seconds < 0) {
            let message = "DeleteOptions.meta.k8s.io \"\" is invalid: gracePeriodSeconds: Invalid value: must be greater than or equal to 0";
            return Err(Failure::unprocessable(message));
        }
        let dry_runs = body.list("dryRun").iter().filter_map(Value::as_str).chain(query.all("dryRun"));
        let mut dry_run = false;
        for value in dry_runs {
            query::dry_run(value)?;
            dry_run = true;
        }
        Ok(Self {
            grace_s,
            uid: said("preconditions.uid"),
            resource_version: said("preconditions.resourceVersion"),
            propagation,
            dry_run,
        })
    }
}

/// What became of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Deleted {
    /// It is gone.
    Gone(Value),
    /// It goes when others have done what they must.
    Going(Value),
}

/// Deletes an object.
pub async fn delete(
    server: &Server,
    place: Place<'_>,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted, Failure> {
    admit::delete(place, name)?;
    for _ in 0..TRIES {
        let snapshot = server.objects.snapshot().await?;
        let stored = snapshot.get(&place.key(name)).ok_or_else(|| Failure::not_found(place.kind, name))?;
        let old = place.kind.decode(stored);
        check(place, name, &old, options)?;
        let new = leaving(place, &old, options, server);
        let over = update::is_over(&new);
        if !options.dry_run && (over || new != old) {
            let value = (!over).then(|| place.kind.encode(&new));
            match server.objects.write(&place.key(name), Expect::At(stored.modified), value).await {
                Ok(written) if !over => {
                    return Ok(Deleted::Going(super::write::versioned(new, written.revision)));
                }
                Ok(_) => {}
                Err(WriteError::Conflict { current: None }) => return Err(Failure::not_found(place.kind, name)),
                Err(WriteError::Conflict { .. }) => continue,
                Err(WriteError::Failed(error)) => return Err(error.into()),
            }
        }
        return Ok(if over { Deleted::Gone(new) } else { Deleted::Going(new) });
    }
    Err(Failure::modified(place.kind, name))
}

fn check(place: Place<'_>, name: &str, old: &Value, options: &DeleteOptions) -> Result<(), Failure> {
    let demand = |what: &str, label: &str, asked: &Option<String>, is: &str| match asked {
        Some(asked) if asked != is => {
            let why = format!("Precondition failed: {what} in precondition: {asked}, {label}: {is}");
            Err(Failure::conflict(place.kind, name, &why))
        }
        _ => Ok(()),
    };
    demand("UID", "UID in object meta", &options.uid, old.text("metadata.uid"))?;
    let version = old.text("metadata.resourceVersion");
    demand("ResourceVersion", "ResourceVersion in object meta", &options.resource_version, version)
}

/// The object as it waits for its end; one that waits for nothing is over.
fn leaving(place: Place<'_>, old: &Value, options: &DeleteOptions, server: &Server) -> Value {
    let mut new = old.clone();
    let grace_s = grace_s(place, old, options);
    let first = !meta::is_terminating(old);
    if first {
        meta::set_finalizer(&mut new, "orphan", options.propagation == Some(Propagation::Orphan));
        meta::set_finalizer(&mut new, "foregroundDeletion", options.propagation == Some(Propagation::Foreground));
    }
    let shorter = old.int("metadata.deletionGracePeriodSeconds").is_none_or(|now| grace_s < now);
    if first || shorter {
        let now = server.now();
        let until = now.checked_add(Span::new().seconds(grace_s)).unwrap_or(now);
        new.put("metadata.deletionTimestamp", meta::time(until));
        new.put("metadata.deletionGracePeriodSeconds", grace_s);
    }
    if first && place.kind.kind == "Namespace" {
        new.put("status.phase", "Terminating");
    }
    if first && let Some(generation) = old.int("metadata.generation") {
        new.put("metadata.generation", generation + 1);
    }
    new
}

/// Only pods have processes that need time; those that never ran, or have ended, need none.
fn grace_s(place: Place<'_>, object: &Value, options: &DeleteOptions) -> i64 {
    let ended = matches!(object.text("status.phase"), "Succeeded" | "Failed");
    if place.kind.kind != "Pod" || object.text("spec.nodeName").is_empty() || ended {
        return 0;
    }
    let own = object.int("spec.terminationGracePeriodSeconds").unwrap_or(30);
    let asked = options.grace_s.unwrap_or(own);
    object
        .int("metadata.deletionGracePeriodSeconds")
        .map_or(asked, |now| if options.grace_s.is_some() { asked.min(now) } else { now })
}
