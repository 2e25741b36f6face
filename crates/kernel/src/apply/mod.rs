//! Carrying plans out, one file per kind. Nothing here decides: each operation says all that is to be done.
//!
//! Operations go to the kernel one by one, because it goes on after a message it refuses, and what was done must be a prefix of the
//! plan. A message costs a few microseconds. Together go: neighbours in one nftables table (one transaction), links being deleted (the
//! kernel waits once for all instead of 30 ms for each), and settings of one namespace (one visit).

mod addr;
mod conntrack;
mod link;
mod netns;
mod nft;
mod route;
pub(crate) mod sysctl;

use netstate::{Key, Object, Op, Plan, Report, netns::NetnsName};

use crate::{fault::Refusal, linux::Linux};

/// An operation that failed, by its place among those carried out together, and how many before it are in effect.
pub(crate) struct Failure {
    pub at: usize,
    pub in_effect: usize,
    pub refusal: Refusal,
}

impl Failure {
    /// Failure of the operation at this place, with those before it in effect.
    pub fn of(at: usize) -> impl FnOnce(Refusal) -> Self {
        move |refusal| Self { at, in_effect: at, refusal }
    }
}

/// Carries out the plan until the first failure.
pub(crate) fn apply(linux: &mut Linux, plan: &Plan) -> Report {
    let report = in_order(linux, plan);
    conntrack::forget_stale(linux, &plan.ops[..report.done]);
    report
}

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

/// The refusal of an operation whose object is not of its key's kind.
fn mismatch() -> Refusal {
    Refusal::new(libc::EINVAL).because("the object is not of the key's kind: a bug in linkspan's plan")
}

/// Whether a removal's refusal says that the thing is gone already, which is as good.
fn is_gone(refusal: &Refusal) -> bool {
    [libc::ENOENT, libc::ENODEV, libc::ESRCH, libc::EADDRNOTAVAIL].contains(&refusal.errno)
}
