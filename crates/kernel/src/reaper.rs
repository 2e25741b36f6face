//! Deleting links of the host without waiting for the kernel's readers.
//!
//! The kernel takes a link off its lists, says so to everybody, and answers the request only when no processor looks at the link any more:
//! 15 to 40 ms later (RCU). Nothing can use the link since it was said, and its name and addresses are free. So a thread sends the request
//! and waits for the answer, and here the word is waited for, about one millisecond. There is nothing in between that a crash could leave:
//! the kernel finishes what it began.

use std::{collections::BTreeMap, io, thread::JoinHandle};

use libc::{AF_INET, RTM_DELLINK, RTM_SETLINK, RTNLGRP_LINK};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};

use crate::{
    fault::Refusal,
    mark::DOOMED_GROUP,
    netlink::{
        Message, Protocol, Request, Socket,
        link::{self, LinkFacts},
        netconf::{self, RTM_DELNETCONF, RTNLGRP_IPV4_NETCONF},
        route,
    },
};

/// Deletes links of the namespace it was opened in. It ends when the kernel is done with all of them.
#[derive(Debug)]
pub(crate) struct Reaper {
    socket: Socket,
    /// Threads whose requests the kernel has yet to answer. They are few: each held the kernel's lock of links before the next could.
    waiting: Vec<JoinHandle<()>>,
    /// The indexes of the links it was to delete.
    pub deleted: Vec<u32>,
}

/// What says that a link is gone.
#[derive(Clone, Copy, PartialEq)]
enum Word {
    /// RTM_DELLINK.
    Link,
    /// RTM_DELNETCONF: a bridge waits for readers of its own before RTM_DELLINK (`br_multicast_dev_del`).
    Settings,
}

impl Reaper {
    /// For links of the calling thread's namespace.
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(Protocol::Route)?, waiting: Vec::new(), deleted: Vec::new() })
    }

    /// What notifications of its requests carry.
    pub fn portid(&self) -> u32 {
        self.socket.portid()
    }

    /// Deletes these links, all in one message, and returns when they are gone.
    pub fn delete(&mut self, links: &[LinkFacts]) -> Result<(), Refusal> {
        let request = match links {
            [] => return Ok(()),
            [link] => route::request(RTM_DELLINK, 0, &message(link.index, None)),
            _ => self.doom(links)?,
        };
        self.deleted.extend(links.iter().map(|link| link.index));
        self.waiting.retain(|thread| !thread.is_finished());
        // Answers to earlier requests.
        while self.socket.read(&mut |_| ())? {}
        let groups = [RTNLGRP_LINK, RTNLGRP_IPV4_NETCONF];
        groups.iter().try_for_each(|group| self.socket.join(*group))?;
        let gone = self.until_gone(request, links);
        groups.iter().try_for_each(|group| self.socket.leave(*group))?;
        match gone? {
            Some((index, Word::Link)) => self.until_unlocked(index),
            _ => Ok(()),
        }
    }

    /// Puts the links into one group, whose deletion is given.
    fn doom(&mut self, links: &[LinkFacts]) -> Result<Request, Refusal> {
        for link in links {
            match self.socket.ask(route::request(RTM_SETLINK, 0, &message(link.index, Some(DOOMED_GROUP)))) {
                Err(refusal) if refusal.errno != libc::ENODEV => return Err(refusal),
                _ => {}
            }
        }
        Ok(route::request(RTM_DELLINK, 0, &message(0, Some(DOOMED_GROUP))))
    }

    /// What was said of the last link; none when the answer to the request came first.
    fn until_gone(&mut self, request: Request, links: &[LinkFacts]) -> Result<Option<(u32, Word)>, Refusal> {
        let word = |link: &LinkFacts| if link.kind.as_deref() == Some("bridge") { Word::Settings } else { Word::Link };
        let mut left: BTreeMap<u32, Word> = links.iter().map(|link| (link.index, word(link))).collect();
        let (number, thread) = self.socket.ask_elsewhere(request)?;
        self.waiting.push(thread);
        let mut last = None;
        self.socket.answer(number, |message| {
            if let Some((index, said)) = said(message)
                // A link without IPv4 has no settings to tell of.
                && left.get(&index).is_some_and(|word| *word == said || said == Word::Link)
            {
                left.remove(&index);
                last = left.is_empty().then_some((index, said));
            }
            last.is_some()
        })?;
        Ok(last)
    }

    /// Waits for the kernel's lock of links, after which sysfs and procfs have forgotten the link too.
    fn until_unlocked(&mut self, index: u32) -> Result<(), Refusal> {
        match self.socket.ask(route::request(RTM_SETLINK, 0, &message(index, None))) {
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

fn message(index: u32, group: Option<u32>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.extend(group.map(LinkAttribute::Group));
    message
}

fn said(message: Message<'_>) -> Option<(u32, Word)> {
    match message.kind {
        RTM_DELLINK => Some((link::index(message.body)?, Word::Link)),
        RTM_DELNETCONF => {
            let facts = netconf::facts(message.body)?;
            Some((u32::try_from(facts.index).ok()?, Word::Settings)).filter(|_| i32::from(facts.family) == AF_INET)
        }
        _ => None,
    }
}
