//! The four ways to change an object by saying what shall be different, and the record of who set which field. Pure functions of JSON
//! and types: reading and writing objects, and what status an error becomes, is the caller's business.

pub mod apply;
pub mod json;
pub mod managed;
pub mod merge;
pub mod strategic;

mod fields;
mod ordered;
mod typed;

use serde_json::Value;
use thiserror::Error;

pub use fields::{Element, FieldSet, path_text};

/// How deep a result may be nested: what a JSON reader accepts.
const DEPTH: usize = 120;
/// How much larger the copies of a JSON patch may make an object, in bytes.
const COPIES: usize = 3 << 20;
/// The most operations of a JSON patch.
const OPERATIONS: usize = 10_000;

/// Why a patch was not applied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatchError {
    /// It cannot be understood: 400, `BadRequest`.
    #[error("{0}")]
    Malformed(String),
    /// It does not apply to this object: 422, `Invalid`. Clients are told no more than this.
    #[error("the server rejected our request due to an error in our request")]
    Rejected {
        /// What exactly.
        detail: String,
    },
    /// It asks for too much: 413, `RequestEntityTooLarge`.
    #[error("{0}")]
    TooLarge(String),
    /// Others own fields that it would change: 409, `Conflict`.
    #[error("{}", managed::conflict_message(.0))]
    Conflict(Vec<Conflict>),
    /// What is to be applied is not of the type: 500 in Kubernetes.
    #[error("{0}")]
    Untyped(String),
}

/// A field that somebody else owns: a cause of the type `FieldManagerConflict`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// Who, as in `"kubectl-client-side-apply" using apps/v1`.
    pub manager: String,
    /// Which, as in `.spec.replicas`.
    pub field: String,
}

impl Conflict {
    /// The message of the cause.
    #[must_use]
    pub fn message(&self) -> String {
        format!("conflict with {}", self.manager)
    }
}

/// An error if a value is nested so deep that clients could not read it.
fn shallow(value: Value) -> Result<Value, PatchError> {
    if within(&value, DEPTH) {
        return Ok(value);
    }
    // What is so deep that dropping it could exhaust the stack was never made: copies are bounded.
    Err(PatchError::Rejected { detail: format!("the result is nested deeper than {DEPTH} levels") })
}

fn within(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| within(item, depth - 1)),
        Value::Object(members) => depth > 0 && members.values().all(|member| within(member, depth - 1)),
        _ => true,
    }
}
