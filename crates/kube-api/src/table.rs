//! Tables: objects as rows of cells, as `kubectl get` prints them (`meta.k8s.io` Table; the API concepts page).

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use store::objects::Stored;

use crate::{
    kind::Kind,
    object::{Look, encoding, meta, part::Fields},
};

/// What a row has of its object besides the cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    Nothing,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl Include {
    /// What the query parameter `includeObject` asks for.
    pub fn read(text: &str) -> Self {
        match text {
            "None" => Self::Nothing,
            "Object" => Self::Object,
            _ => Self::Metadata,
        }
    }
}

/// What a table is made of.
pub struct Rows<'a> {
    /// The kind of its objects.
    pub kind: &'a Kind,
    /// Its version: `v1` or `v1beta1`.
    pub version: &'a str,
    /// What its rows have of the objects.
    pub include: Include,
    /// When ages are reckoned.
    pub now: Timestamp,
}

impl Rows<'_> {
    /// A table of objects; `metadata` is that of the list.
    pub fn table(&self, objects: &[Value], metadata: Value) -> Value {
        let rows: Vec<Value> = objects.iter().map(|object| self.row(object)).collect();
        json!({
            "kind": "Table", "apiVersion": format!("meta.k8s.io/{}", self.version), "metadata": metadata,
            "columnDefinitions": self.columns(), "rows": rows,
        })
    }

    /// The same of objects as they are kept, written: what rows have of them is copied, not read.
    pub fn table_of(&self, objects: &[Stored], metadata: &Value) -> Bytes {
        let head = json!({
            "kind": "Table", "apiVersion": format!("meta.k8s.io/{}", self.version), "metadata": metadata,
            "columnDefinitions": self.columns(),
        });
        let seen = Fields::at(self.kind.seen);
        encoding::list(&head, "rows", objects, |text, stored| {
            text.extend_from_slice(b"{\"cells\":");
            let object = if self.kind.seen.is_empty() { self.kind.glance(stored) } else { seen.read(stored) };
            // A vector takes everything.
            let _ = serde_json::to_writer(&mut *text, &self.cells(&object));
            text.extend_from_slice(b",\"object\":");
            match self.include {
                Include::Nothing => text.extend_from_slice(b"null"),
                Include::Metadata => encoding::partial_to(text, stored),
                Include::Object => self.kind.serve_to(text, stored),
            }
            text.push(b'}');
        })
    }

    /// A table that goes on one begun before, so it does not say its columns again.
    pub fn more(&self, object: &Value) -> Value {
        let mut table = self
            .table(std::slice::from_ref(object), json!({ "resourceVersion": object.text("metadata.resourceVersion") }));
        table["columnDefinitions"] = Value::Null;
        table
    }

    /// The definitions of the columns.
    pub fn columns(&self) -> Vec<Value> {
        let column = |name: &str, kind: &str, format: &str, doc: &str, priority: i32| json!({ "name": name, "type": kind, "format": format, "description": doc, "priority": priority });
        if self.kind.columns.is_empty() {
            return vec![
                column("Name", "string", "name", "Name of the object.", 0),
                column("Created At", "date", "", "When it was made.", 0),
            ];
        }
        self.kind.columns.iter().map(|c| column(c.name, c.kind, c.format, c.doc, c.priority)).collect()
    }

    fn cells(&self, object: &Value) -> Vec<Value> {
        if self.kind.columns.is_empty() {
            return vec![meta::name(object).into(), object.text("metadata.creationTimestamp").into()];
        }
        self.kind.columns.iter().map(|column| (column.cell)(object, self.now)).collect()
    }

    fn row(&self, object: &Value) -> Value {
        let mut row = json!({ "cells": self.cells(object) });
        match self.include {
            Include::Nothing => row["object"] = Value::Null,
            Include::Metadata => row["object"] = meta::partial(object),
            Include::Object => row["object"] = object.clone(),
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use store::objects::Revision;

    use super::*;
    use crate::kind::{self, event};

    #[test]
    fn what_is_kept_gives_the_same_table() {
        let check = |kind: &Kind, object: Value| {
            let stored = Stored { created: Revision(3), modified: Revision(7), value: kind.encode(&object) };
            for include in [Include::Nothing, Include::Metadata, Include::Object] {
                let rows = Rows { kind, version: "v1", include, now: Timestamp::UNIX_EPOCH };
                let two = [stored.clone(), stored.clone()];
                for objects in [&two[..0], &two[..1], &two[..]] {
                    let read: Vec<Value> = objects.iter().map(|stored| kind.decode(stored)).collect();
                    let metadata = json!({ "resourceVersion": "9" });
                    let table: Value = serde_json::from_slice(&rows.table_of(objects, &metadata)).expect("JSON");
                    assert_eq!(table, rows.table(&read, metadata));
                }
            }
        };
        let of = |kind| kind::by_kind("", kind).expect("a kind");
        let metadata =
            json!({ "name": "a", "labels": { "}": "\"{\\" }, "managedFields": [{ "manager": "x" }], "uid": "u" });
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "a": "}" } });
        check(of("ConfigMap"), map);
        let pod = |metadata: &Value, spec: Value, status: Value| {
            check(of("Pod"), json!({ "metadata": metadata, "spec": spec, "status": status }));
        };
        let containers = json!([{ "name": "c", "image": "i" }]);
        pod(&metadata, json!({ "containers": containers }), json!({}));
        let going = json!({ "name": "a", "creationTimestamp": "1970-01-01T00:00:00Z", "deletionTimestamp": "1970-01-01T00:00:00Z" });
        let init = json!([{ "name": "i" }, { "name": "s", "restartPolicy": "Always" }]);
        let gates = json!([{ "conditionType": "a" }, { "conditionType": "b" }]);
        let conditions = json!([{ "type": "a", "status": "True" }, { "type": "Initialized", "status": "True" }]);
        let running = json!({ "running": {} });
        let last = json!({ "terminated": { "finishedAt": "1969-12-31T00:00:00Z" } });
        let statuses = json!([{ "name": "c", "ready": true, "restartCount": 2, "state": running, "lastState": last }]);
        let sidecars = json!([{ "name": "s", "started": true, "ready": true, "state": running }]);
        let spec =
            json!({ "containers": containers, "initContainers": init, "nodeName": "n", "readinessGates": gates });
        let mut status = json!({
            "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.2" }], "nominatedNodeName": "m",
            "conditions": conditions, "containerStatuses": statuses, "initContainerStatuses": sidecars,
        });
        for metadata in [&metadata, &going] {
            for reason in ["", "NodeLost"] {
                status["reason"] = reason.into();
                pod(metadata, spec.clone(), status.clone());
            }
        }
        let event =
            json!({ "metadata": { "name": "a" }, "regarding": { "kind": "Pod", "name": "web" }, "note": "here" });
        check(&event::GROUP, event);
        check(&event::CORE, json!({ "metadata": {} }));
    }
}
