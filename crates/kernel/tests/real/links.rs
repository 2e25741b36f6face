//! Namespaces, links, addresses, routes and settings.

use kernel::Linux;
use netstate::NetState;

use crate::common::*;

#[test]
fn what_is_applied_is_observed_and_applying_twice_changes_nothing() {
    world(|run_dir| {
        let mut linux = Linux::open(run_dir).expect("to open");
        let mut state = NetState::default();
        bridge(&mut state);
        endpoint(&mut state, 1);
        endpoint(&mut state, 2);
        apply(&mut linux, &creation(&state));
        assert_observed(&mut linux, &state);
        apply(&mut linux, &creation(&state));
        assert_observed(&mut linux, &state);
        run("nsenter", &[&format!("--net={}", linux.netns_path("c1").display()), "ping", "-c1", "-W2", "172.17.0.3"]);
        run("nsenter", &[&format!("--net={}", linux.netns_path("c1").display()), "ping", "-c1", "-W2", "fd00::3"]);
        apply(&mut linux, &deletion(&state));
        assert_observed(&mut linux, &NetState::default());
        apply(&mut linux, &deletion(&state));
        assert_eq!(std::fs::read_dir(run_dir.join("netns")).expect("the directory").count(), 0);
    });
}
