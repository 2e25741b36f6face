//! Who set which field: `metadata.managedFields`. Each manager has a set of fields for each way it writes (`Apply` or `Update`, through
//! which subresource); a field that somebody else changes leaves the sets of the others.

use serde_json::{Map, Value, json};

use super::{
    Conflict,
    fields::FieldSet,
    typed::{self, Differences, View},
};
use crate::schema::Type;

/// The most managers that only update. The oldest beyond are told as one.
const UPDATERS: usize = 10;
/// Who the oldest are told as.
const ANCIENT: &str = "ancient-changes";

/// What every object has and nobody owns.
const UNOWNED: &[&[&str]] = &[
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

/// Who writes, and how.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// Through which subresource; empty: none.
    pub subresource: &'a str,
    /// When, as in `2026-01-02T03:04:05Z`.
    pub now: &'a str,
    /// What is never changed this way, and so never owned: `status` for the object itself, `spec` for its status.
    pub untouched: &'a FieldSet,
}

/// How fields were set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// One entry of `metadata.managedFields`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub operation: Operation,
    pub time: Option<String>,
    pub manager: String,
    pub api_version: String,
    pub subresource: String,
    pub set: FieldSet,
}

/// Writes `metadata.managedFields` of an object that is about to be stored. `live` is the stored one; none: it is made. What clients say
/// of it counts as far as it can be read; to say nothing keeps what is known, `[{}]` forgets it.
pub fn record(of: &Type, live: Option<&Value>, new: &mut Value, writer: &Writer<'_>) {
    let said = new.pointer("/metadata/managedFields").cloned();
    let forgets =
        said.as_ref().and_then(Value::as_array).is_some_and(|all| matches!(&all[..], [one] if *one == json!({})));
    let said = said.as_ref().filter(|_| writer.subresource.is_empty()).and_then(decode).filter(|all| !all.is_empty());
    let known = live.and_then(|live| decode(live.pointer("/metadata/managedFields")?)).unwrap_or_default();
    let mut entries = match said {
        _ if forgets => Vec::new(),
        Some(said) => said,
        None => known,
    };
    let new_version = text(new, "apiVersion");
    set_entries(new, Vec::new());
    if live.is_some() && entries.is_empty() {
        // It was never tracked, or its record was thrown away.
        return;
    }
    let live = bare(live);
    let differences = differences(of, &live, new, writer);
    let own = Entry {
        operation: Operation::Update,
        time: Some(writer.now.to_owned()),
        manager: writer.manager.to_owned(),
        api_version: new_version,
        subresource: writer.subresource.to_owned(),
        set: owned(differences.added.clone().union(differences.modified.clone())),
    };
    take(&mut entries, &differences);
    if !own.set.is_empty() {
        match entries.iter_mut().find(|entry| entry.is(&own)) {
            Some(entry) => {
                entry.set = std::mem::take(&mut entry.set).union(own.set);
                entry.time = own.time;
            }
            None => entries.push(own),
        }
    }
    cap(&mut entries);
    set_entries(new, entries);
}

/// Takes what changed from everybody; from whom nothing is left, the entry goes.
pub(super) fn take(entries: &mut Vec<Entry>, differences: &Differences) {
    let changed = differences.added.clone().union(differences.modified.clone());
    let all = changed.union(differences.removed.clone());
    for entry in entries.iter_mut() {
        entry.set = entry.set.difference(&all);
    }
    entries.retain(|entry| !entry.set.is_empty());
}

/// In what two objects differ that may be changed this way.
pub(super) fn differences(of: &Type, live: &Value, new: &Value, writer: &Writer<'_>) -> Differences {
    let Differences { added, modified, removed } = typed::compare(View::Object(of), Some(live), Some(new));
    let without = |set: FieldSet| set.without(writer.untouched);
    Differences { added: without(added), modified: without(modified), removed: without(removed) }
}

/// The part of a set that can be owned.
pub(super) fn owned(set: FieldSet) -> FieldSet {
    set.difference(&FieldSet::of_fields(UNOWNED))
}

/// An object without the record; nothing is an empty one.
pub(super) fn bare(object: Option<&Value>) -> Value {
    let mut object = object.cloned().unwrap_or_else(|| json!({}));
    set_entries(&mut object, Vec::new());
    object
}

pub(super) fn text(object: &Value, name: &str) -> String {
    object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl Entry {
    /// Whether it is of the same manager, written the same way.
    pub fn is(&self, other: &Self) -> bool {
        let version = |entry: &Self| match entry.operation {
            // Who applies goes on in another version of the API.
            Operation::Apply => None,
            Operation::Update => Some(entry.api_version.clone()),
        };
        (self.operation, &self.manager, &self.subresource, version(self))
            == (other.operation, &other.manager, &other.subresource, version(other))
    }

    /// As it is told in a conflict.
    pub fn describe(&self) -> String {
        let mut told = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            told += &format!(" with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            told += &format!(" using {}", self.api_version);
        }
        told
    }

    fn decode(json: &Value) -> Option<Self> {
        let operation = match json.get("operation")?.as_str()? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        (json.get("fieldsType")? == "FieldsV1").then_some(())?;
        Some(Self {
            operation,
            time: json.get("time").and_then(Value::as_str).map(str::to_owned),
            manager: text(json, "manager"),
            api_version: text(json, "apiVersion"),
            subresource: text(json, "subresource"),
            set: FieldSet::from_json(json.get("fieldsV1")?)?,
        })
    }

    fn encode(&self) -> Value {
        let operation = match self.operation {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        };
        let mut json = json!({
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.set.to_json(),
            "manager": self.manager,
            "operation": operation,
        });
        if let Some(time) = &self.time {
            json["time"] = time.as_str().into();
        }
        if !self.subresource.is_empty() {
            json["subresource"] = self.subresource.as_str().into();
        }
        json
    }
}

/// The entries of a record; none if it is not one.
pub(super) fn decode(record: &Value) -> Option<Vec<Entry>> {
    record.as_array()?.iter().map(Entry::decode).collect()
}

/// Writes the record of an object; nothing when there are no entries.
pub(super) fn set_entries(object: &mut Value, mut entries: Vec<Entry>) {
    let Some(metadata) = object.as_object_mut().and_then(|object| {
        let missing = !object.contains_key("metadata") && !entries.is_empty();
        if missing {
            object.insert("metadata".to_owned(), Value::Object(Map::new()));
        }
        object.get_mut("metadata")?.as_object_mut()
    }) else {
        return;
    };
    if entries.is_empty() {
        metadata.remove("managedFields");
        return;
    }
    entries.sort_by(|a, b| {
        let order = |entry: &Entry| {
            let Entry { operation, time, manager, api_version, subresource, .. } = entry.clone();
            (operation, time, manager, api_version, subresource)
        };
        order(a).cmp(&order(b))
    });
    metadata.insert("managedFields".to_owned(), entries.iter().map(Entry::encode).collect());
}

/// Makes one of the oldest that only update, if they are too many.
fn cap(entries: &mut Vec<Entry>) {
    let mut updaters: Vec<_> =
        entries.iter().filter(|entry| entry.operation == Operation::Update).map(|entry| entry.time.clone()).collect();
    if updaters.len() <= UPDATERS {
        return;
    }
    updaters.sort();
    let newest_merged = updaters[updaters.len() - UPDATERS].clone();
    let mut left = updaters.len() - UPDATERS + 1;
    let mut ancient: Vec<Entry> = Vec::new();
    entries.retain(|entry| {
        if left == 0 || entry.operation == Operation::Apply || entry.time > newest_merged {
            return true;
        }
        left -= 1;
        match ancient.iter_mut().find(|one| one.api_version == entry.api_version) {
            Some(one) => {
                one.set = std::mem::take(&mut one.set).union(entry.set.clone());
                one.time = one.time.clone().max(entry.time.clone());
            }
            None => {
                let manager = ANCIENT.to_owned();
                ancient.push(Entry { manager, subresource: String::new(), ..entry.clone() });
            }
        }
        false
    });
    entries.extend(ancient);
}

/// What is told when others own what would be changed.
pub(super) fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [Conflict { manager, field }] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {manager}: {field}");
    }
    let mut lines = Vec::new();
    let mut before = None;
    for Conflict { manager, field } in conflicts {
        if before.replace(manager) != Some(manager) {
            lines.push(format!("conflicts with {manager}:"));
        }
        lines.push(format!("- {field}"));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}
