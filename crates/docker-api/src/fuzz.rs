//! What clients send, for the fuzzer: each target must neither panic nor take long, whatever the bytes, and what it understood must be
//! fit for the decisions. Built for tests, which replay the corpora of `fuzz/`, and by `cargo fuzz`; never into the product.

use std::{collections::BTreeMap, sync::LazyLock};

use model::{
    Command, Facts, NetworkId, Sandbox, State,
    command::{ContainerWish, NewSandbox, SandboxWish},
    decide,
};
use serde_json::json;

use crate::{
    ApiError,
    call::parse_json,
    container::create::{self, Body},
    network, query, signal, testing, time,
    version::{self, Version},
    wire::{host_config::HostConfig, port::PortBinding},
};

/// A host with a network `net` and containers `db` and `web`.
static STATE: LazyLock<State> = LazyLock::new(|| {
    let state = testing::with_network(&testing::opened(), "net");
    let state =
        testing::with_container(&state, "db", &json!({ "Image": "box", "HostConfig": { "Binds": ["/srv:/srv"] } }));
    testing::with_running(
        &state,
        "web",
        &json!({ "Image": "box", "HostConfig": { "PortBindings": { "80/tcp": [{ "HostPort": "8080" }] } } }),
    )
});

/// The body of `POST /containers/create`; what is granted is started.
pub fn container_create(body: &[u8]) {
    if let Ok(Some(body)) = parse_json::<Body>(body) {
        // A refusal is an answer.
        let _ = run(body);
    }
}

/// The body of `POST /networks/create`.
pub fn network_create(body: &[u8]) {
    let Ok(Some(request)) = parse_json::<network::create::Request>(body) else { return };
    if let Ok(wish) = network::create::wish(request, NetworkId::from_bytes([0xdd; 32]), version::NEWEST) {
        let _ = decide(&STATE, &facts(), Command::CreateNetwork(Box::new(wish)));
    }
}

/// Lines of `INSIDE [HOST [ADDRESS]]`, as in `80/tcp 8080 127.0.0.1`: ports that are published. None may be lost.
pub fn port_specs(lines: &[u8]) {
    let text = String::from_utf8_lossy(lines);
    let mut port_bindings: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split(' ').map(str::to_owned);
        let bindings = port_bindings.entry(words.next().unwrap_or_default()).or_default();
        let (host_port, host_ip) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        bindings.push(PortBinding { host_ip, host_port });
    }
    let asked: Vec<_> = port_bindings.keys().map(|inside| create::exposed_port(inside)).collect();
    let bound: Vec<usize> = port_bindings.values().map(Vec::len).collect();
    let Ok(port_bindings) = serde_json::from_value(json!(port_bindings)) else { return };
    let body = Body { host_config: HostConfig { port_bindings, ..HostConfig::default() }, ..Body::default() };
    let Ok(wish) = run(body) else { return };
    let SandboxWish::New(NewSandbox { sandbox: Sandbox { ports, .. }, .. }) = wish.sandbox else { return };
    let published: usize = ports.iter().map(|port| port.inside.len() as usize).sum();
    let expected = asked
        .iter()
        .zip(bound)
        .map(|(range, times)| range.as_ref().map_or(0, |(range, _)| range.len() as usize) * times);
    assert_eq!(published, expected.sum::<usize>(), "{text}");
}

/// What stands after the `?` of a path: parameters, filters, times, signals and versions.
pub fn queries(text: &[u8]) {
    const FILTERS: &[&str] = &["name", "id", "label", "label!", "dangling", "until", "status", "before"];
    let query = query::Query::parse(&String::from_utf8_lossy(text));
    let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
    if let Ok(filters) = query.filters(FILTERS) {
        filters.pattern("name", "web-1");
        filters.labels(&labels);
        let _ = (filters.flag("dangling"), filters.single("until").is_ok());
    }
    for name in ["t", "since", "until", "signal", "v", "all"] {
        let value = query.get(name).unwrap_or_default();
        let _ = (query.flag(name), query.number(name), time::parse_ns(value, testing::NOW_MS), signal::parse(value));
        let _ = value.parse::<Version>();
    }
}

/// What the body asks for, after it was created and started.
fn run(body: Body) -> Result<ContainerWish, ApiError> {
    let (wish, _) = testing::wish_of(version::NEWEST, &STATE, Some("fuzzed"), body)?;
    let id = wish.container.id.clone();
    if let Ok(created) = decide(&STATE, &facts(), Command::CreateContainer(Box::new(wish.clone()))) {
        let _ = decide(&STATE.with(&created.change), &facts(), Command::Start(id));
    }
    Ok(wish)
}

fn facts() -> Facts {
    Facts { now_ms: testing::NOW_MS, nonce: 7, ..Facts::default() }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corpora() {
        replay::replay("container_create", container_create);
        replay::replay("network_create", network_create);
        replay::replay("port_specs", port_specs);
        replay::replay("queries", queries);
    }
}
