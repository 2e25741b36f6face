//! Identities are made at the edge: 32 bytes of the system's randomness each.

use rustix::rand::{GetRandomFlags, getrandom};

use crate::ApiError;

/// Where new ids come from: the system, or a test.
pub(crate) type Source<'a> = &'a mut dyn FnMut() -> Result<[u8; 32], ApiError>;

/// Bytes for a new id. Its short form is a container's host name, so it is not a number: gethostbyname(3) takes a name of digits for an
/// address, and finds none.
pub(crate) fn bytes() -> Result<[u8; 32], ApiError> {
    let mut bytes = [0; 32];
    loop {
        // Up to 256 bytes are never given in part (getrandom(2)).
        if let Err(error) = getrandom(&mut bytes, GetRandomFlags::empty()) {
            return Err(ApiError::internal(format!("cannot get random bytes for a new id: {error}")));
        }
        if !is_a_number(&bytes) {
            return Ok(bytes);
        }
    }
}

/// Whether an id's first twelve digits are all decimal.
fn is_a_number(bytes: &[u8; 32]) -> bool {
    bytes[..6].iter().all(|byte| byte >> 4 < 10 && byte & 15 < 10)
}

/// 64 hexadecimal digits, as anonymous volumes and execs are named.
pub(crate) fn text(bytes: [u8; 32]) -> String {
    model::ContainerId::from_bytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ids_that_are_numbers() {
        let check = |first: [u8; 6], expected| {
            let mut bytes = [0xff; 32];
            bytes[..6].copy_from_slice(&first);
            assert_eq!(is_a_number(&bytes), expected, "{}", text(bytes));
        };
        check([0x12, 0x34, 0x56, 0x78, 0x90, 0x99], true);
        check([0x00; 6], true);
        check([0x12, 0x34, 0x56, 0x78, 0x90, 0x9a], false);
        check([0xa2, 0x34, 0x56, 0x78, 0x90, 0x99], false);
        check([0x12, 0x34, 0x5e, 0x78, 0x90, 0x99], false);
    }
}
