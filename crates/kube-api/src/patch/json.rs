//! JSON patch (RFC 6902): operations on paths.

use json_patch::{Patch, PatchOperation, jsonptr::resolve::Resolve as _};
use serde_json::Value;

use super::{COPIES, OPERATIONS, PatchError, shallow};

/// What the operations make of an object.
pub fn apply(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations = match patch {
        Value::Array(operations) => operations.len(),
        _ => return Err(PatchError::Malformed("a JSON patch must be a list of operations".to_owned())),
    };
    if operations > OPERATIONS {
        let text = format!("The allowed maximum operations in a JSON patch is {OPERATIONS}, got {operations}");
        return Err(PatchError::TooLarge(text));
    }
    let Patch(operations) = serde::Deserialize::deserialize(patch)
        .map_err(|error| PatchError::Malformed(format!("error decoding patch: {error}")))?;
    let mut result = object.clone();
    let mut copied = 0;
    for operation in operations {
        copied += copies(&result, &operation);
        if copied > COPIES {
            let detail = format!("the copies are larger than {COPIES} bytes");
            return Err(PatchError::Rejected { detail });
        }
        // An operation that does not apply leaves a broken object, which is dropped.
        json_patch::patch_unsafe(&mut result, &[operation])
            .map_err(|error| PatchError::Rejected { detail: error.to_string() })?;
    }
    shallow(result)
}

/// By how much an operation lets the object grow beyond the size of the patch, in bytes.
fn copies(object: &Value, operation: &PatchOperation) -> usize {
    match operation {
        PatchOperation::Copy(copy) => object.resolve(&copy.from).map_or(0, |copied| copied.to_string().len()),
        _ => 0,
    }
}
