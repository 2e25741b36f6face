//! The host's network as it must be and as it is, brought together by one diff.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use model::{Change, State};
use netstate::{Fault, Kernel, Key, NetState, Object, Op, Plan, diff, netns::NetnsName};

/// How many settings are looked at in one go: what that costs does not grow with the networks.
const SETTINGS_AT_ONCE: usize = 64;

/// The host's network as it must be and as it is.
pub struct Host {
    kernel: Box<dyn Kernel>,
    desired: NetState,
    observed: NetState,
    sight: Sight,
    /// The last setting that was looked at by itself.
    last_setting: Option<Key>,
}

/// How far what was observed can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// It is so.
    Sure,
    /// An operation failed, and a failure may hide an effect: netlink(7) can lose an answer.
    Doubtful,
}

/// What was found to differ from what must be, when nobody had asked for a change.
#[derive(Debug)]
pub struct Drift {
    /// What was put right, in words.
    pub repairs: Vec<String>,
}

impl Host {
    /// The host as the kernel shows it now; nothing is changed.
    pub fn new(kernel: Box<dyn Kernel>) -> Self {
        Self {
            kernel,
            desired: NetState::default(),
            observed: NetState::default(),
            sight: Sight::Doubtful,
            last_setting: None,
        }
    }

    /// Makes the whole host as the state says: at start and after a surprise.
    pub fn converge(&mut self, state: &State) -> Result<Drift, Fault> {
        self.desired = plan::desired(state).net;
        self.repair()
    }

    /// Takes all that is ours off the host. The links of a namespace go a moment after it.
    pub fn leave(&mut self, state: &State) -> Result<(), Fault> {
        self.desired = plan::left(state);
        self.repair().map(|_| ())
    }

    /// Looks at the kernel again and puts right what differs.
    pub fn repair(&mut self) -> Result<Drift, Fault> {
        self.observe()?;
        let plan = diff::diff(&self.desired, &self.observed);
        let repairs = plan.ops.iter().map(ToString::to_string).collect();
        self.carry_out(&plan)?;
        Ok(Drift { repairs })
    }

    /// What differs now, without changing anything.
    pub fn compare(&mut self) -> Result<Plan, Fault> {
        self.observe()?;
        Ok(diff::diff(&self.desired, &self.observed))
    }

    /// Whether a setting of the host is not as it must be. The kernel tells nobody of most settings, so they are asked for in turns: some
    /// now, the next ones at the next call.
    pub fn is_setting_adrift(&mut self) -> Result<bool, Fault> {
        let from = self.last_setting.take().map_or(Bound::Unbounded, Bound::Excluded);
        let of_host = |key: &&Key| matches!(key, Key::Sysctl(setting) if setting.netns == NetnsName::Host);
        let keys = self.desired.objects.range((from, Bound::Unbounded)).map(|(key, _)| key);
        let turn: BTreeSet<Key> =
            keys.skip_while(|key| !of_host(key)).take_while(of_host).take(SETTINGS_AT_ONCE).cloned().collect();
        if turn.len() == SETTINGS_AT_ONCE {
            self.last_setting = turn.last().cloned();
        }
        let seen = self.kernel.settings(&turn)?;
        Ok(seen.objects.iter().any(|(key, value)| self.desired.objects.get(key) != Some(value)))
    }

    /// Brings about one change: only what the change's wishes are about is looked at, unless something failed before.
    pub fn change(&mut self, before: &State, after: &State, change: &Change) -> Result<(), Fault> {
        let mut touched = BTreeSet::new();
        for wish in plan::affected(before, after, change) {
            self.rewish(&plan::fragment(before, &wish), plan::fragment(after, &wish), &mut touched);
        }
        if self.sight == Sight::Doubtful {
            self.observe()?;
        }
        let plan = diff::diff_keys(&self.desired, &self.observed, touched);
        self.carry_out(&plan)
    }

    /// What must be.
    pub fn desired(&self) -> &NetState {
        &self.desired
    }

    /// What was last seen or made.
    pub fn observed(&self) -> &NetState {
        &self.observed
    }

    fn rewish(&mut self, old: &BTreeMap<Key, Object>, new: BTreeMap<Key, Object>, touched: &mut BTreeSet<Key>) {
        for key in old.keys() {
            self.desired.objects.remove(key);
            touched.insert(key.clone());
        }
        for (key, object) in new {
            touched.insert(key.clone());
            self.desired.objects.insert(key, object);
        }
    }

    fn observe(&mut self) -> Result<(), Fault> {
        let settings = self.desired.objects.keys().filter(|key| matches!(key, Key::Sysctl(_))).cloned().collect();
        self.kernel.expect(&self.desired);
        self.observed = self.kernel.observe(&settings)?;
        self.sight = Sight::Sure;
        Ok(())
    }

    fn carry_out(&mut self, plan: &Plan) -> Result<(), Fault> {
        if plan.ops.is_empty() {
            return Ok(());
        }
        let report = self.kernel.apply(plan);
        for op in plan.ops.iter().take(report.done) {
            self.note(op);
        }
        report.fault.map_or(Ok(()), |fault| {
            self.sight = Sight::Doubtful;
            Err(fault)
        })
    }

    /// The kernel has carried it out: it is now seen.
    fn note(&mut self, op: &Op) {
        let seen = &mut self.observed.objects;
        match op {
            Op::Create { key, object } | Op::Change { key, to: object, .. } => {
                seen.insert(key.clone(), object.clone());
            }
            Op::Delete { key, with, .. } => {
                seen.remove(key);
                for key in with {
                    seen.remove(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use netstate::sysctl::{Sysctl, SysctlKey};

    use super::*;

    #[test]
    fn settings_that_others_change_are_found_in_turns() {
        let setting = |n: usize| SysctlKey { netns: NetnsName::Host, path: format!("net/ipv4/setting{n:03}") };
        let value = |value: &str| Sysctl { value: value.to_owned() };
        let mut host = Host::new(Box::new(sim::Host::new()));
        for n in 0..100 {
            host.desired.put(setting(n), value("1"));
        }
        host.repair().unwrap();
        let mut adrift = || host.is_setting_adrift().unwrap();
        assert_eq!([adrift(), adrift(), adrift()], [false; 3]);
        let (key, from, to) = (setting(90).into(), value("1").into(), value("0").into());
        host.kernel.apply(&Plan { ops: vec![Op::Change { key, from, to }] });
        let found = [host.is_setting_adrift().unwrap(), host.is_setting_adrift().unwrap()];
        assert_eq!(found.iter().filter(|adrift| **adrift).count(), 1);
        assert_eq!(host.repair().unwrap().repairs, ["change sysctl host:net/ipv4/setting090"]);
        assert_eq!([host.is_setting_adrift().unwrap(), host.is_setting_adrift().unwrap()], [false; 2]);
    }
}
