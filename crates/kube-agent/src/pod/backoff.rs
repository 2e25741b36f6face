//! The pauses between starts of a container that keeps ending, and between pulls that keep failing: kubelet's numbers.

use jiff::Timestamp;

use super::seen::Attempt;

/// The pause after the second end, seconds; it doubles with every further one.
const FIRST_S: i64 = 10;
/// The longest, seconds.
const LONGEST_S: i64 = 300;
/// Whoever ran so long starts without a pause again, seconds.
const STABLE_S: i64 = 600;

/// The pause before the attempt that follows one that has ended, seconds. The first restart comes at once.
pub fn after(attempt: &Attempt) -> i64 {
    let ran_s = attempt.end().and_then(|end| Some(end.finished.duration_since(end.started?).as_secs()));
    match (attempt.number, attempt.pause_s) {
        (0, _) => 0,
        _ if ran_s.is_some_and(|ran_s| ran_s >= STABLE_S) => 0,
        (_, 0) => FIRST_S,
        (_, before) => (before * 2).min(LONGEST_S),
    }
}

/// Seconds until the attempt that follows is due; 0 or less when it is.
pub fn remaining_s(attempt: &Attempt, now: Timestamp) -> i64 {
    attempt.end().map_or(0, |end| after(attempt) - now.duration_since(end.finished).as_secs())
}

/// The pause after a failure that followed one with this pause, seconds.
pub fn after_failure(before_s: Option<i64>) -> i64 {
    before_s.map_or(FIRST_S, |before| (before * 2).clamp(FIRST_S, LONGEST_S))
}
