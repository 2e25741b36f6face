//! What can be done with objects, one file for each verb. Whether the asker may is settled before; who it is matters only for what is
//! written about it.

pub mod collection;
pub mod create;
pub mod delete;
pub mod list;
pub mod patch;
pub mod read;
pub mod update;
pub mod watch;
pub mod write;

#[cfg(test)]
mod cases;

use crate::{kind::Kind, server};

/// The place of objects: a kind, and a namespace (empty for objects of the cluster).
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The kind.
    pub kind: &'static Kind,
    /// The namespace.
    pub namespace: &'a str,
}

impl Place<'_> {
    /// Where an object is kept.
    pub fn key(&self, name: &str) -> String {
        server::key(self.kind, self.namespace, name)
    }
}
