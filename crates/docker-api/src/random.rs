//! Identities are made at the edge: 32 bytes of the system's randomness each.

use rustix::rand::{GetRandomFlags, getrandom};

use crate::ApiError;

/// Bytes for a new id.
pub(crate) fn bytes() -> Result<[u8; 32], ApiError> {
    let mut bytes = [0; 32];
    // Up to 256 bytes are never given in part (getrandom(2)).
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(ApiError::internal(format!("cannot get random bytes for a new id: {error}"))),
    }
}

/// The same as 64 hexadecimal digits, as anonymous volumes and execs are named.
pub(crate) fn hex() -> Result<String, ApiError> {
    Ok(model::ContainerId::from_bytes(bytes()?).to_string())
}
