//! Clients that stall, never read, half close, or ask for too much of anything: others are served, and nothing of them stays.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    time::Duration,
};

use conformance::{Host, answer, eventually};

/// A request without a body.
fn send(host: &Host, line: &str) -> UnixStream {
    let mut stream = host.connect();
    write!(stream, "{line} HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n").expect("the daemon takes words");
    stream
}

#[test]
fn who_does_not_go_on_is_let_go() {
    let Some(host) = Host::start() else { return };
    let before = host.holdings();
    let begun = [
        // Heads and bodies that grow by a byte now and then, and never end.
        "GET /_ping HTTP/1.1\r\nHost: d\r\nX-Slow: ",
        "POST /v1.50/containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 99999\r\n\r\n{",
        "POST /v1.50/networks/create HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n9999\r\n{",
        // A kept connection on which nothing follows.
        "GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n",
    ];
    let mut slow: Vec<UnixStream> = begun
        .iter()
        .cycle()
        .take(100)
        .map(|text| {
            let mut stream = host.connect();
            stream.write_all(text.as_bytes()).expect("the daemon takes words");
            stream.set_nonblocking(true).expect("reads that do not wait");
            stream
        })
        .collect();
    let deadline = std::time::Instant::now() + Duration::from_secs(180);
    while !slow.is_empty() {
        assert!(std::time::Instant::now() < deadline, "{} clients are still waited for", slow.len());
        assert_eq!(host.docker("ps -q").ok(), "", "others are served meanwhile");
        slow.retain_mut(|stream| {
            let _ = stream.write_all(b"a");
            let mut bytes = [0; 4096];
            // Its end, or an error other than that nothing came yet.
            loop {
                match stream.read(&mut bytes) {
                    Ok(1..) => {}
                    Ok(0) => return false,
                    Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
                }
            }
        });
        std::thread::sleep(Duration::from_millis(500));
    }
    host.back_to_normal(before);
}

#[test]
fn who_never_reads_stalls_nobody_else() {
    let Some(host) = Host::start() else { return };
    let talks = "sh -c 'while :; do echo a line that is long enough to fill a pipe soon; done'";
    host.docker(&format!("run -d --name talks --log-opt max-size=1m --log-opt max-file=2 busybox {talks}")).ok();
    let before = host.holdings();
    let lines = [
        "GET /v1.50/containers/talks/logs?follow=1&stdout=1",
        "POST /v1.50/containers/talks/attach?stream=1&logs=1&stdout=1",
        "GET /v1.50/containers/talks/stats",
        "GET /v1.50/containers/talks/export",
        "GET /v1.50/containers/talks/archive?path=/bin",
        "GET /v1.50/images/busybox/get",
        "GET /v1.50/events?since=0",
    ];
    let deaf: Vec<UnixStream> = lines.iter().cycle().take(70).map(|line| send(&host, line)).collect();
    // Events that nobody reads.
    for n in 0..20 {
        host.docker(&format!("volume create events{n}")).ok();
    }
    let written = || host.docker("logs --tail 1 --timestamps talks").ok();
    let first = written();
    eventually("the container goes on", || (written() != first).then_some(()));
    assert_eq!(host.docker("exec talks echo here").ok(), "here");
    let held = host.holdings();
    assert!(held.rss_kb < before.rss_kb + (200 << 10), "{before:?} {held:?}");
    drop(deaf);
    host.docker("rm -f talks").ok();
    host.back_to_normal(before);
}

#[test]
fn a_half_closed_connection_is_answered() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name cat -i busybox cat").ok();
    host.docker("run -d --name ends busybox sleep 1").ok();
    let before = host.holdings();
    for line in [
        "GET /_ping",
        "GET /v1.50/containers/json",
        "GET /v1.50/images/busybox/json",
        "POST /v1.50/containers/ends/wait",
        "POST /v1.50/containers/cat/stop?t=0",
    ] {
        let mut stream = host.connect();
        write!(stream, "{line} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").expect("words");
        stream.shutdown(Shutdown::Write).expect("the end of what is said");
        let (status, said) = answer(&mut stream);
        assert!(matches!(status, 200 | 204), "{line}: {status} {said}");
    }
    // As scripts do it.
    let ping = r"printf 'GET /_ping HTTP/1.0\r\n\r\n' | socat -t 20 - UNIX:/run/docker.sock | tail -n 1";
    assert_eq!(host.sh(ping).ok(), "OK");
    host.back_to_normal(before);
}

#[test]
fn bodies_without_end_are_cut_off() {
    let Some(host) = Host::start() else { return };
    let before = host.holdings();
    for line in [
        "POST /v1.50/containers/create",
        "POST /v1.50/networks/create",
        "POST /v1.50/volumes/create",
        "POST /v1.50/auth",
    ] {
        let mut stream = host.connect();
        let head = "Host: d\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked";
        write!(stream, "{line} HTTP/1.1\r\n{head}\r\n\r\n").expect("the daemon takes words");
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        // 64 MiB, if it took them.
        let taken = (0..1024).take_while(|_| stream.write_all(chunk.as_bytes()).is_ok()).count();
        let (status, said) = answer(&mut stream);
        assert!(matches!(status, 413 | 0), "{line}: {status} {said}");
        assert!(taken < 1024, "{line}: all of it was taken");
    }
    // What is no archive is refused where that shows, whatever follows.
    for line in ["POST /v1.50/images/load", "POST /v1.50/images/create?fromSrc=-"] {
        let mut stream = host.connect();
        write!(stream, "{line} HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n").expect("words");
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        let taken = (0..4096).take_while(|_| stream.write_all(chunk.as_bytes()).is_ok()).count();
        let (_, said) = answer(&mut stream);
        assert!(taken < 4096 && (said.is_empty() || said.contains("checksum")), "{line}: {taken} {said}");
    }
    host.back_to_normal(before);
}

#[test]
fn much_of_anything_is_granted_or_refused() {
    let Some(host) = Host::start() else { return };
    let before = host.holdings();
    let check = |line: &str, body: &str, statuses: &[u16], words: &str| {
        let (found, said) = host.ask(line, body);
        let short: String = body.chars().take(100).collect();
        assert!(statuses.contains(&found) && said.contains(words), "{line} {short}\n{found} {said:.500}");
    };
    let create = |name: &str| format!("POST /v1.50/containers/create?name={name}");
    let with = |field: &str| format!(r#"{{"Image": "busybox", "Cmd": ["true"], {field}}}"#);
    let long = |length: usize| "n".repeat(length);
    // Names.
    check(&create("ab"), &with(r#""Tty": false"#), &[201], "");
    // Thousands of filters, and one that would be thousands of states.
    let names: Vec<String> = (0..4000).map(|n| format!("%22n{n}%22")).collect();
    let list = "GET /v1.50/containers/json?all=1&filters=%7B%22name%22:";
    check(&format!("{list}[{}]%7D", names.join(",")), "", &[200], "[]");
    check(&format!("{list}[%22((((n%7B99%7D)%7B99%7D)%7B99%7D)%7B99%7D)%22]%7D"), "", &[200], "[]");
    check(&create("z"), &with(r#""Tty": false"#), &[400], "Invalid container name (z)");
    check(&create(&long(128)), &with(r#""Tty": false"#), &[201], "");
    check(&create(&long(60_000)), &with(r#""Tty": false"#), &[201, 400], "");
    for odd in ["%2e%2e", "a%2fb", "a%00b", "a%0ab", "%e4%b8%ad", "a%25", "-ab", "_ab", ".ab", "a+b"] {
        check(&create(odd), &with(r#""Tty": false"#), &[400], "Invalid container name");
    }
    check(&create("host"), &with(&format!(r#""Hostname": "{}""#, long(63))), &[201], "");
    check(&create("host64"), &with(&format!(r#""Hostname": "{}""#, long(64))), &[400], "invalid hostname");
    check("POST /v1.50/volumes/create", &format!(r#"{{"Name": "{}"}}"#, long(255)), &[201], "");
    check("POST /v1.50/volumes/create", &format!(r#"{{"Name": "{}"}}"#, long(256)), &[400], "too long");
    check("POST /v1.50/networks/create", &format!(r#"{{"Name": "{}"}}"#, long(5000)), &[201, 400], "");
    for odd in [" ", "\\t"] {
        check("POST /v1.50/networks/create", &format!(r#"{{"Name": "{odd}"}}"#), &[400], "name");
    }
    check(&format!("POST /v1.50/images/busybox/tag?repo=a&tag={}", long(128)), "", &[201], "");
    check(&format!("POST /v1.50/images/busybox/tag?repo=a&tag={}", long(129)), "", &[400], "invalid");
    check(&format!("GET /v1.50/containers/{}/json", long(5000)), "", &[404], "No such container");
    // Megabytes of text.
    let text = long(3 << 20);
    check(&create("labelled"), &with(&format!(r#""Labels": {{"l": "{text}"}}"#)), &[201], "");
    assert_eq!(host.docker("inspect -f '{{len .Config.Labels.l}}' labelled").ok(), (3 << 20).to_string());
    // What execve(2) does not take.
    for (name, field) in
        [("env", format!(r#""Env": ["E={text}"]"#)), ("args", format!(r#""Entrypoint": ["true", "{text}"]"#))]
    {
        check(&create(name), &with(&field), &[201], "");
        host.docker(&format!("start {name}")).ok();
        assert_eq!(host.docker(&format!("wait {name}")).ok(), "255");
        let said = host.docker(&format!("logs {name}"));
        assert!(said.err.contains("argument list too long"), "{said:?}");
    }
    check(&create("program"), &with(&format!(r#""Entrypoint": ["/{text}"]"#)), &[201], "");
    check("POST /v1.50/containers/program/start", "", &[400, 500], "unable to start container process");
    assert_eq!(host.docker("inspect -f '{{.State.Running}}' program").ok(), "false");
    let exec = r#""AttachStdout": true, "AttachStderr": true, "Cmd""#;
    let big = host.docker("run -d --name execs busybox sleep 1000").ok();
    for (command, shown) in [
        (format!(r#"["echo", "{}"]"#, long(100_000)), "nnn"),
        (format!(r#"["echo", "{text}"]"#), "argument list too long"),
    ] {
        let (status, said) = host.ask(&format!("POST /v1.50/containers/{big}/exec"), &format!("{{{exec}: {command}}}"));
        assert_eq!(status, 201, "{said:.500}");
        let id = said.split('"').nth(3).unwrap_or_default();
        let (_, said) = host.ask(&format!("POST /v1.50/exec/{id}/start"), "{}");
        assert!(said.to_lowercase().contains(shown), "{said:.500}");
    }
    // More than a request's head may hold.
    check(&format!("GET /_ping?{}", long(1 << 20)), "", &[414, 431, 400, 0], "");
    let mut stream = host.connect();
    // It may hang up before the last of them.
    let _ = write!(stream, "GET /_ping HTTP/1.1\r\n{}\r\n", "X-Many: x\r\n".repeat(100_000));
    let (status, _) = answer(&mut stream);
    assert!(matches!(status, 431 | 400 | 0), "{status}");
    host.sh("docker rm -f $(docker ps -aq)").ok();
    assert_eq!(host.docker("ps -aq").ok(), "");
    // The events that are kept tell of labels of megabytes too.
    host.back_to_normal(conformance::Holdings { rss_kb: usize::MAX / 2, ..before });
}

#[test]
fn ports_at_every_limit() {
    let Some(host) = Host::start() else { return };
    let before = host.holdings();
    let create = |name: &str, inside: &str, bindings: &str| {
        let ports = format!(r#""PortBindings": {{"{inside}": [{bindings}]}}"#);
        let body = format!(r#"{{"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {{{ports}}}}}"#);
        host.ask(&format!("POST /v1.50/containers/create?name={name}"), &body)
    };
    let refused = |inside: &str, bindings: &str, words: &str| {
        let (status, said) = create("refused", inside, bindings);
        assert!(status == 400 && said.contains(words), "{inside} {bindings}: {status} {said}");
    };
    for inside in [
        "0/tcp",
        "65536/tcp",
        "-1/tcp",
        "81-80/tcp",
        "80-/tcp",
        "-/udp",
        "/tcp",
        "80/icmp",
        "8 0/tcp",
        "+80/tcp",
        "0x50/tcp",
    ] {
        refused(inside, r#"{"HostPort": ""}"#, "invalid port specification");
    }
    for at in ["65536", "-1", "9-8", "0-5", "1-65536", "80a", "8080-", "१", "1e3", "99999999999999999999"] {
        refused("80/tcp", &format!(r#"{{"HostPort": "{at}"}}"#), "invalid port specification");
    }
    refused("80-82/tcp", r#"{"HostPort": "8080-8081"}"#, "invalid port specification");
    for ip in ["1.2.3", "256.1.1.1", "::g", "fe80::1%eth0", "localhost", "1.2.3.4/8"] {
        refused("80/tcp", &format!(r#"{{"HostIp": "{ip}", "HostPort": "80"}}"#), "invalid IP address");
    }
    let published = |name: &str, inside: &str, bindings: &str, shown: &str| {
        let (status, said) = create(name, inside, bindings);
        assert_eq!(status, 201, "{inside} {bindings}: {said}");
        host.docker(&format!("start {name}")).ok();
        let found = host.docker(&format!("port {name}")).ok();
        assert!(found.contains(shown), "{inside} {bindings}: {found}");
        host.docker(&format!("rm -f {name}")).ok();
    };
    published("first", "1/tcp", r#"{"HostPort": "1"}"#, "1/tcp -> 0.0.0.0:1");
    published("last", "65535/udp", r#"{"HostPort": "65535"}"#, "65535/udp -> 0.0.0.0:65535");
    published("chosen", "80/tcp", r#"{"HostPort": "0"}"#, "80/tcp -> 0.0.0.0:");
    published("within", "80/tcp", r#"{"HostPort": "7000-7009"}"#, "80/tcp -> 0.0.0.0:700");
    published("zeros", "0080/tcp", r#"{"HostPort": "08080"}"#, "80/tcp -> 0.0.0.0:8080");
    // The same twice is published once.
    let (status, _) = create(
        "twice",
        "80/tcp",
        r#"{"HostIp": "0.0.0.0", "HostPort": "80"}, {"HostIp": "0.0.0.0", "HostPort": "80"}"#,
    );
    assert_eq!(status, 201);
    host.docker("start twice").ok();
    assert_eq!(host.docker("port twice").ok(), "80/tcp -> 0.0.0.0:80");
    host.docker("rm -f twice").ok();
    host.back_to_normal(before);
}
