//! The life of a container, with the real docker command.

use conformance::{Host, eventually};

#[test]
fn exit_codes_and_output_come_through() {
    let Some(host) = Host::start() else { return };
    let check = |words: &str, code: i32, out: &str, err: &str| {
        let said = host.docker(words);
        assert_eq!((said.code, said.out.trim()), (code, out), "{words}: {}", said.err);
        assert!(said.err.contains(err), "{words}: {}", said.err);
    };
    check("run --rm busybox echo hello", 0, "hello", "");
    check("run --rm busybox sh -c 'echo out; echo err >&2; exit 3'", 3, "out", "err");
    check("run --rm busybox nosuch", 127, "", "executable file not found");
    check("run --rm busybox /etc/passwd", 126, "", "permission denied");
    check("run --rm nosuchimage", 125, "", "nosuchimage");
    check(
        "run --rm -e A=1 -w /tmp -u 1000:1000 busybox sh -c 'echo $A $PWD $(id -u):$(id -g)'",
        0,
        "1 /tmp 1000:1000",
        "",
    );
    check("run --rm -h box busybox hostname", 0, "box", "");
    check("run --rm --read-only busybox touch /x", 1, "", "Read-only");
    check("run --rm --init busybox sh -c 'cat /proc/1/comm'", 0, "docker-init", "");
    check("run --rm --network none busybox ls /sys/class/net", 0, "lo", "");
    check("run --rm --network host busybox cat /sys/class/net/uplink/operstate", 0, "up", "");
}

#[test]
fn created_started_paused_stopped_removed() {
    let Some(host) = Host::start() else { return };
    let status = || host.docker("inspect -f '{{.State.Status}}' box").ok();
    host.docker("create --name box busybox sh -c 'trap \"exit 7\" TERM; echo ready; while :; do sleep 0.1; done'").ok();
    assert_eq!(status(), "created");
    host.docker("start box").ok();
    assert_eq!(status(), "running");
    eventually("it heeds SIGTERM", || (host.docker("logs box").ok() == "ready").then_some(()));
    host.docker("pause box").ok();
    assert_eq!(status(), "paused");
    host.docker("unpause box").ok();
    host.docker("rm box").fails_with("container is running");
    host.docker("stop box").ok();
    assert_eq!(host.docker("inspect -f '{{.State.Status}} {{.State.ExitCode}}' box").ok(), "exited 7");
    host.docker("rename box crate").ok();
    host.docker("restart crate").ok();
    host.docker("kill crate").ok();
    assert_eq!(host.docker("wait crate").ok(), "137");
    host.docker("rm crate").ok();
    host.docker("inspect crate").fails_with("No such");
    assert_eq!(host.docker("ps -aq").ok(), "");
}

#[test]
fn signals_of_all_numbers_arrive() {
    let Some(host) = Host::start() else { return };
    let waits = "busybox bash -c 'trap \"exit 9\" 37; echo ready; while :; do sleep 0.1; done'";
    for (name, options, words) in [
        ("stopped", "--stop-signal RTMIN+3", "stop"),
        ("killed", "", "kill -s 37"),
        ("passed-on", "--init", "kill -s SIGRTMIN+3"),
    ] {
        host.docker(&format!("run -d --name {name} {options} {waits}")).ok();
        eventually("it listens", || (host.docker(&format!("logs {name}")).ok() == "ready").then_some(()));
        host.docker(&format!("{words} {name}")).ok();
        assert_eq!(host.docker(&format!("wait {name}")).ok(), "9", "{name}");
    }
    // Who is killed by one has an end as well.
    host.docker("run -d --name box busybox sleep 1000").ok();
    assert_eq!(host.docker("exec box bash -c 'kill -40 $$'").code, 168);
    assert_eq!(host.docker("run --rm --init busybox bash -c 'kill -40 $$'").code, 168);
    assert_eq!(host.docker("run --rm --pid container:box busybox bash -c 'kill -40 $$'").code, 168);
    for nonsense in ["0", "65", "NOSUCH", "RTMIN+31"] {
        host.docker(&format!("kill -s {nonsense} box")).fails_with("invalid signal");
    }
}

#[test]
fn an_init_misses_no_signal() {
    let Some(host) = Host::start() else { return };
    host.docker("create --name box --init busybox sleep 1000").ok();
    for (signal, code) in [("TERM", "143"), ("USR1", "138"), ("INT", "130")].repeat(3) {
        // On one connection, so that it comes before anything in the container runs.
        let post = "-sf --unix-socket /var/run/docker.sock -X POST http://docker/containers/box";
        host.sh(&format!("curl {post}/start --next {post}/kill?signal={signal}")).ok();
        let ended = || host.docker("inspect -f '{{.State.Status}} {{.State.ExitCode}}' box").ok();
        eventually(signal, || (ended() == format!("exited {code}")).then_some(()));
    }
}

#[test]
fn an_exec_ends_after_its_client_has_left() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name box busybox sleep 1000").ok();
    host.docker("exec box mkfifo /tmp/began /tmp/gate").ok();
    host.sh("docker exec box sh -c 'echo > /tmp/began; cat /tmp/gate; exit 6' >/dev/null 2>&1 & client=$!
         docker exec box cat /tmp/began; kill -9 $client; docker exec box sh -c 'echo > /tmp/gate'")
        .ok();
    eventually("the end of the exec is told", || {
        let events = "events --since 1m --until $(date +%s) --filter event=exec_die";
        let codes = host.docker(&format!("{events} --format '{{{{.Actor.Attributes.exitCode}}}}'")).ok();
        codes.lines().any(|code| code == "6").then_some(())
    });
}

#[test]
fn exec_logs_top_stats_and_copies() {
    let Some(host) = Host::start() else { return };
    let says = "echo one; echo two; until [ -e /tmp/go ]; do sleep 0.05; done; echo three >&2; exec sleep 1000";
    host.docker(&format!("run -d --name box busybox sh -c '{says}'")).ok();
    assert_eq!(host.docker("exec box sh -c 'exit 4'").code, 4);
    assert_eq!(host.docker("exec -u nobody box id -un").ok(), "nobody");
    assert_eq!(host.sh("echo piped | docker exec -i box cat").ok(), "piped");
    let logged = |lines: &str| {
        eventually("the log has the lines", || (host.sh("docker logs box 2>&1 | wc -l").ok() == lines).then_some(()));
    };
    // Output and errors have an order only where one waits for the other.
    logged("2");
    host.docker("exec box touch /tmp/go").ok();
    logged("3");
    assert_eq!(host.docker("logs --tail 1 box 2>/dev/null").ok(), "");
    assert_eq!(host.docker("logs --tail 2 box 2>/dev/null").ok(), "two");
    assert!(host.docker("logs -t --tail 2 box").ok().starts_with("20"));
    eventually("it sleeps", || host.docker("top box").ok().contains("sleep 1000").then_some(()));
    assert!(host.docker("stats --no-stream --format '{{.Name}} {{.PIDs}}' box").ok().starts_with("box "));
    let file = host.path().join("content").display().to_string();
    host.sh(&format!("echo content > {file} && docker cp {file} box:/tmp/there")).ok();
    assert_eq!(host.docker("exec box cat /tmp/there").ok(), "content");
    assert_eq!(host.sh("docker cp box:/tmp/there - | tar -xO").ok(), "content");
    assert!(host.docker("diff box").ok().contains("A /tmp/there"));
    host.docker("commit box kept").ok();
    assert_eq!(host.docker("run --rm kept cat /tmp/there").ok(), "content");
    assert!(host.sh("docker export box | tar -t").ok().contains("tmp/there"));
}

#[test]
fn policies_start_again() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name twice --restart on-failure:2 busybox sh -c 'exit 1'").ok();
    eventually("two restarts", || {
        (host.docker("inspect -f '{{.RestartCount}} {{.State.Status}}' twice").ok() == "2 exited").then_some(())
    });
    host.docker("run -d --name always --restart always busybox sleep 0.2").ok();
    eventually("a restart", || (host.docker("inspect -f '{{.RestartCount}}' always").ok() != "0").then_some(()));
    host.docker("stop always").ok();
    assert_eq!(host.docker("inspect -f '{{.State.Running}}' always").ok(), "false");
}

#[test]
fn health_is_told() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name well --health-cmd 'test -e /tmp/ok' --health-interval 200ms --health-retries 2 busybox sleep 1000").ok();
    let health = || host.docker("inspect -f '{{.State.Health.Status}}' well").ok();
    eventually("unhealthy", || (health() == "unhealthy").then_some(()));
    host.docker("exec well touch /tmp/ok").ok();
    eventually("healthy", || (health() == "healthy").then_some(()));
}

#[test]
fn volumes_outlive_containers() {
    let Some(host) = Host::start() else { return };
    host.docker("run --rm -v data:/data busybox sh -c 'echo kept > /data/file'").ok();
    assert_eq!(host.docker("run --rm -v data:/data:ro busybox cat /data/file").ok(), "kept");
    host.docker("run --rm -v data:/data:ro busybox touch /data/more").fails();
    host.docker("run -d --name user -v data:/data busybox sleep 1000").ok();
    host.docker("volume rm data").fails_with("volume is in use");
    assert_eq!(host.docker("run --rm --volumes-from user busybox cat /data/file").ok(), "kept");
    host.docker("rm -f user").ok();
    host.docker("volume rm data").ok();
    let dir = host.path().join("bound");
    host.sh(&format!("mkdir -p {0}; echo bound > {0}/file", dir.display())).ok();
    assert_eq!(host.docker(&format!("run --rm -v {}:/b busybox cat /b/file", dir.display())).ok(), "bound");
    assert_eq!(host.docker("run --rm --tmpfs /scratch busybox sh -c 'df -T /scratch | grep -c tmpfs'").ok(), "1");
}

#[test]
fn a_restart_removes_nothing() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --rm --name box -v /data busybox sh -c 'echo x >> /data/starts; exec sleep 1000'").ok();
    let id = host.docker("inspect -f '{{.Id}}' box").ok();
    let started = |times: &str| {
        eventually("it has said so", || (host.docker("exec box cat /data/starts").out.trim() == times).then_some(()));
    };
    started("x");
    host.docker("restart -t 0 box").ok();
    assert_eq!(
        host.docker("inspect -f '{{.Id}} {{.State.Status}} {{.RestartCount}}' box").ok(),
        format!("{id} running 0")
    );
    // Its volume is the same one.
    started("x\nx");
    let events = "events --since 1m --until $(date -d '+1 second' +%s) --filter container=box --format '{{.Action}}'";
    let events = host.docker(events).ok();
    assert!(events.contains("kill\ndie\nstop\nstart\nrestart") && !events.contains("destroy"), "{events}");
    // Its end is its end all the same.
    host.docker("stop -t 0 box").ok();
    eventually("it is gone", || (host.docker("inspect box").code != 0).then_some(()));
    assert_eq!(host.docker("volume ls -q").ok(), "");
}

/// A container's start does not become longer by those that run, and what keeps their namespaces shows them to whoever asks for it.
#[test]
fn a_shim_does_not_see_the_namespaces_of_others() {
    let Some(host) = Host::start() else { return };
    for name in ["one", "two", "three"] {
        host.docker(&format!("run -d --name {name} busybox sleep 1000")).ok();
    }
    let pid = host.docker("inspect -f '{{.State.Pid}}' three").ok();
    let kept = |of: &str| host.sh(&format!("grep -c ' /run/linkspan/netns/' /proc/{of}/mountinfo || true")).ok();
    assert_eq!(kept(&format!("$(ps -o ppid= -p {pid} | tr -d ' ')")), "0");
    assert_eq!(kept("self"), "3");
    host.docker("exec three ping -c 1 -W 10 172.17.0.2").ok();
    let shown = "run --rm -v /:/host busybox grep -c /host/run/linkspan/netns/ /proc/self/mountinfo";
    assert_eq!(host.docker(shown).ok(), "4");
    host.docker("rm -f one two three").ok();
    assert_eq!(kept("self"), "0");
}
