//! Attaching to containers in the ways that the docker command does not use.

use conformance::{Host, eventually};

#[test]
fn over_a_websocket() {
    let Some(host) = Host::start() else { return };
    let client = host.path().join("client.py");
    std::fs::write(&client, conformance::WEBSOCKET).unwrap();
    let ask = |input: &str, path: &str| {
        host.sh(&format!("printf '{input}' | timeout 20 python3 {} /var/run/docker.sock '{path}'", client.display()))
    };
    host.docker("create -i --name echo busybox sh -c 'echo out; echo err >&2; head -n 1'").ok();
    host.docker("start echo").ok();
    let logs = || host.docker("logs echo").out;
    eventually("it has spoken", || logs().contains("out").then_some(()));
    // What was said before comes with logs=1, and the end is told: 2 is binary, 8 goodbye, 10 the answer to a ping.
    let said = ask("typed\\n", "/v1.50/containers/echo/attach/ws?logs=1&stream=1&stdin=1&stdout=1&stderr=0").ok();
    assert_eq!(said, "out\ntyped\nopcodes 10 2 8");
    host.docker("wait echo").ok();
    // Older versions have all streams, and the oldest have text.
    let all = ask("", "/v1.41/containers/echo/attach/ws?logs=1").ok();
    assert!(all.contains("out\n") && all.contains("err\n") && all.ends_with("opcodes 2 8"), "{all}");
    assert!(ask("", "/v1.27/containers/echo/attach/ws?logs=1").ok().ends_with("opcodes 1 8"));
    // The keys detach from a terminal, and the shell goes on.
    host.docker("run -dit --name shell busybox sh").ok();
    ask("echo $((40 + 2))\\nqx", "/v1.50/containers/shell/attach/ws?stream=1&stdin=1&stdout=1&detachKeys=q,x").ok();
    eventually("what was typed before", || host.docker("logs shell").out.contains("42").then_some(()));
    assert_eq!(host.docker("inspect -f '{{.State.Running}}' shell").ok(), "true");
    for (path, words) in [
        ("/v1.50/containers/nosuch/attach/ws?stream=1", "404 Not Found"),
        ("/v1.50/containers/shell/attach/ws?detachKeys=nonsense", "Invalid detach keys"),
    ] {
        ask("", path).fails_with(words);
    }
    let plain = "curl -s --unix-socket /var/run/docker.sock http://docker/v1.50/containers/shell/attach/ws";
    assert!(host.sh(plain).ok().contains("a WebSocket handshake of version 13 is expected here"));
}
