//! Linux as a [`Kernel`]: each operation of a plan goes to the file of its kind. Nothing here decides.
//!
//! Operations go to the kernel one by one, because it goes on after a message it refuses, and what was done must be a prefix of the
//! plan. A message costs a few microseconds. Together go: neighbours in one nftables table (one transaction), links being deleted (the
//! kernel waits once for all its readers, not once for each), and settings of one namespace (one visit).

use std::collections::BTreeSet;

use netstate::{Fault, Kernel, Key, NetState, Object, Op, Plan, Report, netns::NetnsName};

use crate::{
    apply::{Failure, addr, conntrack, link, mismatch, netns, nft, route, sysctl},
    fault::Refusal,
    linux::Linux,
    observe,
};

impl Kernel for Linux {
    /// The kernel keeps a rule's short hash, not its value: `observe` gives a rule whose hash is among those of `desired`, or of the
    /// plans applied since, as that rule, and any other as a placeholder that equals none.
    fn expect(&mut self, desired: &NetState) {
        self.rules.replace(desired);
    }

    fn observe(&mut self, settings: &BTreeSet<Key>) -> Result<NetState, Fault> {
        let state = observe::observe(self, settings).map_err(|refusal| refusal.fault("observe the network"))?;
        self.own.know_links(&state);
        Ok(state)
    }

    fn settings(&mut self, settings: &BTreeSet<Key>) -> Result<NetState, Fault> {
        let mut state = NetState::default();
        let read = observe::sysctl::observe(self, settings, &mut state);
        read.map_err(|refusal| refusal.fault("read settings"))?;
        Ok(state)
    }

    fn apply(&mut self, plan: &Plan) -> Report {
        let own = self.own.clone();
        let mut applying = own.begin(plan);
        let report = in_order(self, plan);
        applying.reaped(self.reaper.deleted.drain(..));
        addr::announce(self, &plan.ops[..report.done]);
        conntrack::forget_stale(self, &plan.ops[..report.done]);
        report
    }
}

/// Carries out the plan until the first failure.
fn in_order(linux: &mut Linux, plan: &Plan) -> Report {
    let mut done = 0;
    while let Some(first) = plan.ops.get(done) {
        let rest = &plan.ops[done..];
        let together = rest.iter().take_while(|op| goes_with(first, op)).count().max(1);
        if let Err(failure) = carry_out(linux, &rest[..together]) {
            let fault = failure.refusal.fault(rest[failure.at].to_string());
            return Report { done: done + failure.in_effect, fault: Some(fault) };
        }
        done += together;
    }
    Report { done, fault: None }
}

fn goes_with(first: &Op, op: &Op) -> bool {
    match (first, op) {
        (Op::Delete { key: Key::Link(a), .. }, Op::Delete { key: Key::Link(b), .. }) => a.netns == b.netns,
        (Op::Delete { .. }, _) | (_, Op::Delete { .. }) if first.key().table().is_none() => false,
        _ => match (first.key(), op.key()) {
            (Key::Sysctl(a), Key::Sysctl(b)) => a.netns == b.netns,
            (a, b) => a.table().is_some() && a.table() == b.table(),
        },
    }
}

fn carry_out(linux: &mut Linux, ops: &[Op]) -> Result<(), Failure> {
    match (&ops[0], ops[0].key()) {
        (_, key) if key.table().is_some() => nft::apply(linux, ops),
        (Op::Delete { .. }, Key::Link(_)) => link::delete(linux, ops),
        (Op::Delete { .. }, Key::Sysctl(_)) => Ok(()),
        (_, Key::Sysctl(_)) => sysctl::write(linux, ops),
        (op, _) => one(linux, op).map_err(Failure::of(0)),
    }
}

fn one(linux: &mut Linux, op: &Op) -> Result<(), Refusal> {
    match op {
        Op::Create { key: Key::Netns(NetnsName::Named(name)), .. } => netns::create(linux, name),
        Op::Delete { key: Key::Netns(NetnsName::Named(name)), .. } => netns::delete(linux, name),
        Op::Create { key: Key::Link(key), object: Object::Link(link) } => link::create(linux, key, link),
        Op::Change { key: Key::Link(key), from: Object::Link(from), to: Object::Link(to) } => {
            link::change(linux, key, from, to)
        }
        Op::Create { key: Key::Addr(key), .. } => addr::create(linux, key),
        Op::Delete { key: Key::Addr(key), .. } => addr::delete(linux, key),
        Op::Create { key: Key::Route(key), object: Object::Route(route) } => route::create(linux, key, route),
        Op::Change { key: Key::Route(key), to: Object::Route(to), .. } => route::replace(linux, key, to),
        Op::Delete { key: Key::Route(key), .. } => route::delete(linux, key),
        // The host's namespace is only there to be named; namespaces and addresses have nothing that could change.
        Op::Create { key: Key::Netns(_), .. } | Op::Change { key: Key::Netns(_) | Key::Addr(_), .. } => Ok(()),
        Op::Delete { key: Key::Netns(NetnsName::Host), .. } => {
            Err(Refusal::new(libc::EBUSY).because("the host's namespace cannot be deleted"))
        }
        _ => Err(mismatch()),
    }
}
