//! The host's network as it must be and as it is, brought together by one diff.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use model::{Change, State};
use netstate::{Fault, Kernel, Key, NetState, Op, Plan, diff, netns::NetnsName};

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
        self.desired = plan::net(state);
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
        self.carry_out(plan)?;
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
        let wishes = plan::affected(before, after, change);
        let mut touched = Vec::new();
        // What one no longer wants another may want now.
        for key in wishes.iter().flat_map(|wish| plan::fragment(before, wish).into_keys()) {
            self.desired.objects.remove(&key);
            touched.push(key);
        }
        let wished: BTreeMap<_, _> = wishes.iter().flat_map(|wish| plan::fragment(after, wish)).collect();
        touched.extend(wished.keys().cloned());
        self.desired.put_all(wished);
        if self.sight == Sight::Doubtful {
            self.observe()?;
        }
        let plan = diff::diff_keys(&self.desired, &self.observed, touched);
        self.carry_out(plan)
    }

    /// What must be.
    pub fn desired(&self) -> &NetState {
        &self.desired
    }

    /// What was last seen or made.
    pub fn observed(&self) -> &NetState {
        &self.observed
    }

    fn observe(&mut self) -> Result<(), Fault> {
        let settings = self.desired.objects.keys().filter(|key| matches!(key, Key::Sysctl(_))).cloned().collect();
        self.kernel.expect(&self.desired);
        self.observed = self.kernel.observe(&settings)?;
        self.sight = Sight::Sure;
        Ok(())
    }

    fn carry_out(&mut self, plan: Plan) -> Result<(), Fault> {
        if plan.ops.is_empty() {
            return Ok(());
        }
        let report = self.kernel.apply(&plan);
        self.note(plan.ops.into_iter().take(report.done));
        report.fault.map_or(Ok(()), |fault| {
            self.sight = Sight::Doubtful;
            Err(fault)
        })
    }

    /// The kernel has carried these out: what they made is now seen.
    fn note(&mut self, done: impl Iterator<Item = Op>) {
        let seen = &mut self.observed;
        let mut made = Vec::new();
        for op in done {
            match op {
                Op::Create { key, object } | Op::Change { key, to: object, .. } => made.push((key, object)),
                Op::Delete { key, with, .. } => {
                    seen.put_all(std::mem::take(&mut made).into_iter().collect());
                    for key in with.iter().chain([&key]) {
                        seen.objects.remove(key);
                    }
                }
            }
        }
        seen.put_all(made.into_iter().collect());
    }
}

#[cfg(test)]
mod tests {
    use model::{
        Command, Facts, decide,
        host::Settings,
        port::Protocol,
        service::{Report, ServicePort, ServiceReport, ServiceWish},
    };
    use netstate::sysctl::{Sysctl, SysctlKey};

    use super::*;

    fn service(name: &str) -> ServiceWish {
        let port = ServicePort { name: String::new(), protocol: Protocol::Tcp, port: 80, node_port: None };
        ServiceWish {
            name: name.into(),
            cluster_addresses: vec!["10.96.0.1".parse().unwrap()],
            external_addresses: vec![],
            balancer_addresses: vec![],
            balancer_sources: vec![],
            ports: vec![port],
            affinity: Default::default(),
            internal: Default::default(),
            external: Default::default(),
            health_check_port: None,
            unready: Default::default(),
            external_name: None,
        }
    }

    #[test]
    fn what_one_gives_up_another_gets() {
        for names in [["shop/a", "shop/b"], ["shop/b", "shop/a"]] {
            let mut host = Host::new(Box::new(sim::Host::new()));
            let mut state = State::default();
            let pools = vec![model::address::Pool { base: "172.17.0.0/16".parse().unwrap(), size: 16 }];
            let put = |puts, removes| {
                let services = Report::Changes { puts, removes };
                Command::ReportServices(Box::new(ServiceReport { services, ..ServiceReport::default() }))
            };
            let commands = [
                Command::Open(Box::new(Settings { pools, ..Settings::default() })),
                Command::SetCluster(Box::default()),
                put(vec![service(names[0])], vec![]),
                put(vec![service(names[1])], vec![]),
                put(vec![], vec![names[0].into()]),
            ];
            for command in commands {
                let change = decide(&state, &Facts::default(), command).unwrap().change;
                let after = state.with(&change);
                host.change(&state, &after, &change).unwrap();
                state = after;
            }
            assert_eq!(*host.desired(), plan::net(&state), "{} holds it no more", names[0]);
        }
    }

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
