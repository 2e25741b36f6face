//! What one engine goes on doing after it has answered is not another's time.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// How long the processors are watched at a time: they are accounted for in hundredths of a second (proc_stat(5)).
const WATCHED: Duration = Duration::from_millis(50);
/// Of these, so many may be busy.
const BUSY_MAX: u64 = 1;
/// A machine that is never quiet is measured as it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// Waits until the processors have little to do.
pub fn wait() {
    let deadline = Instant::now() + PATIENCE;
    let mut before = busy();
    while Instant::now() < deadline {
        thread::sleep(WATCHED);
        let now = busy();
        if now.saturating_sub(before) <= BUSY_MAX {
            return;
        }
        before = now;
    }
}

/// How long all processors were busy since the machine started, in hundredths of a second.
fn busy() -> u64 {
    busy_in(&fs::read_to_string("/proc/stat").unwrap_or_default())
}

fn busy_in(stat: &str) -> u64 {
    let all = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // User, nice, system, idle, waiting for a disk, interrupts, soft interrupts; what comes next is no work of this machine's.
    let spent = all.take(7).enumerate().filter(|(kind, _)| !matches!(kind, 3 | 4));
    spent.filter_map(|(_, spent)| spent.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_idle_is_not_busy() {
        assert_eq!(busy_in("cpu  1 2 4 8 16 32 64 128 256 512\ncpu0 1 1 1 1 1 1 1 1 1 1\n"), 1 + 2 + 4 + 32 + 64);
        assert_eq!(busy_in(""), 0);
    }
}
