//! Noticing that somebody else changed what is ours in the host's namespace: a link deleted or taken down by hand, `nft flush
//! ruleset`, a firewall daemon that reloads. What containers do in their own namespaces is their affair and not watched.
//!
//! A notification carries the port id of the socket that asked for the change. Where the kernel gives none (changes that follow from
//! others), a link's is foreign if it tells of something new while no plan is being carried out.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use libc::{NLM_F_REPLACE, RTM_DELADDR, RTM_DELLINK, RTM_DELROUTE, RTM_NEWLINK, RTM_NEWROUTE};
use netlink_packet_core::Parseable;
use netlink_packet_route::{
    address::{AddressAttribute, AddressMessage, AddressProtocol},
    route::{RouteMessage, RouteProtocol},
};
use netstate::{Fault, netns::NetnsName, nft::table};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::{
    fault::Refusal,
    linux::Linux,
    mark::PROTOCOL,
    netlink::{
        Message, Protocol, Socket,
        link::{self, LinkFacts},
        netconf::{self, ALL_LINKS, RTM_NEWNETCONF, RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF},
        route,
    },
    nft, observe,
    own::{Deeds, Own},
    rule_news::RuleNews,
};

/// What a surprise is about. Observe again to know more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Surprise {
    /// A link of ours.
    Links,
    /// An address of ours.
    Addrs,
    /// A route of ours.
    Routes,
    /// A table of ours, or something in it.
    Rules,
    /// Whether the host forwards.
    Settings,
    /// Notifications were lost; it may be anything.
    Anything,
}

/// Notifications that follow each other this closely are one surprise.
const TOGETHER: Duration = Duration::from_millis(20);

/// The thread that watches; it ends when this is dropped.
#[derive(Debug)]
pub struct Monitor {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Linux {
    /// Watches the host's namespace, and calls `report` from a thread of its own when something else than this `Linux` has changed what
    /// is ours. Surprises within 20 ms come as one.
    pub fn watch(&self, report: impl FnMut(BTreeSet<Surprise>) + Send + 'static) -> Result<Monitor, Fault> {
        watch(self, report).map_err(|refusal| refusal.fault("watch the network for changes"))
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // Only a full counter refuses, and then the thread is woken already.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(linux: &Linux, report: impl FnMut(BTreeSet<Surprise>) + Send + 'static) -> Result<Monitor, Refusal> {
    let watcher = Watcher::new(linux)?;
    let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
    let until = stop.clone();
    let thread = thread::Builder::new().name("monitor".into()).spawn(move || watcher.run(&until, report))?;
    Ok(Monitor { stop, thread: Some(thread) })
}

struct Watcher {
    news: Socket,
    rule_news: Arc<RuleNews>,
    /// For asking; the others only listen.
    asking: Socket,
    own: Arc<Own>,
    /// The links of the host as last told.
    links: HashMap<u32, LinkFacts>,
    plans_seen: u64,
}

impl Watcher {
    fn new(linux: &Linux) -> Result<Self, Refusal> {
        // Of earlier plans nothing is told.
        let plans_seen = linux.own.lock().plans;
        let (news, rule_news, asking) = linux.inside(&NetnsName::Host, || {
            let news = Socket::open(Protocol::Route)?;
            for group in [
                libc::RTNLGRP_LINK,
                libc::RTNLGRP_IPV4_IFADDR,
                libc::RTNLGRP_IPV6_IFADDR,
                libc::RTNLGRP_IPV4_ROUTE,
                libc::RTNLGRP_IPV6_ROUTE,
                RTNLGRP_IPV4_NETCONF,
                RTNLGRP_IPV6_NETCONF,
            ] {
                news.join(group)?;
            }
            Ok::<_, Refusal>((news, Arc::new(RuleNews::open()?), Socket::open(Protocol::Route)?))
        })??;
        linux.own.watched_by(&rule_news);
        let own = linux.own.clone();
        let mut watcher = Self { news, rule_news, asking, own, links: HashMap::new(), plans_seen };
        watcher.learn_links()?;
        Ok(watcher)
    }

    fn run(mut self, stop: &OwnedFd, mut report: impl FnMut(BTreeSet<Surprise>)) {
        let mut pending = BTreeSet::new();
        let mut since = Instant::now();
        loop {
            let patience = (!pending.is_empty()).then(|| TOGETHER.saturating_sub(since.elapsed()));
            match self.wait(stop, patience) {
                Ok(Woken::Stop) | Err(_) => return,
                Ok(Woken::Events) => {
                    let new = self.drain();
                    if pending.is_empty() {
                        since = Instant::now();
                    }
                    pending.extend(new);
                }
                Ok(Woken::Timeout) => {}
            }
            if !pending.is_empty() && since.elapsed() >= TOGETHER {
                report(std::mem::take(&mut pending));
            }
        }
    }

    fn wait(&self, stop: &OwnedFd, patience: Option<Duration>) -> io::Result<Woken> {
        let [rules, missed] = self.rule_news.fds();
        let mut fds =
            [stop.as_fd(), self.news.as_fd(), rules, missed].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let patience = patience.map(|p| Timespec { tv_sec: 0, tv_nsec: i64::from(p.subsec_nanos()) });
        match poll(&mut fds, patience.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(Woken::Timeout),
            Ok(_) if !fds[0].revents().is_empty() => Ok(Woken::Stop),
            Ok(_) => Ok(Woken::Events),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Reads all that is there, between plans.
    fn drain(&mut self) -> BTreeSet<Surprise> {
        let mut surprises = BTreeSet::new();
        let own = self.own.clone();
        let mut deeds = own.lock();
        let mut judge = Judge {
            planned: deeds.plans != self.plans_seen,
            deeds: &mut deeds,
            links: &mut self.links,
            surprises: &mut surprises,
        };
        let route = read_all(&self.news, &mut |message| judge.route(message));
        let rules = self.rule_news.read(&mut |message| judge.rules(message));
        self.plans_seen = deeds.plans;
        drop(deeds);
        if rules.as_ref().is_ok_and(|missed| *missed) {
            surprises.insert(Surprise::Rules);
        }
        if route.is_err() || rules.is_err() {
            surprises.insert(Surprise::Anything);
            // What follows can be judged again if this succeeds, and is `Anything` again if not.
            let _ = self.learn_links();
        }
        surprises
    }

    fn learn_links(&mut self) -> Result<(), Refusal> {
        let links = route::links(&mut self.asking)?;
        self.links = links.into_iter().collect();
        Ok(())
    }
}

enum Woken {
    Stop,
    Events,
    Timeout,
}

fn read_all(socket: &Socket, each: &mut dyn FnMut(Message<'_>)) -> Result<(), Refusal> {
    while socket.read(each)? {}
    Ok(())
}

/// Says of each notification whether it is a surprise.
struct Judge<'a> {
    deeds: &'a mut Deeds,
    links: &'a mut HashMap<u32, LinkFacts>,
    surprises: &'a mut BTreeSet<Surprise>,
    /// Whether a plan was carried out since the last reading.
    planned: bool,
}

impl Judge<'_> {
    fn route(&mut self, message: Message<'_>) {
        match message.kind {
            RTM_NEWLINK | RTM_DELLINK => {
                if let Some(facts) = link::facts(message.body) {
                    self.link(message, facts);
                }
            }
            RTM_DELADDR => {
                if let Ok(address) = AddressMessage::parse(message.body)
                    && is_our_address(&address)
                    && self.is_settled_link(address.header.index)
                    && !self.is_own(message)
                {
                    self.surprises.insert(Surprise::Addrs);
                }
            }
            RTM_NEWROUTE | RTM_DELROUTE => {
                if let Ok(route) = RouteMessage::parse(message.body)
                    && self.takes_a_route(message, &route)
                    && !self.is_own(message)
                {
                    self.surprises.insert(Surprise::Routes);
                }
            }
            RTM_NEWNETCONF if stops_forwarding(message.body) => {
                self.surprises.insert(Surprise::Settings);
            }
            _ => {}
        }
    }

    fn rules(&mut self, message: Message<'_>) {
        const TABLE: u16 = 1; // the table's name, in messages about whatever is in it
        let is_nftables = i32::from(message.kind >> 8) == libc::NFNL_SUBSYS_NFTABLES;
        let is_change = message.kind != nft::message_type(libc::NFT_MSG_NEWGEN);
        if is_nftables
            && is_change
            && !self.deeds.portids.contains(&message.portid)
            && nft::read(message).text(TABLE).as_deref() == Some(table::NAME)
        {
            self.surprises.insert(Surprise::Rules);
        }
    }

    fn link(&mut self, message: Message<'_>, facts: LinkFacts) {
        let own = self.deeds.portids.contains(&message.portid);
        let surprise = if message.kind == RTM_DELLINK {
            let known = self.links.remove(&facts.index);
            let expected = self.deeds.reaped.remove(&facts.index) | self.deeds.going.remove(&facts.name);
            known.unwrap_or(facts).is_ours() && !expected && !own
        } else {
            let before = self.links.insert(facts.index, facts.clone());
            let new = before.as_ref() != Some(&facts);
            let ours = facts.is_ours() || before.is_some_and(|b| b.is_ours());
            // A link that goes is first taken down and off its bridge.
            let going = self.deeds.going.contains(&facts.name);
            ours && new && !going && !self.is_own(message)
        };
        if surprise {
            self.surprises.insert(Surprise::Links);
        }
    }

    /// Whether the change is ours by its socket, or, where it names none, because a plan was being carried out.
    fn is_own(&self, message: Message<'_>) -> bool {
        self.deeds.portids.contains(&message.portid) || (message.portid == 0 && self.planned)
    }

    fn is_settled_link(&self, index: u32) -> bool {
        self.links.get(&index).is_some_and(|link| link.is_ours() && !self.deeds.going.contains(&link.name))
    }

    /// Whether the notification says that a route of ours is gone: deleted, or replaced by one that need not be ours.
    fn takes_a_route(&self, message: Message<'_>, route: &RouteMessage) -> bool {
        let replaces = message.kind == RTM_NEWROUTE && i32::from(message.flags) & NLM_F_REPLACE != 0;
        let deletes = message.kind == RTM_DELROUTE && route.header.protocol == RouteProtocol::Other(PROTOCOL);
        let device = observe::route::facts(route).and_then(|facts| facts.device);
        replaces || (deletes && device.is_some_and(|index| self.is_settled_link(index)))
    }
}

/// A kernel before 5.18 keeps no protocol number with addresses: there all on our links count.
fn is_our_address(address: &AddressMessage) -> bool {
    let protocol =
        address.attributes.iter().find_map(|a| if let AddressAttribute::Protocol(p) = a { Some(*p) } else { None });
    protocol.is_none_or(|p| p == AddressProtocol::Other(PROTOCOL))
}

/// Whether it says that the host forwards no more. Linkspan never wants that, so who asked makes no difference.
fn stops_forwarding(body: &[u8]) -> bool {
    netconf::facts(body).is_some_and(|facts| facts.index == ALL_LINKS && facts.forwarding == Some(false))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        path::Path,
        process::{Command, Stdio},
    };

    use rustix::net::sockopt::set_socket_recv_buffer_size;

    use super::*;
    use crate::socket::in_private_namespaces;

    fn ip(lines: &str) {
        let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        ip.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(ip.wait().unwrap().success());
    }

    #[test]
    fn lost_notifications_are_a_reason_to_look() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return;
        }
        in_private_namespaces(|| {
            let linux = Linux::open(Path::new("/nonexistent")).unwrap();
            let mut watcher = Watcher::new(&linux).unwrap();
            set_socket_recv_buffer_size(&watcher.news, 1).unwrap();
            assert_eq!(watcher.drain(), BTreeSet::new());
            let burst: String = (0..20).map(|n| format!("link add b{n} group 27763 type bridge\n")).collect();
            ip(&burst);
            assert_eq!(watcher.drain(), BTreeSet::from([Surprise::Anything]));
            // From then on it knows again what is there.
            set_socket_recv_buffer_size(&watcher.news, 1 << 20).unwrap();
            assert_eq!(watcher.drain(), BTreeSet::new());
            ip("link del b7\n");
            assert_eq!(watcher.drain(), BTreeSet::from([Surprise::Links]));
        })
        .unwrap();
    }
}
