//! News of changes of nftables, and going without them while much is changed at once. As long as anybody listens, the kernel makes a
//! message of some 4 KiB for each element that comes or goes: for tens of thousands that takes as long as the change itself, and is more
//! than the listener has room for. Whether somebody else changed rules meanwhile, their generation says: each transaction makes it one more.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libc::{NFT_MSG_GETGEN, NLM_F_ACK};
use rustix::event::{EventfdFlags, eventfd};

use crate::{
    fault::Refusal,
    netlink::{Message, Protocol, Socket},
    nft,
};

const GROUP: u32 = libc::NFNLGRP_NFTABLES as u32;
const GENERATION: u16 = 1; // NFTA_GEN_ID

/// A socket that is told of all changes of nftables in its namespace.
#[derive(Debug)]
pub(crate) struct RuleNews {
    socket: Socket,
    /// Readable once there may have been a change that was not told.
    missed: OwnedFd,
}

impl RuleNews {
    /// Of the calling thread's namespace, from now on.
    pub fn open() -> Result<Self, Refusal> {
        let socket = Socket::open(Protocol::Netfilter)?;
        socket.join(GROUP)?;
        Ok(Self { socket, missed: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
    }

    /// Each is readable when there is something to read.
    pub fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.socket.as_fd(), self.missed.as_fd()]
    }

    /// Gives what was told to `each`; whether there may have been something else.
    pub fn read(&self, each: &mut dyn FnMut(Message<'_>)) -> Result<bool, Refusal> {
        let missed = rustix::io::read(&self.missed, &mut [0; 8]).is_ok();
        if missed {
            self.socket.join(GROUP)?;
        }
        while self.socket.read(each)? {}
        Ok(missed)
    }

    /// Runs `commit`, which makes one transaction if it succeeds and none if not, untold. `asking` is a socket in the same namespace.
    pub fn without<E>(&self, asking: &mut Socket, commit: impl FnOnce(&mut Socket) -> Result<(), E>) -> Result<(), E> {
        let Ok(before) = self.leave(asking) else { return commit(asking) };
        let result = commit(asking);
        let expected = before.wrapping_add(u32::from(result.is_ok()));
        // One that is being made now has its generation already, or finds us listening.
        let told = self.socket.join(GROUP).is_ok();
        if !told || generation(asking).ok() != Some(expected) {
            // Only a full counter refuses, and then it is readable.
            let _ = rustix::io::write(&self.missed, &1_u64.to_ne_bytes());
        }
        result
    }

    /// From the generation that is given on nothing is told.
    fn leave(&self, asking: &mut Socket) -> Result<u32, Refusal> {
        let generation = generation(asking)?;
        // One that is being made now may have that generation and not be told yet. Transactions go one after the other, an empty one too.
        let [begin, end] = nft::batch();
        asking.tell(&[&begin, &end])?;
        self.socket.leave(GROUP)?;
        Ok(generation)
    }
}

/// How often the rules of the socket's namespace were changed.
fn generation(socket: &mut Socket) -> Result<u32, Refusal> {
    let ask = nft::request(NFT_MSG_GETGEN, NLM_F_ACK, nft::header(0, 0));
    let mut found = None;
    let refusals = socket.exchange(&[&ask], |message| found = nft::read(message).be32(GENERATION))?;
    match refusals.into_iter().next() {
        Some((_, refusal)) => Err(refusal),
        None => {
            found.ok_or_else(|| Refusal::new(libc::EIO).because("the kernel does not tell the generation of its rules"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::socket::in_private_namespaces;

    fn nft(words: &str) {
        assert!(Command::new("nft").arg(words).status().expect("nft").success(), "nft {words}");
    }

    /// The commands make a transaction each while nobody listens; whether there is said to have been one besides ours.
    fn missed(news: &RuleNews, commands: &[&str], ours: Result<(), ()>) -> bool {
        let mut asking = Socket::open(Protocol::Netfilter).expect("a socket");
        let result = news.without(&mut asking, |_| {
            commands.iter().for_each(|command| nft(command));
            ours
        });
        assert_eq!(result, ours);
        let mut told = 0;
        let missed = news.read(&mut |_| told += 1).expect("to read");
        assert_eq!(told, 0, "{commands:?} was not told");
        nft("add table inet after");
        nft("delete table inet after");
        news.read(&mut |_| told += 1).expect("to read");
        assert_ne!(told, 0, "after {commands:?} all is told again");
        missed
    }

    #[test]
    fn what_others_change_meanwhile_is_known() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return;
        }
        in_private_namespaces(|| {
            let news = RuleNews::open().expect("to listen");
            let cases = [
                (&["add table inet a"][..], Ok(()), false),
                (&[], Err(()), false),
                (&["add table inet b", "add table inet c"], Ok(()), true),
                (&["flush ruleset"], Err(()), true),
            ];
            for (commands, ours, expected) in cases {
                assert_eq!(missed(&news, commands, ours), expected, "{commands:?}, ours {ours:?}");
            }
        })
        .expect("namespaces");
    }

    /// Transactions follow each other without pause: each is told, or said to have been missed.
    #[test]
    fn none_falls_between() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return;
        }
        in_private_namespaces(|| {
            let news = RuleNews::open().expect("to listen");
            let mut asking = Socket::open(Protocol::Netfilter).expect("a socket");
            for _ in 0..30 {
                let mut told = 0;
                let mut missed = false;
                let mut other = Command::new("nft").arg("add table inet t").spawn().expect("nft");
                while other.try_wait().expect("a child").is_none() {
                    news.without(&mut asking, |_| Err(())).expect_err("nothing of ours");
                    missed |= news.read(&mut |_| told += 1).expect("to read");
                }
                missed |= news.read(&mut |_| told += 1).expect("to read");
                assert!(missed || told > 0);
                nft("delete table inet t");
                news.read(&mut |_| ()).expect("to read");
            }
        })
        .expect("namespaces");
    }
}
