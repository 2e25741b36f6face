//! What is planned can be had: a fake kernel takes every step of every scenario, and of random ones, and then has what was desired.

use std::{collections::BTreeSet, fs};

use model::State;
use netstate::{Kernel, Key, NetState, diff};
use proptest::prelude::*;
use sim::Host;

use crate::{folders::folders, steps::Stage};

#[test]
fn every_scenario_comes_true() {
    for folder in folders() {
        let steps = fs::read_to_string(folder.join("steps")).unwrap();
        play(steps.lines()).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anything_comes_true(lines in crate::random::lines()) {
        let lines = lines.iter().map(String::as_str);
        play(["open pool=10.0.0.0/22,24"].into_iter().chain(lines)).map_err(TestCaseError::fail)?;
    }
}

/// Plays the steps, each with its effect on the host; at the end everything is taken off again.
fn play<'l>(lines: impl Iterator<Item = &'l str>) -> Result<(), String> {
    let (mut stage, mut host) = (Stage::default(), Host::new());
    for line in lines {
        stage.play(line);
        reach(&mut host, &stage.state).map_err(|why| format!("after {line}: {why}"))?;
    }
    reach(&mut host, &State::default()).map_err(|why| format!("leaving: {why}"))
}

fn reach(host: &mut Host, state: &State) -> Result<(), String> {
    let desired = plan::net(state);
    let settings: BTreeSet<Key> = desired.objects.keys().filter(|key| matches!(key, Key::Sysctl(_))).cloned().collect();
    let mut observe = || host.observe(&settings).map_err(|fault| fault.to_string());
    let plan = diff(&desired, &observe()?);
    let report = host.apply(&plan);
    if let Some(fault) = report.fault {
        return Err(format!("{fault} in\n{plan}"));
    }
    let observed = host.observe(&settings).map_err(|fault| fault.to_string())?;
    let left = diff(&desired, &observed);
    if left.ops.is_empty() && same_keys(&desired, &observed) {
        Ok(())
    } else {
        Err(format!("what is left to do is\n{left}"))
    }
}

fn same_keys(one: &NetState, other: &NetState) -> bool {
    one.objects.keys().eq(other.objects.keys())
}
