//! Where output goes.

use model::container::Log;

use crate::{ApiError, wire::host_config::LogConfig};

/// Options of `json-file` that are accepted; only the first two change anything here.
const OPTIONS: [&str; 10] = [
    "max-size",
    "max-file",
    "compress",
    "env",
    "env-regex",
    "labels",
    "labels-regex",
    "max-buffer-size",
    "mode",
    "tag",
];

/// Reads the driver and its options.
pub(super) fn log(config: &LogConfig) -> Result<Log, ApiError> {
    match config.driver.as_str() {
        "none" => Ok(Log::None),
        "" | "json-file" => json_file(config),
        other => Err(ApiError::invalid(format!("logger: no log driver named '{other}' is registered"))),
    }
}

fn json_file(config: &LogConfig) -> Result<Log, ApiError> {
    if let Some(name) = config.config.keys().find(|name| !OPTIONS.contains(&name.as_str())) {
        return Err(ApiError::invalid(format!("unknown log opt '{name}' for json-file log driver")));
    }
    let max_size = match config.config.get("max-size").map(String::as_str) {
        None | Some("" | "-1") => None,
        Some(text) => Some(size(text).ok_or_else(|| ApiError::invalid(format!("invalid size: '{text}'")))?),
    };
    let max_file = match config.config.get("max-file") {
        None => 1,
        Some(text) => {
            let number: u32 = text
                .parse()
                .map_err(|_| ApiError::invalid(format!("invalid max-file {text:?}: a whole number is expected")))?;
            if number == 0 {
                return Err(ApiError::invalid("max-file cannot be less than 1"));
            }
            number
        }
    };
    Ok(Log::JsonFile { max_size, max_file })
}

/// Reads `10m`, `1.5GB`, `4096`; bytes in powers of 1,024.
fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let value: f64 = text[..digits].parse().ok()?;
    let shift = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    let bytes = value * f64::from(1_u32 << shift.min(30)) * if shift == 40 { 1024.0 } else { 1.0 };
    (bytes >= 1.0).then_some(bytes as u64)
}
