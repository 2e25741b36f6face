//! Waiting until something can be done, for all clients and processes at once.

use std::{io, os::fd::AsFd, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Shim;
use crate::shim::protocol::Stream;

/// What a polled descriptor is.
#[derive(Clone, Copy)]
pub enum Source {
    Signals,
    Listener,
    /// A client, and whether it has hung up.
    Client(u64, bool),
    Input(u64),
    Output(u64, Stream),
}

impl Shim {
    /// Waits until something can be done, and says what.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<Source>> {
        let mut polled = vec![
            (Source::Signals, self.parts.signals.as_fd(), PollFlags::IN),
            (Source::Listener, self.parts.listener.as_fd(), PollFlags::IN),
        ];
        for (number, connection) in &self.connections {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, !self.ending && self.takes_input(*number));
            flags.set(PollFlags::OUT, connection.has_waiting());
            polled.push((Source::Client(*number, false), connection.socket().as_fd(), flags));
        }
        for (number, process) in &self.processes {
            polled.extend(process.hungry_stdin().map(|stdin| (Source::Input(*number), stdin.as_fd(), PollFlags::OUT)));
            if !self.has_full_watcher(*number) {
                polled.extend(
                    process
                        .outputs()
                        .iter()
                        .map(|(stream, fd)| (Source::Output(*number, *stream), fd.as_fd(), PollFlags::IN)),
                );
            }
        }
        let mut fds: Vec<PollFd<'_>> =
            polled.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = fds.iter().zip(&polled).filter(|(fd, _)| !fd.revents().is_empty());
        let hung_up = |fd: &PollFd<'_>| fd.revents().intersects(PollFlags::HUP | PollFlags::ERR);
        Ok(ready
            .map(
                |(fd, (source, ..))| {
                    if let Source::Client(number, _) = source { Source::Client(*number, hung_up(fd)) } else { *source }
                },
            )
            .collect())
    }
}
