//! Whatever a host has and whatever is wished: the plan leads there, from every place where it may have stopped.

mod wish;

use std::collections::BTreeSet;

use netstate::{
    Kernel, Key, NetState, Plan,
    addr::{Addr, AddrKey},
    diff, diff_keys,
    link::{Admin, Link, LinkKey, LinkKind, MacAddr},
    netns::NetnsName,
    route::{MAIN, Route, RouteKey},
};
use proptest::prelude::*;
use sim::{Effect, Faulty, Host, Recorder, When};

/// More tries than any run of failures will take.
const TRIES_MAX: usize = 200;

fn settings(wished: &NetState) -> BTreeSet<Key> {
    wished.objects.keys().filter(|key| matches!(key, Key::Sysctl(_))).cloned().collect()
}

fn observe(kernel: &mut impl Kernel, wished: &NetState) -> NetState {
    kernel.observe(&settings(wished)).expect("the fake can always be observed")
}

/// An uplink with an address and a default route, which are not ours.
fn foreign() -> NetState {
    let link = LinkKey { netns: NetnsName::Host, name: "uplink".parse().expect("short") };
    let mut state = NetState::default();
    state.put(
        link.clone(),
        Link {
            kind: LinkKind::Bridge,
            mac: MacAddr([6, 0, 0, 0, 0, 1]),
            mtu: 1500,
            admin: Admin::Up,
            port: None,
            alias: None,
        },
    );
    state.put(AddrKey { link: link.clone(), address: "192.0.2.2/24".parse().expect("an address") }, Addr {});
    let default = RouteKey {
        netns: NetnsName::Host,
        table: MAIN,
        destination: "0.0.0.0/0".parse().expect("a network"),
        metric: 0,
    };
    state.put(default, Route { device: link.name, via: Some([192, 0, 2, 1].into()) });
    state
}

/// A host brought to a state, in one go.
fn host_at(state: &NetState) -> Result<Host, TestCaseError> {
    let mut host = Host::with_foreign(foreign());
    reach(&mut host, state)?;
    Ok(host)
}

/// One plan must do, and then there is nothing left to plan.
fn reach(host: &mut Host, wished: &NetState) -> Result<(), TestCaseError> {
    let from = observe(host, wished);
    let plan = diff(wished, &from);
    let report = host.apply(&plan);
    let refused = report.fault.map(|fault| format!("{fault}\nwhere the host was at\n{from}and the plan was\n{plan}"));
    prop_assert!(refused.is_none(), "{}", refused.unwrap_or_default());
    is_at(host, wished, &plan)
}

fn is_at(host: &mut Host, wished: &NetState, plan: &Plan) -> Result<(), TestCaseError> {
    let reached = observe(host, wished);
    let left = diff(wished, &reached);
    prop_assert!(left.ops.is_empty(), "left to do:\n{left}after\n{plan}");
    prop_assert_eq!(reached.to_string(), wished.to_string());
    prop_assert_eq!(&reached, wished);
    prop_assert_eq!(host.foreign(), foreign());
    Ok(())
}

/// Stops after each step of the way from one state to the other, and goes on from there.
fn crash_everywhere(from: &NetState, to: &NetState) -> Result<(), TestCaseError> {
    let mut host = host_at(from)?;
    let plan = diff(to, &observe(&mut host, to));
    for step in plan.steps() {
        let mut crashed = host.clone();
        crashed.apply(&Plan { ops: plan.ops[..step.end].to_vec() });
        reach(&mut crashed, to)?;
    }
    Ok(())
}

fn retry(from: &NetState, to: &NetState, seed: u64, effect: Effect) -> Result<(), TestCaseError> {
    let mut kernel = Faulty::new(Recorder::new(host_at(from)?), When::Random { seed, per_mille: 300 }, effect);
    for _ in 0..TRIES_MAX {
        let plan = diff(to, &observe(&mut kernel, to));
        if kernel.apply(&plan).fault.is_none() {
            return is_at(&mut kernel.inner.inner, to, &plan);
        }
    }
    Err(TestCaseError::fail("it never succeeds"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_plan_leads_there(from in wish::state(), to in wish::state()) {
        let mut host = host_at(&from.0)?;
        reach(&mut host, &to.0)?;
        reach(&mut host, &NetState::default())?;
    }

    /// What differs is all that must be named.
    #[test]
    fn changed_keys_are_enough(from in wish::state(), to in wish::state()) {
        let mut host = host_at(&from.0)?;
        let seen = observe(&mut host, &to.0);
        let differs = |key: &&Key| seen.objects.get(key) != to.0.objects.get(key);
        let changed = seen.objects.keys().chain(to.0.objects.keys()).filter(differs).cloned();
        let plan = diff_keys(&to.0, &seen, changed);
        prop_assert_eq!(&plan, &diff(&to.0, &seen));
    }

    #[test]
    fn equal_states_need_nothing(state in wish::state()) {
        prop_assert_eq!(diff(&state.0, &state.0), Plan::default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_after_any_step_is_made_good(from in wish::state(), to in wish::state()) {
        crash_everywhere(&from.0, &to.0)?;
    }

    #[test]
    fn faults_are_outlasted(from in wish::state(), to in wish::state(), seed: u64, crash: bool) {
        retry(&from.0, &to.0, seed, if crash { Effect::CrashAfter } else { Effect::Refused })?;
    }

    /// Somebody deletes one of our objects.
    #[test]
    fn a_loss_is_made_good(state in wish::state(), which: prop::sample::Index) {
        let mut host = host_at(&state.0)?;
        let keys: Vec<Key> = observe(&mut host, &NetState::default()).objects.into_keys().collect();
        if !keys.is_empty() {
            host.lose(which.get(&keys));
            reach(&mut host, &state.0)?;
        }
    }
}
