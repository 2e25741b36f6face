//! What tells our own changes from others': the sockets that ask for them, and what goes by our doing. The monitor reads it, the applier
//! writes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use netstate::{
    Key, NetState, Object, Op, Plan,
    link::{Link, LinkKey, LinkKind},
    netns::NetnsName,
};

use crate::rule_news::RuleNews;

/// What tells our own changes from others'.
#[derive(Debug, Default)]
pub(crate) struct Own {
    deeds: Mutex<Deeds>,
    /// Of the host's namespace, as long as somebody watches.
    rule_news: Mutex<Weak<RuleNews>>,
}

#[derive(Debug, Default)]
pub(crate) struct Deeds {
    /// Of our sockets in the host's namespace.
    pub portids: BTreeSet<u32>,
    /// How many plans were begun.
    pub plans: u64,
    /// Links of the host that will go, or have gone, by our doing.
    pub going: BTreeSet<String>,
    /// Links of the host that were deleted, by index: the kernel tells late, when the name may be another's.
    pub reaped: BTreeSet<u32>,
    /// The host's ends of veths, by the namespace of the other: the kernel deletes them some time after the namespace.
    veths: BTreeMap<String, BTreeSet<String>>,
}

impl Own {
    /// Sockets in the host's namespace with these port ids are ours.
    pub fn know(&self, portids: impl IntoIterator<Item = u32>) {
        self.lock().portids.extend(portids);
    }

    /// These links are ours.
    pub fn know_links(&self, state: &NetState) {
        let mut deeds = self.lock();
        for (key, object) in &state.objects {
            if let (Key::Link(key), Object::Link(link)) = (key, object) {
                deeds.learn(key, link);
            }
        }
    }

    /// The host's rules are watched by these.
    pub fn watched_by(&self, news: &Arc<RuleNews>) {
        *self.rule_news.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(news);
    }

    /// By what the host's rules are watched.
    pub fn rule_news(&self) -> Option<Arc<RuleNews>> {
        self.rule_news.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// Whether a link of the host goes by our doing.
    pub fn is_going(&self, name: &str) -> bool {
        self.lock().going.contains(name)
    }

    /// This plan is being carried out until the guard is dropped.
    pub fn begin(&self, plan: &Plan) -> Applying<'_> {
        let mut deeds = self.lock();
        deeds.plans += 1;
        for op in &plan.ops {
            match op {
                Op::Create { key: Key::Link(key), object: Object::Link(link) } => deeds.learn(key, link),
                Op::Delete { key, with, .. } => std::iter::once(key).chain(with).for_each(|key| deeds.expect_gone(key)),
                _ => {}
            }
        }
        Applying { deeds }
    }

    /// What is known, with plans held up until the guard is dropped.
    pub fn lock(&self) -> MutexGuard<'_, Deeds> {
        // What a panicked thread left is still true.
        self.deeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the monitor from reading while a plan is being carried out.
pub(crate) struct Applying<'a> {
    deeds: MutexGuard<'a, Deeds>,
}

impl Applying<'_> {
    /// Links of these indexes were deleted.
    pub fn reaped(&mut self, indexes: impl IntoIterator<Item = u32>) {
        self.deeds.reaped.extend(indexes);
    }
}

impl Deeds {
    fn learn(&mut self, key: &LinkKey, link: &Link) {
        if key.netns == NetnsName::Host {
            self.going.remove(key.name.as_str());
            if let LinkKind::Veth { peer: LinkKey { netns: NetnsName::Named(netns), .. }, .. } = &link.kind {
                self.veths.entry(netns.clone()).or_default().insert(key.name.to_string());
            }
        }
    }

    fn expect_gone(&mut self, key: &Key) {
        match key {
            Key::Link(LinkKey { netns: NetnsName::Host, name }) => {
                self.going.insert(name.to_string());
            }
            Key::Netns(NetnsName::Named(netns)) => self.going.extend(self.veths.remove(netns).unwrap_or_default()),
            _ => {}
        }
    }
}
