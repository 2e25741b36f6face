//! Bad input and bad clients: each gets Docker's status, and the daemon is afterwards as it was.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    thread,
};

use conformance::{Host, answer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

#[test]
fn nonsense_is_refused_in_dockers_words() {
    let Some(host) = Host::start() else { return };
    let before = host.holdings();
    let mut wrong = Vec::new();
    let mut check = |line: &str, body: &str, status: u16, words: &str| {
        let (found, said) = host.ask(line, body);
        let in_form = found < 400 || serde_json::from_str::<Value>(&said).is_ok_and(|v| v["message"].is_string());
        if found != status || !said.contains(words) || !in_form {
            wrong.push(format!("{line} {}\n  {found} {said}", body.chars().take(200).collect::<String>()));
        }
    };
    let create = "POST /v1.50/containers/create";
    check(create, "{", 400, "unexpected EOF");
    check(create, "", 400, "config cannot be empty in order to create a container");
    check(create, "nonsense", 400, "invalid");
    check(create, "[]", 400, "invalid");
    check(create, r#"{"Image": 7}"#, 400, "invalid");
    check(create, r#"{"Image": "busybox", "Cmd": {"a": 1}}"#, 400, "invalid");
    check(create, r#"{"Image": "busybox"}{"Image": "busybox"}"#, 400, "unexpected content after JSON");
    check(create, r#"{"Image": "no such image"}"#, 400, "invalid reference format");
    check(create, r#"{"Image": "nosuchimage"}"#, 404, "No such image: nosuchimage");
    check(create, &format!("{}{}", "[".repeat(200_000), "]".repeat(200_000)), 400, "invalid");
    check(create, &format!(r#"{{"Image": "{}"}}"#, "a".repeat(100_000)), 400, "must not be more than 255 characters");
    check("POST /v1.50/containers/create?name=-bad", r#"{"Image": "busybox"}"#, 400, "Invalid container name");
    check("POST /v1.50/containers/create?name=a%20b", r#"{"Image": "busybox"}"#, 400, "Invalid container name");
    check("POST /v1.50/containers/create?name=%ff", r#"{"Image": "busybox"}"#, 400, "");
    let host_config = |text: &str| format!(r#"{{"Image": "busybox", "Cmd": ["true"], "HostConfig": {{{text}}}}}"#);
    let port = |port: &str, at: &str| host_config(&format!(r#""PortBindings": {{"{port}": [{at}]}}"#));
    check(create, &port("80/tcp", r#"{"HostPort": "65536"}"#), 400, "65536");
    check(create, &port("80/tcp", r#"{"HostPort": "-1"}"#), 400, "-1");
    check(create, &port("80/tcp", r#"{"HostPort": "9-8"}"#), 400, "9-8");
    check(create, &port("80/tcp", r#"{"HostIp": "300.1.1.1", "HostPort": "80"}"#), 400, "300.1.1.1");
    check(create, &port("99999/tcp", "{}"), 400, "99999");
    check(create, &port("80/nonsense", "{}"), 400, "80/nonsense");
    check(create, &port("0/tcp", "{}"), 400, "invalid port specification");
    check(create, &host_config(r#""Memory": 1"#), 400, "Minimum memory limit");
    check(create, &host_config(r#""Memory": -99999999999999999999"#), 400, "invalid");
    check(create, &host_config(r#""NetworkMode": "nosuchnet""#), 400, "network nosuchnet not found");
    check(create, &host_config(r#""Binds": ["a:b:c:d:e"]"#), 400, "invalid");
    check(create, &host_config(r#""RestartPolicy": {"Name": "sometimes"}"#), 400, "sometimes");
    let network = "POST /v1.50/networks/create";
    let subnet = |config: &str| format!(r#"{{"Name": "n", "IPAM": {{"Config": [{config}]}}}}"#);
    check(network, "{}", 400, "name");
    check(network, r#"{"Name": "n", "Driver": "nonsense"}"#, 404, "nonsense");
    check(network, &subnet(r#"{"Subnet": "10.0.0.0/33"}"#), 400, "10.0.0.0/33");
    check(network, &subnet(r#"{"Subnet": "nonsense"}"#), 400, "nonsense");
    check(network, &subnet(r#"{"Subnet": "10.9.0.0/24", "Gateway": "10.8.0.1"}"#), 400, "10.8.0.1");
    check(network, &subnet(r#"{"Subnet": "10.9.0.0/24", "IPRange": "10.8.0.0/25"}"#), 400, "10.8.0.0/25");
    check("GET /v1.50/containers/nosuch/json", "", 404, "No such container: nosuch");
    check("GET /v1.50/networks/nosuch", "", 404, "network nosuch not found");
    check("GET /v9.99/version", "", 400, "9.99");
    check("GET /v1.1/version", "", 400, "too old");
    check("GET /v1.50/nonsense", "", 404, "page not found");
    check("GET /v1.50/containers/json?filters=nonsense", "", 400, "invalid");
    check("GET /v1.50/containers/json?limit=nonsense", "", 400, "");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(host.docker("ps -aq").ok(), "", "nothing was made");
    assert_eq!(host.docker("network ls -q | wc -l").ok(), "3");
    host.back_to_normal(before);
}

#[test]
fn rude_clients_hold_nothing_up() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d -i --name cat busybox cat").ok();
    let bounded = "--log-opt max-size=1m --log-opt max-file=2";
    host.docker(&format!("run -d --name talks {bounded} busybox sh -c 'while :; do echo talks; done'")).ok();
    let before = host.holdings();
    // A body of 100 MB is not taken in.
    let (status, said) =
        host.ask("POST /v1.50/containers/create", &format!(r#"{{"Image": "{}"}}"#, "a".repeat(100 << 20)));
    assert!(status == 413 || status == 0, "{status} {said}");
    let rss = host.sh(&format!("awk '/VmHWM/ {{print $2}}' /proc/{}/status", host.daemon_pid().trim())).ok();
    assert!(rss.parse::<u64>().expect("kB") < 120_000, "{rss} kB for a refused body");
    // Clients that begin and do not go on: within a head, before a body, within one.
    let slow: Vec<UnixStream> = (0..200)
        .map(|n| {
            let mut stream = host.connect();
            let text = [
                "POST /v1.50/cont",
                "POST /v1.50/containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 99\r\n\r\n",
                "GET /_ping HTTP/1.1\r\nHost:",
                "",
            ];
            stream.write_all(text[n % 4].as_bytes()).expect("the daemon takes words");
            stream
        })
        .collect();
    assert_eq!(host.docker("ps -q | wc -l").ok(), "2", "others are served meanwhile");
    drop(slow);
    // Attaches and streams that are left without a word.
    let streams = [
        "POST /v1.50/containers/cat/attach?stream=1&stdin=1&stdout=1&stderr=1",
        "POST /v1.50/containers/talks/attach?stream=1&stdout=1",
        "GET /v1.50/containers/talks/logs?follow=1&stdout=1",
        "GET /v1.50/containers/talks/stats",
        "GET /v1.50/events",
        "POST /v1.50/containers/cat/wait",
    ];
    for _ in 0..20 {
        for line in streams {
            let mut stream = host.connect();
            write!(
                stream,
                "{line} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
            )
            .expect("the daemon takes words");
            let mut some = [0; 64];
            if !line.contains("events") && !line.contains("wait") {
                let _ = stream.read(&mut some).expect("the daemon answers");
            }
        }
    }
    for garbage in [
        "\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut stream = host.connect();
        stream.write_all(garbage.as_bytes()).expect("the daemon takes words");
        stream.shutdown(std::net::Shutdown::Write).expect("the end");
        let (status, _) = answer(&mut stream);
        assert!((400..500).contains(&status) || status == 0, "{garbage:?}: {status}");
    }
    assert_eq!(host.docker("inspect -f {{.State.Running}} cat talks").ok(), "true\ntrue");
    host.back_to_normal(before);
    host.docker("rm -f cat talks").ok();
}

#[test]
fn two_thousand_requests_at_once() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name web busybox sleep 1000").ok();
    let before = host.holdings();
    let lines = [
        ("GET /v1.50/containers/json?all=1", "", 200),
        ("GET /v1.50/containers/web/json", "", 200),
        ("GET /v1.50/networks", "", 200),
        ("GET /v1.50/images/json", "", 200),
        ("POST /v1.50/volumes/create", r#"{"Name": "one"}"#, 201),
        ("POST /v1.50/containers/create?name=web", r#"{"Image": "busybox"}"#, 409),
        ("GET /v1.50/containers/nosuch/json", "", 404),
        ("GET /_ping", "", 200),
    ];
    let statuses: Vec<(usize, u16)> = thread::scope(|scope| {
        let ask = |n: usize| {
            let (line, body, _) = lines[n % lines.len()];
            (n, host.ask(line, body).0)
        };
        let asking: Vec<_> = (0..at_most(2000))
            .map(|n| {
                thread::Builder::new().stack_size(128 << 10).spawn_scoped(scope, move || ask(n)).expect("a thread")
            })
            .collect();
        asking.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    });
    for (n, status) in statuses {
        assert_eq!(status, lines[n % lines.len()].2, "{}", lines[n % lines.len()].0);
    }
    host.back_to_normal(before);
}

/// So many clients, or, said loudly, as many as this process may have open files for.
fn at_most(clients: usize) -> usize {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files })
        .expect("the soft limit follows the hard one");
    let most = files.maximum.map_or(clients, |most| usize::try_from(most).unwrap_or(clients).saturating_sub(100));
    if most < clients {
        eprintln!("SKIPPED: only {most} clients, for no more files may be open");
    }
    most.min(clients)
}
