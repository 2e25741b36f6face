//! A host to test on: private network, mount and process namespaces, a linkspan daemon in them, a neighbour outside, and the real
//! docker command.
//!
//! Everything is inside a process namespace, so that its end, however it comes, ends every process; links and mounts go
//! with the other namespaces, and the files with the temporary directory.
#![forbid(unsafe_code)]

mod cluster;
mod host;
pub mod image;
mod job;
mod load;
mod network;
mod peer;
mod raw;
mod said;
mod terminal;
mod upstream;

use std::{
    thread,
    time::{Duration, Instant},
};

pub use cluster::Cluster;
pub use host::{Host, NETWORK, binary};
pub use job::Job;
pub use load::{Ask, Load, Tally};
pub use network::From;
pub use peer::Peer;
pub use raw::{Holdings, answer};
pub use said::Said;
pub use terminal::Terminal;
pub use upstream::UPSTREAM;

/// A WebSocket client, for python3: it is told the server (`/SOCKET` or `ADDRESS:PORT`), the path, and the Host.
pub const WEBSOCKET: &str = include_str!("websocket.py");

/// Polls until the condition gives something, or fails saying what was waited for.
///
/// # Panics
/// After a minute, which is long for what is waited for, and not for a machine that has other work.
#[track_caller]
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        thread::sleep(PAUSE);
    }
}

/// Polls until what is looked at fits, and gives it; otherwise fails showing what it was last.
///
/// # Panics
/// As [`eventually`].
#[track_caller]
pub fn eventually_fits(what: &str, mut look: impl FnMut() -> String, fits: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + LIMIT;
    loop {
        let found = look();
        if fits(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "not within a minute: {what}\nit was last: {found}");
        thread::sleep(PAUSE);
    }
}

const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
