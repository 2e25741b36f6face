//! What the kernel announces of nftables (group `NFNLGRP_NFTABLES` of nfnetlink): a message when a transaction is in force.

use std::{
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        AddressFamily, RecvFlags, SocketType, bind,
        netlink::{NETFILTER, SocketAddrNetlink},
        recv, socket, sockopt,
    },
};

use super::cluster::until;
use crate::run::Result;

/// `NFNLGRP_NFTABLES` is the seventh group.
const NFTABLES: u32 = 1 << 6;
/// What may wait to be heard, bytes: the kernel drops the rest.
const QUEUE: usize = 128 << 20;
/// How often it is looked whether to end, nanoseconds.
const TURN_NS: i64 = 20_000_000;

/// When each IPv4 address of some /8 was first named in an announcement, heard by a thread of its own.
pub struct Heard {
    at: Arc<Mutex<HashMap<[u8; 4], Instant>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Heard {
    /// Listens for addresses that begin with this byte.
    pub fn listen(first: u8) -> Result<Self> {
        let socket = open().map_err(|e| format!("nfnetlink: {e}"))?;
        let (at, over) = (Arc::<Mutex<HashMap<_, _>>>::default(), Arc::new(AtomicBool::new(false)));
        let (to, ended) = (Arc::clone(&at), Arc::clone(&over));
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            while !ended.load(Ordering::Relaxed) {
                let turn = Timespec { tv_sec: 0, tv_nsec: TURN_NS };
                if poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&turn))? == 0 {
                    continue;
                }
                let (_, size) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
                let now = Instant::now();
                let mut heard = to.lock().unwrap_or_else(PoisonError::into_inner);
                for four in buffer[..size].windows(4).filter(|four| four[0] == first) {
                    heard.entry([four[0], four[1], four[2], four[3]]).or_insert(now);
                }
            }
            Ok(())
        });
        Ok(Self { at, over, thread: Some(thread) })
    }

    /// When an address was first named.
    pub fn when(&self, address: [u8; 4]) -> Result<Instant> {
        until("an announcement of the kernel", || {
            if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                return Err("the kernel's announcements came too fast".to_owned());
            }
            Ok(self.at.lock().unwrap_or_else(PoisonError::into_inner).get(&address).copied())
        })
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // How it ended was told when it was asked.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn open() -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, Some(NETFILTER))?;
    sockopt::set_socket_recv_buffer_size_force(&socket, QUEUE)?;
    bind(&socket, &SocketAddrNetlink::new(0, NFTABLES))?;
    Ok(socket)
}

/// How long after one time another was; nothing if it was before.
pub fn after(heard: Instant, acknowledged: Instant) -> f64 {
    heard.saturating_duration_since(acknowledged).max(Duration::ZERO).as_secs_f64() * 1e3
}
