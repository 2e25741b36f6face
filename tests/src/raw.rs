//! HTTP at the daemon's socket without a client that behaves, and what the daemon holds because of it.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use crate::{Host, eventually};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the daemon holds.
#[derive(Clone, Copy, Debug)]
pub struct Holdings {
    /// Open files.
    pub descriptors: usize,
    /// Resident memory.
    pub rss_kb: usize,
}

impl Host {
    /// A connection to the daemon.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn connect(&self) -> UnixStream {
        let socket = format!("/proc/{}/root/run/docker.sock", self.pid());
        let stream = UnixStream::connect(socket).expect("the daemon listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// The status and the body of a request with a JSON body; 0 when the daemon hung up.
    pub fn ask(&self, line: &str, body: &str) -> (u16, String) {
        self.send(line, "application/json", body.as_bytes())
    }

    /// The same with a body of any type.
    pub fn send(&self, line: &str, content_type: &str, body: &[u8]) -> (u16, String) {
        let mut stream = self.connect();
        let head =
            format!("Host: d\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}", body.len());
        // What cannot be sent was refused before; the answer says why.
        let _ = write!(stream, "{line} HTTP/1.1\r\n{head}\r\n\r\n").and_then(|()| stream.write_all(body));
        answer(&mut stream)
    }

    /// What the daemon holds now.
    ///
    /// # Panics
    /// When it is gone.
    pub fn holdings(&self) -> Holdings {
        let pid = self.daemon_pid();
        let pid = pid.trim();
        let number = |script: String| self.sh(&script).ok().parse().expect("a number");
        Holdings {
            descriptors: number(format!("ls /proc/{pid}/fd | wc -l")),
            rss_kb: number(format!("awk '/VmRSS/ {{print $2}}' /proc/{pid}/status")),
        }
    }

    /// Waits until the daemon has let go of all that its clients had made it hold; it must answer, not have panicked, and the network be
    /// as it must.
    ///
    /// # Panics
    /// When it is otherwise.
    #[track_caller]
    pub fn back_to_normal(&self, before: Holdings) {
        eventually("the daemon has let go", || {
            let now = self.holdings();
            // The allocator keeps some of what it had.
            (now.descriptors <= before.descriptors + 2 && now.rss_kb <= before.rss_kb + (64 << 10)).then_some(())
        });
        assert_eq!(self.docker("version --format {{.Server.Os}}").ok(), "linux");
        let log = self.daemon_log();
        assert!(!log.contains("panic"), "{log}");
        assert_eq!(self.linkspan("diff").ok(), "The kernel is as it must be.");
    }
}

/// The status and the body of the answer; 0 when the daemon hung up.
pub fn answer(stream: &mut UnixStream) -> (u16, String) {
    let mut bytes = Vec::new();
    // A reset after the answer is as good as its end.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}
