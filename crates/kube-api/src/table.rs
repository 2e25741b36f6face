//! Tables: objects as rows of cells, as `kubectl get` prints them (`meta.k8s.io` Table; the API concepts page).

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    kind::Kind,
    object::{Look, meta},
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

    fn row(&self, object: &Value) -> Value {
        let cells: Vec<Value> = if self.kind.columns.is_empty() {
            vec![meta::name(object).into(), object.text("metadata.creationTimestamp").into()]
        } else {
            self.kind.columns.iter().map(|column| (column.cell)(object, self.now)).collect()
        };
        let mut row = json!({ "cells": cells });
        match self.include {
            Include::Nothing => row["object"] = Value::Null,
            Include::Metadata => row["object"] = meta::partial(object),
            Include::Object => row["object"] = object.clone(),
        }
        row
    }
}
