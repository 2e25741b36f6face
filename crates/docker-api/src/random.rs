//! Identities are made at the edge: 32 bytes of the system's randomness each.

use rustix::rand::{GetRandomFlags, getrandom};

use crate::ApiError;

/// Where new ids come from: the system, or a test.
pub(crate) type Source<'a> = &'a mut dyn FnMut() -> Result<[u8; 32], ApiError>;

/// Bytes for a new id.
pub(crate) fn bytes() -> Result<[u8; 32], ApiError> {
    let mut bytes = [0; 32];
    // Up to 256 bytes are never given in part (getrandom(2)).
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(ApiError::internal(format!("cannot get random bytes for a new id: {error}"))),
    }
}

/// 64 hexadecimal digits, as anonymous volumes and execs are named.
pub(crate) fn text(bytes: [u8; 32]) -> String {
    model::ContainerId::from_bytes(bytes).to_string()
}
