//! Why objects cannot be read, written or watched, and what to do.

use std::sync::Arc;

use thiserror::Error;

use super::{Revision, Stored};
use crate::StoreError;

/// Why the objects cannot be reached.
#[derive(Debug, Clone, Error)]
pub enum ObjectsError {
    /// Their file.
    #[error(transparent)]
    File(#[from] Arc<StoreError>),
    /// No etcd answers.
    #[error("cannot reach etcd at {endpoint}: {what}; see that it runs and that the address is right")]
    Unreachable {
        /// Where the last attempt was made.
        endpoint: String,
        /// Why.
        what: String,
    },
    /// The way to etcd broke before it answered: a write may have been done or not.
    #[error("etcd at {endpoint} did not answer: {what}; what was asked may have been done")]
    Unanswered {
        /// Who was asked.
        endpoint: String,
        /// Why.
        what: String,
    },
    /// Etcd refused.
    #[error("etcd refused: {what}")]
    Refused {
        /// Why.
        what: String,
    },
    /// What it was told of etcd cannot be used.
    #[error("cannot use the etcd {given:?}: {what}")]
    Given {
        /// The address.
        given: String,
        /// Why.
        what: String,
    },
    /// The revision is not here yet.
    #[error("revision {asked} is not here yet: the newest is {newest}; try again, or list anew")]
    Ahead {
        /// What was asked for.
        asked: Revision,
        /// What is here.
        newest: Revision,
    },
    /// They were closed.
    #[error("the objects were closed: linkspan is going down")]
    Closed,
}

impl From<StoreError> for ObjectsError {
    fn from(error: StoreError) -> Self {
        Self::File(Arc::new(error))
    }
}

/// Why a write was not done.
#[derive(Debug, Clone, Error)]
pub enum WriteError {
    /// The object is not as expected.
    #[error("the object is not as expected: {}", match current {
        Some(current) => format!("it was written at revision {}", current.modified),
        None => "there is none".to_owned(),
    })]
    Conflict {
        /// How it is.
        current: Option<Stored>,
    },
    /// It could not be kept.
    #[error(transparent)]
    Failed(#[from] ObjectsError),
}

/// What happened after this revision is no longer known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("revision {asked} was compacted: the oldest is {oldest}; list anew")]
pub struct Compacted {
    /// What was asked for.
    pub asked: Revision,
    /// The oldest revision after which all is known.
    pub oldest: Revision,
}

/// Why a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CutOff {
    /// It was not read for so long that what it was to tell next is no longer known.
    #[error("the watch was read too slowly: list anew")]
    Slow,
    /// The way to the objects was lost for so long that they had to be listed anew.
    #[error("the objects had to be listed anew: list anew")]
    Relisted,
    /// The objects were closed.
    #[error("the objects were closed: linkspan is going down")]
    Closed,
}
