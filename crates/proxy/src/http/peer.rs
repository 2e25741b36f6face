//! A client's connection as its requests and its clock see it.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use hyper::header::HeaderValue;
use tokio::sync::OwnedSemaphorePermit;

use super::{Limits, header::Origin, proxy_protocol::Addresses};

/// A client that was accepted.
#[derive(Debug)]
pub(super) struct Arrived {
    pub from: SocketAddr,
    pub tls: bool,
    pub place: OwnedSemaphorePermit,
}

/// Who is at the other end, and what of theirs is under way. Tasks of one thread share it; the atomics are for the compiler.
#[derive(Debug)]
pub(super) struct Peer {
    pub addresses: Addresses,
    pub origin: Origin,
    pub http2: bool,
    /// Given back when the last who knows the peer is gone: its connection, or the tunnel that became of it.
    _place: OwnedSemaphorePermit,
    born: Instant,
    /// Requests under way.
    busy: AtomicU32,
    /// When the state between requests began, in milliseconds after birth.
    since: AtomicU64,
    /// Some of a request's header has come.
    header: AtomicBool,
    /// Since when the client takes nothing of what is written; 0 when it does.
    blocked: AtomicU64,
    expired: AtomicBool,
    /// It is a tunnel now, of which each direction ends by itself.
    tunnel: AtomicBool,
}

/// Why a connection has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// No request for long.
    Idle,
    /// A header does not come to its end.
    Header,
    /// The client does not take what it asked for.
    Blocked,
}

impl Peer {
    pub fn new(addresses: Addresses, http2: bool, arrived: Arrived) -> Self {
        let ip = addresses.source.ip().to_canonical().to_string();
        let origin = Origin {
            ip: HeaderValue::try_from(ip).unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            port: addresses.destination.port().into(),
            scheme: if arrived.tls { "https" } else { "http" },
        };
        Self {
            addresses,
            origin,
            http2,
            _place: arrived.place,
            born: Instant::now(),
            busy: AtomicU32::new(0),
            since: AtomicU64::new(0),
            header: AtomicBool::new(false),
            blocked: AtomicU64::new(0),
            expired: AtomicBool::new(false),
            tunnel: AtomicBool::new(false),
        }
    }

    /// The connection is not HTTP any more.
    pub fn become_tunnel(&self) {
        self.tunnel.store(true, Relaxed);
    }

    pub fn is_tunnel(&self) -> bool {
        self.tunnel.load(Relaxed)
    }

    pub fn begin(&self) {
        self.busy.fetch_add(1, Relaxed);
    }

    pub fn end(&self) {
        self.header.store(false, Relaxed);
        self.since.store(self.now(), Relaxed);
        self.busy.fetch_sub(1, Relaxed);
    }

    /// Octets came.
    pub fn heard(&self) {
        if self.busy.load(Relaxed) == 0 && !self.header.swap(true, Relaxed) {
            self.since.store(self.now(), Relaxed);
        }
    }

    /// What was to be written was taken, or not.
    pub fn took(&self, taken: bool) {
        if taken {
            self.blocked.store(0, Relaxed);
        } else if self.blocked.load(Relaxed) == 0 {
            self.blocked.store(self.now(), Relaxed);
        }
    }

    pub fn overdue(&self, limits: &Limits) -> Option<Overdue> {
        let now = self.now();
        let past = |since: u64, patience: Duration| u128::from(now.saturating_sub(since)) > patience.as_millis();
        let blocked = self.blocked.load(Relaxed);
        if blocked != 0 && past(blocked, limits.body_patience) {
            return Some(Overdue::Blocked);
        }
        if self.busy.load(Relaxed) > 0 {
            return None;
        }
        let since = self.since.load(Relaxed);
        if self.header.load(Relaxed) && !self.http2 {
            return past(since, limits.header_patience).then_some(Overdue::Header);
        }
        past(since, limits.idle_patience).then_some(Overdue::Idle)
    }

    /// Makes the next read answer status 408 and fail.
    pub fn expire(&self) {
        self.expired.store(true, Relaxed);
    }

    pub fn is_expired(&self) -> bool {
        self.expired.load(Relaxed)
    }

    /// Never 0, which means that something has not begun.
    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }
}
