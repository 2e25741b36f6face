//! Points in time as Docker writes them: RFC 3339 in UTC, and the `since` and `until` of its queries.

use jiff::Timestamp;

use crate::ApiError;

/// What Docker writes for "never".
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// `2026-11-22T08:00:00.5Z`; `NEVER` for 0.
pub(crate) fn rfc3339(at_ms: i64) -> String {
    match Timestamp::from_millisecond(at_ms) {
        Ok(at) if at_ms != 0 => at.to_string(),
        _ => NEVER.to_owned(),
    }
}

/// Milliseconds since 1970 UTC, now.
pub(crate) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Reads seconds with an optional fraction, RFC 3339, or a span before now as in `10m`; nanoseconds since 1970 UTC.
pub(crate) fn parse_ns(text: &str, now_ms: i64) -> Result<i128, ApiError> {
    let seconds = || {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let whole: i64 = whole.parse().ok()?;
        let digits = fraction.get(..fraction.len().min(9))?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let nanos: i128 = format!("{digits:0<9}").parse().ok()?;
        Some(i128::from(whole) * 1_000_000_000 + nanos)
    };
    let instant = || text.parse::<Timestamp>().ok().map(Timestamp::as_nanosecond);
    let local = || {
        let at: jiff::civil::DateTime = text.parse().ok()?;
        Some(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_nanosecond())
    };
    let ago = || Some(i128::from(now_ms) * 1_000_000 - span_ns(text)?);
    let read = seconds().or_else(instant).or_else(local).or_else(ago);
    read.ok_or_else(|| {
        ApiError::invalid(format!("invalid time {text:?}: give seconds since 1970, RFC 3339, or a span as in 10m"))
    })
}

/// Reads a span as Go writes it, `1h30m`, `1.5s`, `300ms`; nanoseconds.
fn span_ns(text: &str) -> Option<i128> {
    let mut rest = text;
    let mut total = 0_f64;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..number].parse().ok()?;
        rest = &rest[number..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let factor = match &rest[..unit] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3_600e9,
            _ => return None,
        };
        total += value * factor;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(total as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written() {
        assert_eq!(rfc3339(0), NEVER);
        assert_eq!(rfc3339(1_700_000_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(1_700_000_000_120), "2023-11-14T22:13:20.12Z");
    }

    #[test]
    fn read() {
        let check = |text: &str, expected: Option<i128>| assert_eq!(parse_ns(text, 100_000).ok(), expected, "{text}");
        check("1700000000", Some(1_700_000_000_000_000_000));
        check("1700000000.5", Some(1_700_000_000_500_000_000));
        check("1700000000.123456789", Some(1_700_000_000_123_456_789));
        check("2023-11-14T22:13:20Z", Some(1_700_000_000_000_000_000));
        check("2023-11-14T22:13:20.5+00:00", Some(1_700_000_000_500_000_000));
        check("2023-11-14", Some(1_699_920_000_000_000_000));
        check("2023-11-14T22:13:20", Some(1_700_000_000_000_000_000));
        check("1m10s", Some(30_000_000_000));
        check("1.5s", Some(98_500_000_000));
        check("yesterday", None);
        check("", None);
        check("10x", None);
    }
}
