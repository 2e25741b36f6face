//! Server-side apply: a manager says all that it wants of an object. What it says is merged in and becomes its own; what it said before
//! and no longer says is removed, unless somebody else owns it; what others own and have otherwise is a conflict.
//! Source: Kubernetes' documentation of server-side apply, and of structured-merge-diff.

use serde_json::{Value, json};

use super::{
    Conflict, PatchError,
    fields::FieldSet,
    managed::{self, Entry, Operation, Writer},
    shallow,
    typed::{self, View},
};
use crate::schema::Type;

/// Who owned everything before the first apply to an object that was not tracked.
const BEFORE_FIRST: &str = "before-first-apply";
/// The manager that goes on where client-side apply left off.
const KUBECTL: &str = "kubectl";
/// Where client-side apply wrote what it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What to do about fields that others own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// Refuse.
    Refuse,
    /// Take them.
    Force,
}

/// What an object becomes when a configuration is applied to it; `live` is none if it is to be made. The result has its record.
pub fn apply(
    of: &Type,
    live: Option<&Value>,
    config: &Value,
    (writer, on_conflict): (&Writer<'_>, OnConflict),
) -> Result<Value, PatchError> {
    if !config.is_object() {
        return Err(PatchError::Malformed("what is applied must be an object".to_owned()));
    }
    if config.pointer("/metadata/managedFields").is_some_and(|record| !record.is_null()) {
        return Err(PatchError::Malformed("metadata.managedFields must be nil".to_owned()));
    }
    let view = View::Object(of);
    typed::check(view, config, &mut Vec::new()).map_err(|error| untyped(&error, config))?;
    let config = &typed::remove(view, &typed::said(view, config), writer.untouched).unwrap_or_else(|| json!({}));
    let mut entries = tracked(of, live, writer);
    let live_bare = managed::bare(live);
    let mut own = Entry {
        operation: Operation::Apply,
        time: None,
        manager: writer.manager.to_owned(),
        api_version: managed::text(config, "apiVersion"),
        subresource: writer.subresource.to_owned(),
        set: typed::fields(view, config),
    };
    let before = entries.iter().position(|entry| entry.is(&own)).map(|place| entries.remove(place));

    let mut merged = typed::merge(view, Some(&live_bare), config);
    // What nobody can own, such as the name, is applied all the same, and stays.
    if let Some(last) = before.as_ref().map(|before| &before.set) {
        let all = entries.iter().fold(own.set.clone(), |all, entry| all.union(entry.set.clone()));
        // What is applied has nothing in it but what was removed, perhaps: then it stays, empty.
        merged = typed::merge(view, Some(&prune(view, &merged, last, &all)), config);
    }
    let differences = managed::differences(of, &live_bare, &merged, writer);
    let changed = differences.added.clone().union(differences.modified.clone());
    if on_conflict == OnConflict::Refuse {
        refuse_conflicts(&entries, &changed, &allowed(of, live, writer))?;
    }
    managed::take(&mut entries, &differences);
    own.set = managed::owned(own.set);

    let same = before.as_ref().is_some_and(|before| before.set == own.set) && merged == live_bare;
    own.time = if same { before.and_then(|before| before.time) } else { Some(writer.now.to_owned()) };
    if !own.set.is_empty() {
        entries.push(own);
    }
    keep_last_applied(&mut merged, live, config, writer);
    managed::set_entries(&mut merged, entries);
    shallow(merged)
}

/// Who owns what before this.
fn tracked(of: &Type, live: Option<&Value>, writer: &Writer<'_>) -> Vec<Entry> {
    let Some(live) = live else { return Vec::new() };
    let entries = live.pointer("/metadata/managedFields").and_then(managed::decode).unwrap_or_default();
    if !entries.is_empty() {
        return entries;
    }
    let bare = managed::bare(Some(live));
    let all = typed::compare(View::Object(of), None, Some(&bare)).added;
    let set = managed::owned(all.without(writer.untouched));
    let all = Entry {
        operation: Operation::Update,
        time: Some(writer.now.to_owned()),
        manager: BEFORE_FIRST.to_owned(),
        api_version: managed::text(live, "apiVersion"),
        subresource: String::new(),
        set,
    };
    if all.set.is_empty() { Vec::new() } else { vec![all] }
}

/// Removes what was applied before and nobody owns now. Parents of what remains, and what nobody ever owned, remain.
fn prune(view: View<'_>, merged: &Value, last: &FieldSet, owned: &FieldSet) -> Value {
    let parents = |set: &FieldSet| typed::with_parents(view, set);
    let less = |gone: &FieldSet| typed::remove(view, merged, gone).unwrap_or_else(|| json!({}));
    let all = parents(&typed::fields(view, merged));
    let last = parents(last);
    let without_last = parents(&typed::fields(view, &less(&last)));
    let with_owned = less(&all.difference(&without_last).difference(&parents(owned)));
    let with_owned = parents(&typed::fields(view, &with_owned));
    less(&all.difference(&with_owned).intersection(&last))
}

fn refuse_conflicts(entries: &[Entry], changed: &FieldSet, allowed: &FieldSet) -> Result<(), PatchError> {
    let mut conflicts: Vec<_> = entries
        .iter()
        .flat_map(|entry| {
            let fields = entry.set.intersection(changed).difference(allowed).paths();
            fields.into_iter().map(|field| Conflict { manager: entry.describe(), field })
        })
        .collect();
    conflicts.sort_by(|a, b| a.manager.cmp(&b.manager));
    if conflicts.is_empty() { Ok(()) } else { Err(PatchError::Conflict(conflicts)) }
}

/// What may be taken from others without force: what client-side apply by the same kubectl applied last.
fn allowed(of: &Type, live: Option<&Value>, writer: &Writer<'_>) -> FieldSet {
    let last = live.filter(|_| writer.manager == KUBECTL).and_then(last_applied);
    let last = last.and_then(|last| serde_json::from_str::<Value>(last).ok());
    last.map(|last| typed::fields(View::Object(of), &last)).unwrap_or_default()
}

fn last_applied(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str()
}

/// So that client-side apply can go on where kubectl leaves off here.
fn keep_last_applied(merged: &mut Value, live: Option<&Value>, config: &Value, writer: &Writer<'_>) {
    if writer.manager != KUBECTL || live.and_then(last_applied).is_none() {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
    if let Some(annotations) = merged.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.insert(LAST_APPLIED.to_owned(), format!("{config}\n").into());
    }
}

fn untyped(error: &PatchError, config: &Value) -> PatchError {
    let text = |name: &str| config.pointer(name).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let (version, kind) = (text("/apiVersion"), text("/kind"));
    PatchError::Untyped(format!(
        "failed to create typed patch object ({namespace}/{name}; {version}, Kind={kind}): {error}"
    ))
}
