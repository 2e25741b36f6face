//! The journal as the writer needs it. The binary gives the real one, tests one that fails.

use model::Change;
use store::{Store, StoreError};

/// Where every change is written before anything is done about it.
pub trait Journal: Send {
    /// Writes a change that makes this revision, at once or not at all.
    fn append(&mut self, change: &Change, revision: u64) -> Result<(), StoreError>;
}

impl Journal for Store {
    fn append(&mut self, change: &Change, revision: u64) -> Result<(), StoreError> {
        Self::append(self, change, revision)
    }
}
