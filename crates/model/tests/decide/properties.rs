//! What holds after any commands: nobody shares what must be had alone, and what nobody needs is free.

use std::collections::BTreeSet;

use model::{
    Command, State,
    address::Family,
    command::{AnonymousVolumes, Force},
    container::Phase,
    sandbox::{Namespace, Up},
};
use proptest::prelude::*;

use crate::steps::Stage;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_commands_keep_the_state_sound(lines in crate::random::lines()) {
        let mut stage = Stage::default();
        stage.play("facts ephemeral=40000-40063");
        stage.play("open pool=10.0.0.0/22,24 pool=10.1.0.0/27,29");
        for line in lines {
            stage.play(&line);
            check(&stage.state).map_err(|why| TestCaseError::fail(format!("after {line}: {why}")))?;
        }
        while let Some(container) = stage.state.containers.keys().next().cloned() {
            let (force, volumes) = (Force::Kill, AnonymousVolumes::Remove);
            stage.submit(Command::RemoveContainer { container, force, volumes }).unwrap();
        }
        prop_assert!(stage.state.sandboxes.is_empty() && stage.state.endpoints.is_empty());
        prop_assert!(stage.state.on_network.is_empty() && stage.state.in_sandbox.is_empty());
    }
}

fn check(state: &State) -> Result<(), String> {
    indexes(state)?;
    leases(state)?;
    sandboxes(state)?;
    ports(state)?;
    subnets(state)
}

fn indexes(state: &State) -> Result<(), String> {
    for (name, id) in &state.container_names {
        ensure(state.containers.get(id).is_some_and(|container| container.name == *name), || {
            format!("name {name} is stale")
        })?;
    }
    ensure(state.container_names.len() == state.containers.len(), || "a container has no name".to_owned())?;
    ensure(state.residents.len() == state.containers.len(), || "a container is not at home".to_owned())?;
    ensure(state.on_network.len() == state.endpoints.len(), || "an endpoint is on no network".to_owned())?;
    ensure(state.in_sandbox.len() == state.endpoints.len(), || "an endpoint is in no sandbox".to_owned())?;
    let homeless = state.containers.values().find(|container| !state.sandboxes.contains_key(&container.sandbox));
    ensure(homeless.is_none(), || "a container has no sandbox".to_owned())
}

fn leases(state: &State) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let mut once = |what: String| ensure(seen.insert(what.clone()), || format!("{what} is had twice"));
    for endpoint in state.endpoints.values() {
        let Some(lease) = &endpoint.lease else { continue };
        let network = state.networks.get(&endpoint.network).ok_or("a lease without its network")?;
        let bridge = network.bridge().ok_or("a lease on no bridge")?;
        once(format!("host link {}", lease.host_ifname))?;
        once(format!("link {} of {:?}", lease.ifname, endpoint.sandbox))?;
        once(format!("{} on {}", lease.mac, network.name))?;
        once(format!("{} on {}", lease.host_mac, network.name))?;
        for family in Family::BOTH {
            let (address, subnet) = (lease.address(family), bridge.subnet(family));
            ensure(address.is_some() == subnet.is_some(), || format!("{} has the wrong families", network.name))?;
            let (Some(address), Some(subnet)) = (address, subnet) else { continue };
            once(format!("{} on {}", address.addr(), network.name))?;
            ensure(subnet.net.contains(&address.addr()), || format!("{address} is outside {}", subnet.net))?;
            ensure(subnet.gateway != Some(address.addr()), || format!("{address} is the gateway's"))?;
        }
    }
    Ok(())
}

fn sandboxes(state: &State) -> Result<(), String> {
    for (id, sandbox) in &state.sandboxes {
        let live = state.residents_of(id).any(|container| container.is_live());
        let running = state.residents_of(id).any(|c| c.run().is_some() || c.phase == Phase::Starting);
        let up = sandbox.up == Up::Up;
        ensure(live || !up, || format!("{id:?} is up for nobody"))?;
        ensure(up || !running, || format!("{id:?} is down, and somebody runs in it"))?;
        ensure(up || sandbox.published.is_empty(), || format!("{id:?} is down and has ports"))?;
        for endpoint in state.endpoints_of(id) {
            let on_bridge = state.networks.get(&endpoint.network).is_some_and(|network| network.bridge().is_some());
            let leased = up && on_bridge && sandbox.namespace == Namespace::Own;
            ensure(endpoint.lease.is_some() == leased, || format!("{:?} has the wrong lease", endpoint.id))?;
        }
    }
    Ok(())
}

fn ports(state: &State) -> Result<(), String> {
    let all: Vec<_> = state.sandboxes.values().flat_map(|sandbox| &sandbox.published).collect();
    for (at, one) in all.iter().enumerate() {
        ensure(one.host.len() == one.inside.len(), || format!("{one:?} has two lengths"))?;
        for other in &all[at + 1..] {
            let one_family = one.host_ip.is_ipv4() == other.host_ip.is_ipv4();
            let any = one.host_ip.is_unspecified() || other.host_ip.is_unspecified();
            let meets = one_family && (any || one.host_ip == other.host_ip);
            let overlaps = one.protocol == other.protocol && one.host.overlaps(other.host);
            ensure(!(meets && overlaps), || format!("{one:?} and {other:?} overlap"))?;
        }
    }
    Ok(())
}

fn subnets(state: &State) -> Result<(), String> {
    let bridges = state.networks.values().filter_map(|network| network.bridge());
    let all: Vec<_> =
        bridges.flat_map(|bridge| [&bridge.ipv4, &bridge.ipv6]).flatten().map(|subnet| subnet.net).collect();
    for (at, one) in all.iter().enumerate() {
        let other = all[at + 1..].iter().find(|other| one.contains(*other) || other.contains(one));
        ensure(other.is_none(), || format!("{one} overlaps another subnet"))?;
    }
    Ok(())
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
