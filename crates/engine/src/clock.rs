//! The time of day, to be stored and shown. It jumps when somebody sets it: how long something took or will take is never the
//! difference of two of these, but told by the monotonic clock (`std::time::Instant`, `tokio::time`).

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 UTC.
pub fn now_ms() -> i64 {
    // A clock before 1970 counts as 1970.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
