//! What the clock and silent nodes do to pods: all controllers together in a world without IO.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{Direction, World};

const NODE: &str = "/core/nodes//one";
const LEASE: &str = "/coordination.k8s.io/leases/kube-node-lease/one";

/// A node that renews its lease, with a pod of an account that has the usual tolerations and one that bears everything.
fn world() -> World {
    let mut world = World::new();
    let now = world.now.to_string();
    world.edit(NODE, |node| node["spec"] = json!({}));
    world.edit(NODE, |node| node["status"]["conditions"][0]["lastHeartbeatTime"] = now.into());
    world.create(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "one", "namespace": "kube-node-lease" }, "spec": {},
    }));
    for (name, seconds) in [("usual", json!(300)), ("steadfast", Value::Null)] {
        let bears = |key: &str| {
            let mut toleration = json!({ "key": key, "operator": "Exists", "effect": "NoExecute" });
            if !seconds.is_null() {
                toleration["tolerationSeconds"] = seconds.clone();
            }
            toleration
        };
        let tolerations = [bears("node.kubernetes.io/not-ready"), bears("node.kubernetes.io/unreachable")];
        world.create(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
            "spec": { "nodeName": "one", "tolerations": tolerations, "containers": [{ "name": "main", "image": "bad" }] },
        }));
    }
    renew(&mut world);
    world.clock_is_set(Duration::ZERO, Direction::Forward);
    wait(&mut world, 1);
    world
}

/// So many seconds pass.
fn wait(world: &mut World, seconds: u64) {
    let time = Duration::from_secs(seconds);
    let end = world.now + time;
    world.settle(time);
    world.now = end;
}

fn renew(world: &mut World) {
    let now = format!("{:.6}", world.now);
    world.edit(LEASE, |lease| lease["spec"]["renewTime"] = now.into());
}

/// The node goes on for so long: it renews its lease as kubelets do.
fn lives(world: &mut World, seconds: u64) {
    for _ in 0..seconds / 10 {
        renew(world);
        wait(world, 10);
    }
    renew(world);
    wait(world, 0);
}

/// `True`, `False`, or `Unknown`, and the pods that are there and are not going.
fn check(world: &World, ready: &str, pods: &[&str], after: &str) {
    let conditions = world.get(NODE)["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|condition| condition["type"] == "Ready").unwrap();
    assert_eq!(found["status"], ready, "{after}");
    let there = world.list("/core/pods/").filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let mut names: Vec<_> = there.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    names.sort_unstable();
    assert_eq!(names, pods, "{after}");
    let tainted = world.get(NODE)["spec"]["taints"].as_array().is_some_and(|taints| !taints.is_empty());
    assert_eq!(tainted, ready != "True", "{after}");
}

const BOTH: &[&str] = &["steadfast", "usual"];

#[test]
fn a_silent_node_keeps_its_pods_for_five_minutes_and_those_that_bear_it_for_ever() {
    let mut world = world();
    lives(&mut world, 100);
    check(&world, "True", BOTH, "a hundred seconds of life");
    wait(&mut world, 45);
    check(&world, "True", BOTH, "45 s of silence");
    wait(&mut world, 10);
    check(&world, "Unknown", BOTH, "55 s of silence");
    wait(&mut world, 280);
    check(&world, "Unknown", BOTH, "nearly five minutes more");
    wait(&mut world, 30);
    check(&world, "Unknown", &["steadfast"], "more than five minutes");
    wait(&mut world, 100_000);
    check(&world, "Unknown", &["steadfast"], "a day");
    is_back(&mut world);
    check(&world, "True", &["steadfast"], "it is back");
}

#[test]
fn a_node_that_is_back_in_time_keeps_all() {
    let mut world = world();
    wait(&mut world, 300);
    check(&world, "Unknown", BOTH, "five minutes of silence, one of which was borne");
    is_back(&mut world);
    check(&world, "True", BOTH, "it is back");
    wait(&mut world, 40);
    lives(&mut world, 1000);
    check(&world, "True", BOTH, "and stays");
}

/// The node says that it is well.
fn is_back(world: &mut World) {
    let now = world.now.to_string();
    world.edit(NODE, |node| {
        for condition in node["status"]["conditions"].as_array_mut().unwrap() {
            condition["status"] = if condition["type"] == "Ready" { "True" } else { "False" }.into();
            condition["lastHeartbeatTime"] = now.clone().into();
        }
    });
    renew(world);
    wait(world, 1);
}

#[test]
fn a_clock_that_jumps_makes_no_node_silent_and_no_patience_shorter() {
    for direction in [Direction::Forward, Direction::Backward] {
        for jump in [60, 3600, 86_400 * 365] {
            let what = format!("{direction:?} by {jump} s");
            let mut world = world();
            lives(&mut world, 100);
            world.clock_is_set(Duration::from_secs(jump), direction);
            wait(&mut world, 9);
            check(&world, "True", BOTH, &what);
            lives(&mut world, 200);
            check(&world, "True", BOTH, &what);
            // It is missed by the new clock as it was by the old.
            wait(&mut world, 60);
            check(&world, "Unknown", BOTH, &what);
            // And a jump while it is missed sends nobody away early, nor never.
            world.clock_is_set(Duration::from_secs(jump), direction);
            wait(&mut world, 200);
            check(&world, "Unknown", BOTH, &what);
            wait(&mut world, 150);
            check(&world, "Unknown", &["steadfast"], &what);
        }
    }
}
