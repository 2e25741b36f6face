//! The bench's turn on the processors. All engines and clients are its children; shims that make sessions of their own have it no longer.

use std::fs;

use rustix::process::setpriority_process;

/// Far before other programs (sched(7)).
const NICE: i32 = -15;

/// Where the kernel weighs a whole session against the others.
const SESSION: &str = "/proc/self/autogroup";

/// While it lives, this program and all that it starts run before what else the machine does.
pub struct Priority {
    /// The session's nice value before.
    session: Option<String>,
}

impl Priority {
    /// Takes it. Where that is refused, the bench measures the others' work too, and is still a bench.
    pub fn take() -> Self {
        let _ = setpriority_process(None, NICE);
        let line = fs::read_to_string(SESSION).unwrap_or_default();
        let session = line.trim().split_once(" nice ").map(|(_, nice)| nice.to_owned());
        let _ = fs::write(SESSION, NICE.to_string());
        Self { session }
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        if let Some(nice) = &self.session {
            let _ = fs::write(SESSION, nice);
        }
    }
}
