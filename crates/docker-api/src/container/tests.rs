//! From the state to documents.

use std::sync::Arc;

use engine::Places;
use model::{
    Command, State,
    container::{Exit, HealthResult, Run},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{inspect, list};
use crate::{
    filter::Filters,
    find,
    testing::{NOW_MS, after, check_golden, opened, with_container, with_network, with_running},
};

fn places() -> Places {
    Places { data_root: "/data".into(), run_dir: "/run/linkspan".into() }
}

fn shown(state: &State, name: &str) -> Value {
    let around = inspect::Surroundings {
        places: &places(),
        execs: Vec::new(),
        graph: json!({ "Name": "overlay2", "Data": null }),
        sizes: None,
    };
    inspect::inspect(state, find::container(state, name).unwrap(), &around)
}

fn check(name: &str, state: &State, container: &str) {
    let found = find::container(state, container).unwrap();
    let line = list::line(state, found, &places(), NOW_MS + 90_000);
    check_golden(&format!("show/{name}.json"), &format!("{:#}\n{line:#}\n", shown(state, container)));
}

#[test]
fn on_the_default_network() {
    let body = json!({
        "Image": "box", "Cmd": ["serve", "-v"], "ExposedPorts": {"80/tcp": {}, "81/tcp": {}}, "Labels": {"a": "b"},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}, "Binds": ["/srv:/srv:ro", "data:/data"]},
    });
    check("created", &with_container(&opened(), "web", &body), "web");
    check("running", &with_running(&opened(), "web", &body), "web");
}

#[test]
fn on_a_network_with_names() {
    let state = with_network(&opened(), "net");
    let body = json!({
        "Image": "box", "Healthcheck": {"Test": ["CMD", "true"]},
        "HostConfig": {"NetworkMode": "net"},
        "NetworkingConfig": {"EndpointsConfig": {"net": {"Aliases": ["www"], "IPAMConfig": {"IPv4Address": "10.1.0.9"}}}},
    });
    let state = with_running(&state, "web", &body);
    let container = find::container(&state, "web").unwrap().id.clone();
    let result =
        HealthResult { started_ms: NOW_MS, finished_ms: NOW_MS + 5, age_ms: 0, code: 0, output: "fine".to_owned() };
    let state = after(&state, Command::Health { container, result });
    check("healthy", &state, "web");
}

#[tokio::test]
async fn whoever_asks_during_the_start_is_told_at_its_end() {
    let state = with_container(&opened(), "web", &json!({ "Image": "box" }));
    let container = find::container(&state, "web").unwrap().id.clone();
    let state = after(&state, Command::Start(container.clone()));
    let (publish, states) = watch::channel(Arc::new(state.clone()));
    let asked = tokio::spawn(async move { super::past_start(states, "web").await });
    tokio::task::yield_now().await;
    let run = Run { pid: 1, started_ms: NOW_MS };
    publish.send_replace(Arc::new(after(&state, Command::Started { container, run })));
    let shown = asked.await.unwrap().unwrap();
    assert!(find::container(&shown, "web").unwrap().run().is_some());
}

#[test]
fn after_its_end() {
    let state = with_running(&opened(), "web", &json!({ "Image": "box" }));
    let container = find::container(&state, "web").unwrap().id.clone();
    let exit = Exit {
        code: 137,
        oom_killed: true,
        started_ms: NOW_MS,
        finished_ms: NOW_MS + 1_500,
        ran_ms: 1_500,
        error: None,
    };
    check("exited", &after(&state, Command::Exited { container, exit }), "web");
}

#[test]
fn without_a_network_of_its_own() {
    let state = with_running(&opened(), "db", &json!({ "Image": "box" }));
    let state = with_running(&state, "side", &json!({ "Image": "box", "HostConfig": {"NetworkMode": "container:db"} }));
    let state = with_running(&state, "raw", &json!({ "Image": "box", "HostConfig": {"NetworkMode": "host"} }));
    for (name, networks) in [("side", json!({})), ("raw", json!(["host"]))] {
        let found = &shown(&state, name)["NetworkSettings"]["Networks"];
        let names: Vec<&String> = found.as_object().unwrap().keys().collect();
        assert_eq!(json!(names), if networks.is_array() { networks } else { json!([]) }, "{name}");
    }
}

#[test]
fn filters() {
    let state = with_network(&opened(), "net");
    let state = with_running(
        &state,
        "web",
        &json!({
            "Image": "box", "Labels": {"tier": "front"}, "ExposedPorts": {"443/tcp": {}},
            "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}},
        }),
    );
    let body = json!({ "Image": "box", "HostConfig": {"NetworkMode": "net", "Binds": ["data:/data"]} });
    let state = with_container(&state, "db", &body);
    let id = find::container(&state, "web").unwrap().id.to_string();
    let check = |filters: Value, expected: Result<&[&str], &str>| {
        let found = Filters::parse(&filters.to_string(), &list::FILTERS).and_then(|filters| {
            let ancestors = filters.get("ancestor").to_vec();
            let wanted = list::Wanted { all: true, limit: None, filters: &filters, ancestors };
            Ok(list::select(&state, &wanted)?.iter().map(|container| container.name.clone()).collect::<Vec<_>>())
        });
        let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(found.map_err(|error| error.message), expected.map_err(str::to_owned), "{filters}");
    };
    check(json!({ "name": ["web"] }), Ok(&["web"]));
    check(json!({ "name": ["^/db$"] }), Ok(&["db"]));
    check(json!({ "id": [id[..8]] }), Ok(&["web"]));
    check(json!({ "status": ["created"] }), Ok(&["db"]));
    check(json!({ "status": ["gone"] }), Err("invalid filter 'status=gone'"));
    check(json!({ "label": ["tier=front"] }), Ok(&["web"]));
    check(json!({ "network": ["net"] }), Ok(&["db"]));
    check(json!({ "publish": ["80/tcp"] }), Ok(&["web"]));
    check(json!({ "expose": ["443"] }), Ok(&["web"]));
    check(json!({ "volume": ["data"] }), Ok(&["db"]));
    check(json!({ "volume": ["/data"] }), Ok(&["db"]));
    check(json!({ "ancestor": [format!("sha256:{}", "ab".repeat(32))], "name": ["web"] }), Ok(&["web"]));
    check(json!({ "ancestor": ["other"] }), Ok(&[]));
    check(json!({ "health": ["none"], "name": ["db"] }), Ok(&["db"]));
    check(json!({ "exited": ["x"] }), Err("invalid filter 'exited=x': a whole number is expected"));
    check(json!({ "colour": ["red"] }), Err("invalid filter 'colour'"));
    check(json!({ "before": ["nobody"] }), Err("No such container: nobody"));
}
