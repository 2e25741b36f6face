//! An object that is there, changed: by a client that sends it whole, by a patch, or through one of its parts.

use serde_json::Value;
use store::objects::{Expect, Stored, WriteError};

use super::{
    Place,
    write::{self, Written},
};
use crate::{
    admit,
    auth::User,
    kind::{Errors, pod, strategy},
    object::{Look, meta},
    query::WriteOptions,
    server::Server,
    status::Failure,
};

/// How often a change is made again when others write meanwhile.
const TRIES: usize = 64;

/// Through what an object is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The object itself, without its status if that is a part of its own.
    Whole,
    /// A part whose name is noted with the owners of fields, and which has made the change already.
    Other(&'static str),
    /// Its status: nothing else changes but metadata.
    Status,
}

impl Part {
    /// Its name; empty for the object itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Status => "status",
            Self::Other(name) => name,
        }
    }
}

/// A change to be made.
pub struct Update<'a> {
    /// The object.
    pub name: &'a str,
    /// Who asks.
    pub user: &'a User,
    /// Through what.
    pub part: Part,
    /// What else is asked.
    pub options: &'a WriteOptions,
}

/// What a change makes of an object, and what the client should know.
pub type Changed = Result<(Value, Vec<String>), Failure>;

/// Makes the change that `change` makes of the object as it is; again, when somebody else wrote meanwhile and the client did not say which
/// version it changes.
pub async fn update(
    server: &Server,
    place: Place<'_>,
    update: &Update<'_>,
    change: impl Fn(&Value) -> Changed,
) -> Result<Written, Failure> {
    for _ in 0..TRIES {
        let snapshot = server.objects.snapshot().await?;
        let stored = snapshot.get(&place.key(update.name));
        let stored = stored.ok_or_else(|| Failure::not_found(place.kind, update.name))?;
        if let Some(written) = once(server, place, update, &change, stored).await? {
            return Ok(written);
        }
    }
    Err(Failure::modified(place.kind, update.name))
}

/// The body of a request as the change.
pub fn whole(body: &Value) -> impl Fn(&Value) -> Changed + '_ {
    |_| Ok((body.clone(), Vec::new()))
}

/// Tries once; none if somebody else was faster and it may be tried again.
async fn once(
    server: &Server,
    place: Place<'_>,
    update: &Update<'_>,
    change: &impl Fn(&Value) -> Changed,
    stored: &Stored,
) -> Result<Option<Written>, Failure> {
    let (kind, name) = (place.kind, update.name);
    let old = kind.decode(stored);
    let (mut new, mut warnings) = change(&old)?;
    write::address(place, &mut new)?;
    if meta::name(&new) != name {
        let message =
            format!("the name of the object ({}) does not match the name on the URL ({name})", meta::name(&new));
        return Err(Failure::bad_request(message));
    }
    // `0` is any version.
    let asked = new.text("metadata.resourceVersion");
    let pinned = !matches!(asked, "" | "0");
    if pinned && asked != old.text("metadata.resourceVersion") {
        return Err(Failure::modified(kind, name));
    }
    let uid = new.text("metadata.uid");
    if !uid.is_empty() && uid != old.text("metadata.uid") {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            old.text("metadata.uid")
        );
        return Err(Failure::conflict(kind, name, &why));
    }
    warnings.extend(write::check_fields(kind, &mut new, update.options)?);
    meta::kept(&mut new, &old);
    // What is prepared is compared with the old one, which has its defaults.
    write::default(kind, &mut new);
    match update.part {
        Part::Whole => (kind.prepare)(&mut new, Some(&old)),
        // Where a pod runs is no new wish.
        Part::Other("binding") => {}
        Part::Other(_) if old.at("metadata.generation").is_some() => {
            strategy::generation(&mut new, Some(&old), &["spec"]);
        }
        Part::Other(_) => {}
        Part::Status => status_only(&mut new, &old),
    }
    let _held = match update.part {
        Part::Whole => admit::update(server, place, update.user, &mut new, &old).await?,
        Part::Other(_) | Part::Status => None,
    };
    match update.part {
        Part::Other("resize") => {
            let mut errors = Errors::default();
            let resized = pod::update::resized(&old, &new, &mut errors);
            if !errors.is_empty() {
                return Err(Failure::invalid(kind, name, &errors));
            }
            write::validate(kind, &new, Some(&resized))?;
        }
        _ => write::validate(kind, &new, Some(&old))?,
    }
    write::own(kind, Some(&old), &mut new, update.part, update.options, server.now());
    if is_over(&new) {
        return gone(server, place, stored, new, update.options.dry_run, pinned).await;
    }
    let value = kind.encode(&new);
    if value == stored.value || update.options.dry_run {
        new.put("metadata.resourceVersion", stored.modified.0.to_string());
        return Ok(Some(Written { object: new, warnings, created: false }));
    }
    match server.objects.write(&place.key(name), Expect::At(stored.modified), Some(value)).await {
        Ok(written) => Ok(Some(Written { object: write::versioned(new, written.revision), warnings, created: false })),
        Err(WriteError::Conflict { current: None }) => Err(Failure::not_found(kind, name)),
        Err(WriteError::Conflict { .. }) if pinned => Err(Failure::modified(kind, name)),
        Err(WriteError::Conflict { .. }) => Ok(None),
        Err(WriteError::Failed(error)) => Err(error.into()),
    }
}

/// Whether the last thing that kept an object from going is gone.
pub fn is_over(object: &Value) -> bool {
    meta::is_terminating(object)
        && meta::finalizers(object).next().is_none()
        && object.list("spec.finalizers").is_empty()
        && object.int("metadata.deletionGracePeriodSeconds").unwrap_or_default() == 0
}

async fn gone(
    server: &Server,
    place: Place<'_>,
    stored: &Stored,
    object: Value,
    dry_run: bool,
    pinned: bool,
) -> Result<Option<Written>, Failure> {
    let name = meta::name(&object).to_owned();
    if !dry_run {
        match server.objects.write(&place.key(&name), Expect::At(stored.modified), None).await {
            Ok(_) | Err(WriteError::Conflict { current: None }) => {}
            Err(WriteError::Conflict { .. }) if pinned => return Err(Failure::modified(place.kind, &name)),
            Err(WriteError::Conflict { .. }) => return Ok(None),
            Err(WriteError::Failed(error)) => return Err(error.into()),
        }
    }
    Ok(Some(Written { object, warnings: Vec::new(), created: false }))
}

fn status_only(new: &mut Value, old: &Value) {
    let (status, metadata) = (new.take_at("status"), new.take_at("metadata"));
    *new = old.clone();
    match status {
        Some(status) => new.put("status", status),
        None => drop(new.take_at("status")),
    }
    if let Some(metadata) = metadata {
        new.put("metadata", metadata);
    }
    // Who may change the status may not keep the object from going, or give it away.
    for kept in ["metadata.finalizers", "metadata.ownerReferences"] {
        match old.at(kept) {
            Some(value) => new.put(kept, value.clone()),
            None => drop(new.take_at(kept)),
        }
    }
}
