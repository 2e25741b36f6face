//! JSON merge patch (RFC 7386): the members of the patch replace those of the object, `null` removes.

use serde_json::Value;

use super::{PatchError, shallow};

/// What the patch makes of an object.
pub fn apply(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        return Err(PatchError::Malformed("a merge patch must be an object".to_owned()));
    }
    let mut result = object.clone();
    json_patch::merge(&mut result, patch);
    shallow(result)
}
