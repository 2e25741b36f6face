//! One object, what happens to it, and what is asked of it. Values are bytes: what they mean is the caller's business.

use std::{fmt, sync::Arc};

use bytes::Bytes;

/// A point in the history of all objects: each write is one later than the one before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An object as it is kept. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// When it was made.
    pub created: Revision,
    /// When it was last written.
    pub modified: Revision,
    /// What it is.
    pub value: Bytes,
}

/// What must hold for a write to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// There is no such object.
    Absent,
    /// It was last written at this revision.
    At(Revision),
    /// Whatever is there. What is to be deleted must be there.
    Any,
}

/// What a write did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The revision that it made.
    pub revision: Revision,
    /// The object now; none when it was deleted.
    pub object: Option<Stored>,
    /// The object before.
    pub before: Option<Stored>,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An object was made or changed.
    Put {
        /// Its key.
        key: Arc<str>,
        /// The object now.
        object: Stored,
        /// The object before; none when it was made.
        before: Option<Stored>,
    },
    /// An object was deleted.
    Delete {
        /// Its key.
        key: Arc<str>,
        /// The object as it was.
        before: Stored,
        /// When.
        revision: Revision,
    },
    /// All up to this revision was told.
    Progress(Revision),
}

impl Event {
    /// What a write makes of an object, if the object is as expected; else the object as it is.
    pub(super) fn decide(
        current: Option<&Stored>,
        key: &Arc<str>,
        write: (Expect, Option<Bytes>),
        revision: Revision,
    ) -> Result<Self, Option<Stored>> {
        let (expect, value) = write;
        let holds = match expect {
            Expect::Absent => current.is_none(),
            Expect::At(at) => current.is_some_and(|current| current.modified == at),
            Expect::Any => true,
        };
        let key = Arc::clone(key);
        match (holds, value, current) {
            (true, Some(value), before) => {
                let created = before.map_or(revision, |before| before.created);
                let object = Stored { created, modified: revision, value };
                Ok(Self::Put { key, object, before: before.cloned() })
            }
            (true, None, Some(before)) => Ok(Self::Delete { key, before: before.clone(), revision }),
            (true, None, None) | (false, ..) => Err(current.cloned()),
        }
    }

    /// When it happened.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put { object, .. } => object.modified,
            Self::Delete { revision, .. } | Self::Progress(revision) => *revision,
        }
    }

    /// The object's key; empty for progress.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } => key,
            Self::Progress(_) => "",
        }
    }

    /// The object now.
    #[must_use]
    pub fn object(&self) -> Option<&Stored> {
        match self {
            Self::Put { object, .. } => Some(object),
            Self::Delete { .. } | Self::Progress(_) => None,
        }
    }

    /// The object before.
    #[must_use]
    pub fn before(&self) -> Option<&Stored> {
        match self {
            Self::Put { before, .. } => before.as_ref(),
            Self::Delete { before, .. } => Some(before),
            Self::Progress(_) => None,
        }
    }

    pub(super) fn written(&self) -> Written {
        Written { revision: self.revision(), object: self.object().cloned(), before: self.before().cloned() }
    }
}
