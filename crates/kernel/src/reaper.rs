//! Deleting links of the host without waiting for the kernel's readers.
//!
//! The kernel takes a link off its lists, says so to everybody (RTM_DELLINK), and answers the request only when no processor looks at the
//! link any more: 15 to 40 ms later (RCU). Nothing can use the link since it was said, and its name and addresses are free. So a thread
//! sends the request and waits for the answer, and here the word is waited for, about one millisecond. There is nothing in between that a
//! crash could leave: the kernel finishes what it began.

use std::{collections::BTreeSet, io, thread::JoinHandle};

use libc::{RTM_DELLINK, RTM_SETLINK, RTNLGRP_LINK};
use netlink_packet_core::Parseable;
use netlink_packet_route::{AddressFamily, link::LinkMessage};

use crate::{
    fault::Refusal,
    netlink::{
        Message, Protocol, Request, Socket,
        route::{self, LinkFacts},
    },
};

/// Deletes links of the namespace it was opened in. It ends when the kernel is done with all of them.
#[derive(Debug)]
pub(crate) struct Reaper {
    socket: Socket,
    /// Threads whose requests the kernel has yet to answer. They are few: each held the kernel's lock of links before the next could.
    waiting: Vec<JoinHandle<()>>,
}

impl Reaper {
    /// For links of the calling thread's namespace.
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(Protocol::Route)?, waiting: Vec::new() })
    }

    /// What notifications of its deletions carry.
    pub fn portid(&self) -> u32 {
        self.socket.portid()
    }

    /// Sends the request, which deletes the links of these names, and returns when all are gone.
    pub fn delete(&mut self, request: Request, names: BTreeSet<String>) -> Result<(), Refusal> {
        self.waiting.retain(|thread| !thread.is_finished());
        // Answers to earlier requests.
        while self.socket.read(&mut |_| ())? {}
        self.socket.join(RTNLGRP_LINK)?;
        let last = self.until_gone(request, names);
        self.socket.leave(RTNLGRP_LINK)?;
        match last? {
            Some(index) => self.until_unlocked(index),
            None => Ok(()),
        }
    }

    /// The index of the last link that was said to be gone; none when the answer to the request came first.
    fn until_gone(&mut self, request: Request, mut names: BTreeSet<String>) -> Result<Option<u32>, Refusal> {
        let (sequence, thread) = self.socket.ask_elsewhere(request)?;
        self.waiting.push(thread);
        let mut last = None;
        self.socket.answer(sequence, |message| {
            if let Some(link) = deleted(message)
                && names.remove(&link.name)
                && names.is_empty()
            {
                last = Some(link.index);
            }
            last.is_some()
        })?;
        Ok(last)
    }

    /// Waits for the kernel's lock of links, after which sysfs and procfs have forgotten the link too.
    fn until_unlocked(&mut self, index: u32) -> Result<(), Refusal> {
        let mut nothing = LinkMessage::default();
        nothing.header.index = index;
        match self.socket.ask(route::request(RTM_SETLINK, 0, &nothing)) {
            Err(refusal) if refusal.errno != libc::ENODEV => Err(refusal),
            _ => Ok(()),
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        for thread in self.waiting.drain(..) {
            // It sends a message and has nothing to panic about.
            let _ = thread.join();
        }
    }
}

fn deleted(message: Message<'_>) -> Option<LinkFacts> {
    let link = LinkMessage::parse(message.body).ok().filter(|_| message.kind == RTM_DELLINK)?;
    // A bridge tells of its ports in its own words.
    (link.header.interface_family == AddressFamily::Unspec).then(|| LinkFacts::of(&link))
}
