//! Signals by name and number (signal(7)), as Docker reads them.

use crate::ApiError;

const NAMES: [(&str, i32); 37] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("UNUSED", 31),
    ("RTMIN", 34),
    ("RTMAX", 64),
];

const LAST: i32 = 64;

/// Reads `SIGTERM`, `term`, `15`, `RTMIN+3`, `RTMAX-2`.
pub(crate) fn parse(text: &str) -> Result<i32, ApiError> {
    let bad = || ApiError::invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=LAST).contains(&number) { Ok(number) } else { Err(bad()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    let offset = |text: &str| text.parse::<i32>().ok().filter(|n| (0..=30).contains(n));
    let realtime = match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
        (Some(above), _) => offset(above).map(|n| 34 + n),
        (_, Some(below)) => offset(below).map(|n| LAST - n),
        _ => None,
    };
    realtime.ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        let check = |text: &str, expected: Option<i32>| assert_eq!(parse(text).ok(), expected, "{text}");
        for (text, number) in
            [("SIGTERM", 15), ("term", 15), ("9", 9), ("WINCH", 28), ("SIGRTMIN+3", 37), ("RTMAX-2", 62)]
        {
            check(text, Some(number));
        }
        for text in ["", "0", "65", "-1", "SIG", "FOO", "RTMIN+31", "RTMAX-x"] {
            check(text, None);
        }
    }
}
