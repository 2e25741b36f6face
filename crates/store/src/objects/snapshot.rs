//! All objects at one revision.

use std::{
    ops::Bound::{Excluded, Included, Unbounded},
    sync::Arc,
};

use imbl::OrdMap;

use super::{Event, Revision, Stored};

/// All objects at one revision. Cheap to clone, and never changes.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The revision.
    pub revision: Revision,
    /// The objects by key.
    pub objects: OrdMap<Arc<str>, Stored>,
}

impl Snapshot {
    /// The object with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Stored> {
        self.objects.get(key)
    }

    /// The objects whose keys begin with the prefix, in order of their keys; those after a key, where a reader goes on.
    pub fn range<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Stored)> + use<'a> {
        let from = match after {
            Some(after) if after >= prefix => Excluded(after),
            _ => Included(prefix),
        };
        self.objects.range::<_, str>((from, Unbounded)).take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// What an event makes of it.
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::Put { key, object, .. } => {
                self.objects.insert(Arc::clone(key), object.clone());
            }
            Event::Delete { key, .. } => {
                self.objects.remove(key);
            }
            Event::Progress(_) => {}
        }
        self.revision = event.revision();
    }

    /// As it was before an event, which was the last one.
    pub(super) fn revert(&mut self, event: &Event) {
        match event {
            Event::Put { key, before: Some(before), .. } | Event::Delete { key, before, .. } => {
                self.objects.insert(Arc::clone(key), before.clone());
            }
            Event::Put { key, before: None, .. } => {
                self.objects.remove(key);
            }
            Event::Progress(_) => {}
        }
    }
}
