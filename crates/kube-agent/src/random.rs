//! Names that nobody else has.

use std::{fs::File, io::Read};

use runtime::RuntimeError;

/// 64 hexadecimal digits.
pub fn hex() -> Result<String, RuntimeError> {
    let mut bytes = [0; 32];
    let failed = |source| RuntimeError::Io { id: String::new(), action: "read /dev/urandom", source };
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).map_err(failed)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
