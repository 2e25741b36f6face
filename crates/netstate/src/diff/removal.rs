//! What goes: by verdict, with its parent, or because Linux takes it along. And when: early to free something, or late.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Delete, Verdict, kin};
use crate::{
    addr::AddrKey,
    link::{Admin, LinkKey},
    netns::NetnsName,
    state::{Key, NetState, Object},
};

/// When something is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Before anything is made, because something that is made needs the room.
    Early,
    /// When everything new stands.
    Late,
}

/// All that goes. What of it is desired is made again.
pub(super) struct Removal<'a> {
    desired: &'a NetState,
    observed: &'a NetState,
    /// When each goes.
    pub(super) gone: BTreeMap<Key, Phase>,
    /// Those that go by a change of their link, without being removed.
    flushed: BTreeSet<Key>,
}

impl<'a> Removal<'a> {
    pub(super) fn of(desired: &'a NetState, observed: &'a NetState, verdicts: &BTreeMap<Key, Verdict>) -> Self {
        let mut removal = Self { desired, observed, gone: BTreeMap::new(), flushed: BTreeSet::new() };
        for (key, verdict) in verdicts {
            match verdict {
                Verdict::Recreate => removal.push(key.clone(), Phase::Early),
                Verdict::Delete => removal.push(key.clone(), Phase::Late),
                Verdict::Change(from) => removal.flush(key, from),
                Verdict::Create => {}
            }
        }
        removal.hasten_moved_addresses(verdicts);
        removal.hasten_shared_networks();
        removal.spread_last_addresses();
        removal
    }

    /// What goes early.
    pub(super) fn early(&self) -> impl Iterator<Item = &Key> {
        self.gone.iter().filter(|(_, phase)| **phase == Phase::Early).map(|(key, _)| key)
    }

    /// The removals that need an operation, each with what goes along.
    pub(super) fn deletes(&self, observed: &NetState) -> Vec<(Key, Delete)> {
        let some_cover =
            self.gone.keys().any(|key| matches!(key, Key::Netns(_) | Key::Link(_) | Key::Table(_) | Key::Set(_)));
        let mut deletes = Vec::new();
        let mut listed = BTreeSet::new();
        for (key, phase) in &self.gone {
            let Some(object) = observed.objects.get(key) else {
                continue;
            };
            let covers = |remover: &Key| self.gone.get(remover) == Some(phase);
            let covered = some_cover && kin::removers(key, object).iter().any(covers);
            if covered || self.flushed.contains(key) || matches!(key, Key::Sysctl(_)) {
                continue;
            }
            let mut with = BTreeSet::new();
            let mut open = vec![key.clone()];
            while let Some(parent) = open.pop() {
                for child in kin::children(observed, &parent) {
                    if child != *key && self.gone.get(&child) == Some(phase) && listed.insert(child.clone()) {
                        with.insert(child.clone());
                        open.push(child);
                    }
                }
            }
            deletes.push((key.clone(), Delete { phase: *phase, object: object.clone(), with }));
        }
        deletes
    }

    /// Removes a key and all that goes with it. What is desired although its parent goes late has been led elsewhere by then.
    fn push(&mut self, key: Key, phase: Phase) {
        let mut open = vec![(key, phase)];
        while let Some((key, phase)) = open.pop() {
            if self.gone.get(&key).is_some_and(|known| *known <= phase) {
                continue;
            }
            for child in kin::children(self.observed, &key) {
                if phase == Phase::Early || !self.desired.has(&child) {
                    open.push((child, phase));
                }
            }
            self.gone.insert(key, phase);
        }
    }

    /// A link that is set down loses its routes and its IPv6 addresses (`addrconf_ifdown`, `fib_disable_ip` in the kernel).
    fn flush(&mut self, key: &Key, from: &Object) {
        let (Key::Link(link), Object::Link(from)) = (key, from) else {
            return;
        };
        let goes_down = self.desired.link(link).is_some_and(|to| to.admin == Admin::Down) && from.admin == Admin::Up;
        if !goes_down {
            return;
        }
        let addrs = self.observed.addrs(link).filter(|key| key.address.addr().is_ipv6()).cloned().map(Key::Addr);
        let routes = self.observed.routes_by(link).map(|(key, _)| Key::Route(key.clone()));
        for key in addrs.chain(routes).filter(|key| self.desired.has(key)).collect::<Vec<_>>() {
            self.flushed.insert(key.clone());
            self.gone.insert(key, Phase::Early);
        }
    }

    /// An address that is made on another link of the namespace leaves the old one first.
    fn hasten_moved_addresses(&mut self, verdicts: &BTreeMap<Key, Verdict>) {
        let created: BTreeSet<(&NetnsName, IpAddr)> = verdicts
            .iter()
            .filter_map(|(key, verdict)| match (key, verdict) {
                (Key::Addr(addr), Verdict::Create) => Some((&addr.link.netns, addr.address.addr())),
                _ => None,
            })
            .collect();
        for addr in self.late_addrs() {
            if created.contains(&(&addr.link.netns, addr.address.addr())) {
                self.push(Key::Addr(addr), Phase::Early);
            }
        }
    }

    /// IPv4 addresses of one network on one link hang together: the first is primary, and when it goes the others go with it (unless
    /// `promote_secondaries` is set). So when one goes early, or others stay or come, all go early and those that stay are made again.
    fn hasten_shared_networks(&mut self) {
        for addr in self.gone_addrs().into_iter().filter(is_ipv4) {
            let shared = |state: &NetState| -> Vec<Key> {
                let in_network = |other: &&AddrKey| other.address.trunc() == addr.address.trunc();
                state.addrs(&addr.link).filter(in_network).cloned().map(Key::Addr).collect()
            };
            let goes_early = self.gone.get(&Key::Addr(addr.clone())) == Some(&Phase::Early);
            if !self.is_gone(&addr.link) && (goes_early || !shared(self.desired).is_empty()) {
                for key in shared(self.observed) {
                    self.push(key, Phase::Early);
                }
            }
        }
    }

    /// When a link's last IPv4 address goes, its IPv4 routes go too (`fib_inetaddr_event` in the kernel): it must go before they are made.
    fn spread_last_addresses(&mut self) {
        let links: BTreeSet<LinkKey> = self.gone_addrs().into_iter().filter(is_ipv4).map(|addr| addr.link).collect();
        for link in links.into_iter().filter(|link| !self.is_gone(link)).collect::<Vec<_>>() {
            let seen: Vec<Key> =
                self.observed.addrs(&link).filter(|addr| is_ipv4(addr)).cloned().map(Key::Addr).collect();
            let none_stays =
                seen.iter().all(|key| self.gone.contains_key(key)) && !self.desired.addrs(&link).any(is_ipv4);
            let none_for_a_while = seen.iter().all(|key| self.gone.get(key) == Some(&Phase::Early));
            let hindered = none_stays && !ipv4_routes(self.desired, &link).is_empty();
            if hindered || none_for_a_while {
                let lost = ipv4_routes(self.observed, &link).into_iter().filter(|key| self.desired.has(key));
                for key in seen.into_iter().chain(lost).collect::<Vec<_>>() {
                    self.push(key, Phase::Early);
                }
            }
        }
    }

    fn is_gone(&self, link: &LinkKey) -> bool {
        self.gone.get(&Key::Link(link.clone())) == Some(&Phase::Early)
    }

    fn gone_addrs(&self) -> Vec<AddrKey> {
        let addr = |key: &Key| match key {
            Key::Addr(addr) => Some(addr.clone()),
            _ => None,
        };
        self.gone.keys().filter_map(addr).collect()
    }

    fn late_addrs(&self) -> Vec<AddrKey> {
        self.gone_addrs()
            .into_iter()
            .filter(|addr| self.gone.get(&Key::Addr(addr.clone())) == Some(&Phase::Late))
            .collect()
    }
}

fn is_ipv4(addr: &AddrKey) -> bool {
    addr.address.addr().is_ipv4()
}

fn ipv4_routes(state: &NetState, link: &LinkKey) -> Vec<Key> {
    let routes = state.routes_by(link).map(|(key, _)| key);
    routes.filter(|key| key.destination.addr().is_ipv4()).cloned().map(Key::Route).collect()
}
