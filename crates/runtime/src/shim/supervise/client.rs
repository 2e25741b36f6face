//! Clients come, are served, stall and leave.

use std::time::{Duration, Instant};

use super::{MAIN, STALL_LIMIT, Shim};
use crate::shim::{
    connection::{Connection, Gone, Role},
    process::Process,
    protocol::Report,
};

impl Shim {
    pub(super) fn accept(&mut self) {
        while let Ok((stream, _)) = self.parts.listener.accept() {
            if let Ok(connection) = Connection::new(stream) {
                self.connections.insert(self.next_connection, connection);
                self.next_connection += 1;
            }
        }
    }

    /// Hears everybody who has connected and asked until now.
    pub(super) fn greet(&mut self) {
        self.accept();
        let newcomers: Vec<u64> =
            self.connections.iter().filter(|(_, c)| c.role == Role::New).map(|(number, _)| *number).collect();
        newcomers.into_iter().for_each(|number| self.serve(number));
    }

    /// Reads from a client, does what it asks, and sends what it has waiting.
    pub(super) fn serve(&mut self, number: u64) {
        if let Err(gone) = self.try_serve(number) {
            eprintln!("a client is dropped: {gone}");
            self.leave(number);
        }
    }

    fn try_serve(&mut self, number: u64) -> Result<(), Gone> {
        let Some(connection) = self.connections.get_mut(&number) else { return Ok(()) };
        connection.flush()?;
        let was_open = !connection.is_half_closed();
        while self.takes_input(number)
            && let Some(connection) = self.connections.get_mut(&number)
        {
            match connection.request()? {
                Some(request) => self.answer(number, request)?,
                None if connection.fill()? => {}
                None => break,
            }
        }
        if was_open && self.connections.get(&number).is_some_and(Connection::is_half_closed) {
            self.end_input_of(number);
        }
        Ok(())
    }

    /// Whether what a client sends can be taken now.
    pub(super) fn takes_input(&self, number: u64) -> bool {
        let Some(connection) = self.connections.get(&number) else { return false };
        let fed = match connection.role {
            Role::Exec => self.processes.get(&number),
            Role::Attached(wish) if wish.stdin => self.processes.get(&MAIN),
            // Whoever feeds nobody is heard always: it may bring the very start that a full process waits for.
            Role::Attached(_) | Role::New => None,
        };
        !connection.is_half_closed() && fed.is_none_or(Process::takes_input)
    }

    /// A client has gone.
    pub(super) fn leave(&mut self, number: u64) {
        self.end_input_of(number);
        self.connections.remove(&number);
    }

    /// A client will send no more input.
    fn end_input_of(&mut self, number: u64) {
        match self.connections.get(&number).map(|connection| connection.role) {
            Some(Role::Attached(wish)) if wish.stdin => self.end_input(MAIN),
            Some(Role::Exec) => self.end_input(number),
            _ => {}
        }
    }

    pub(super) fn tell(&mut self, report: &Report, to: impl Fn(&Connection) -> bool) {
        let mut gone = Vec::new();
        for (number, connection) in self.connections.iter_mut().filter(|(_, connection)| to(connection)) {
            if connection.report(report).is_err() {
                gone.push(*number);
            }
        }
        gone.into_iter().for_each(|number| self.leave(number));
    }

    pub(super) fn drop_stalled(&mut self) {
        let now = Instant::now();
        let mut stalled = Vec::new();
        for (number, connection) in self.connections.iter_mut().filter(|(_, connection)| connection.is_full()) {
            let since = *connection.stalled_since.get_or_insert(now);
            if now - since >= STALL_LIMIT {
                stalled.push(*number);
            }
        }
        for number in stalled {
            eprintln!("a client is dropped: it has taken nothing for {} s", STALL_LIMIT.as_secs());
            self.leave(number);
        }
    }

    pub(super) fn stall_timeout(&self) -> Option<Duration> {
        let since = self.connections.values().filter_map(|connection| connection.stalled_since).min()?;
        Some((since + STALL_LIMIT).saturating_duration_since(Instant::now()) + Duration::from_millis(1))
    }
}
