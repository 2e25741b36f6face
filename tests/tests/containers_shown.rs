//! What docker shows of containers: lists and their filters, logs, statistics, events, the daemon itself.

use std::io::{BufRead, BufReader, Read, Write};

use conformance::{Host, eventually};

#[test]
fn lists_filters_and_formats() {
    let Some(host) = Host::start() else { return };
    let check = |words: &str, out: &str| assert_eq!(host.docker(words).ok(), out, "{words}");
    host.docker("run --name failed busybox sh -c 'exit 3'").fails();
    host.docker("create --name fresh busybox").ok();
    host.docker("run -d --name box -p 8000-8002:8000-8002 -p 127.0.0.1:53:53/udp --expose 77 -l key=value -v data:/data --health-cmd true --health-interval 100ms busybox sleep 1000").ok();
    eventually("healthy", || host.docker("ps").ok().contains("(healthy)").then_some(()));
    let row = host.docker("ps --format '{{.Names}}|{{.State}}|{{.Image}}|{{.Command}}|{{.Labels}}|{{.Networks}}|{{.Mounts}}|{{.LocalVolumes}}'").ok();
    assert_eq!(row, "box|running|busybox|\"sleep 1000\"|key=value|bridge|data|1");
    let status = host.docker("ps --format '{{.Status}}'").ok();
    assert!(status.starts_with("Up ") && status.ends_with(" (healthy)"), "{status}");
    check(
        "ps --format '{{.Ports}}'",
        "127.0.0.1:53->53/udp, 77/tcp, 0.0.0.0:8000-8002->8000-8002/tcp, [::]:8000-8002->8000-8002/tcp",
    );
    check("port box 8001", "0.0.0.0:8001\n[::]:8001");
    host.docker("port box 7").fails_with("No public port '7' published for box");
    assert!(host.docker("ps -a --filter name=failed --format '{{.Status}}'").ok().starts_with("Exited (3) "));
    check("ps -a --filter name=fresh --format '{{.Status}}'", "Created");
    for (filter, names) in [
        ("status=exited", "failed"),
        ("status=created", "fresh"),
        ("exited=3", "failed"),
        ("label=key", "box"),
        ("label=key=other", ""),
        ("ancestor=busybox", "box failed fresh"),
        ("health=healthy", "box"),
        ("publish=8001", "box"),
        ("expose=77", "box"),
        ("network=bridge", "box failed fresh"),
        ("volume=data", "box"),
        ("volume=/data", "box"),
        ("before=box", "failed fresh"),
        ("since=failed", "box fresh"),
        ("name=^bo", "box"),
    ] {
        let found = host.sh(&format!("docker ps -a --filter '{filter}' --format '{{{{.Names}}}}' | sort | xargs")).ok();
        assert_eq!(found, names, "{filter}");
    }
    host.docker("ps --filter bogus=1").fails_with("invalid filter 'bogus'");
    check("ps -a -n 2 --format '{{.Names}}'", "box\nfresh");
    check("ps -l --format '{{.Names}}'", "box");
    assert!(host.docker("ps -s --format '{{.Size}}'").ok().contains("(virtual "));
    host.docker("rename box failed").fails_with("is already in use by container");
    host.docker("rename box box").fails_with("Renaming a container with the same name as its current name");
    host.docker("rename box 'x y'").fails_with("Invalid container name");
    check("top box -o pid,comm | grep -c sleep", "1");
    let stats = host.begin("docker stats --format '{{.Name}} {{.PIDs}}' box");
    eventually("a stream of statistics", || (stats.said().matches("box ").count() > 1).then_some(()));
}

#[test]
fn logs_across_rotation() {
    let Some(host) = Host::start() else { return };
    let check = |words: &str, out: &str| assert_eq!(host.sh(words).ok(), out, "{words}");
    host.docker("run --name rotated --log-opt max-size=10k --log-opt max-file=3 busybox sh -c 'for i in $(seq 1 1000); do echo line $i padding-padding; done'").ok();
    let lines: Vec<String> = host.docker("logs rotated").ok().lines().map(str::to_owned).collect();
    assert!((100..500).contains(&lines.len()), "three files of 10 kB: {}", lines.len());
    let numbers: Vec<usize> = lines.iter().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1) && numbers.last() == Some(&1000), "{numbers:?}");
    check("docker logs --tail 2 rotated", "line 999 padding-padding\nline 1000 padding-padding");
    check("docker logs --since 1h rotated | wc -l", &lines.len().to_string());
    check("docker logs --until 1h rotated | wc -l", "0");
    check("docker logs --since 2100-01-01T00:00:00 rotated | wc -l", "0");
    followed_across_rotation(&host);
    check("docker run --rm --log-driver none busybox echo shown", "shown");
    host.docker("run --name unlogged --log-driver none busybox true").ok();
    host.docker("logs unlogged").fails_with("configured logging driver does not support reading");
    host.docker("run --rm --log-driver syslog busybox true").fails_with("no log driver named 'syslog' is registered");
    host.docker("run --rm --log-opt bogus=1 busybox true")
        .fails_with("unknown log opt 'bogus' for json-file log driver");
}

#[test]
fn logs_with_details() {
    let Some(host) = Host::start() else { return };
    host.docker("run --name plain busybox echo hello").ok();
    assert_eq!(host.docker("logs --details plain").out, " hello\n");
    let options = "--log-opt labels=team --log-opt env-regex=^LE --log-opt tag='{{.ImageName}}/{{.Name}}'";
    host.docker(&format!("create --name told -l team='a b' -l other=1 -e LEVEL=5 {options} busybox echo hello")).ok();
    host.docker("rename told renamed").ok();
    host.docker("start -a renamed").ok();
    assert_eq!(host.docker("logs renamed").out, "hello\n");
    assert_eq!(host.docker("logs --details renamed").out, "LEVEL=5,tag=busybox%2Frenamed,team=a+b hello\n");
    let file = host.docker("inspect -f '{{.LogPath}}' renamed").ok();
    let attrs = r#""stream":"stdout","attrs":{"LEVEL":"5","tag":"busybox/renamed","team":"a b"},"time":"#;
    assert!(host.sh(&format!("cat {file}")).ok().contains(attrs));
    // What Docker takes at the start of the container is refused before there is one.
    host.docker("create --log-opt max-file=0 busybox").fails_with("max-file cannot be less than 1");
}

/// Nothing is lost to one who follows, as long as it is not further behind than what is kept: so each part waits until the one before was seen.
fn followed_across_rotation(host: &Host) {
    const PARTS: usize = 5;
    const LINES: usize = 60;
    let writes = format!(
        "echo line 0; for part in $(seq {PARTS}); do until [ -e /part$part ]; do sleep 0.05; done; \
         for n in $(seq $((part * {LINES} - {LINES} + 1)) $((part * {LINES}))); do echo line $n; done; done"
    );
    host.docker(&format!("run -d --name followed --log-opt max-size=3k --log-opt max-file=6 busybox sh -c '{writes}'"))
        .ok();
    let follower = host.begin("docker logs -f followed");
    for part in 1..=PARTS {
        let last = format!("line {}\n", LINES * (part - 1));
        follower.says(&last);
        host.docker(&format!("exec followed touch /part{part}")).ok();
    }
    let lines = follower.ends().ok();
    let expected: Vec<String> = (0..=PARTS * LINES).map(|number| format!("line {number}")).collect();
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    let kept = host.docker("logs followed").ok();
    assert!(!kept.contains("line 0\n"), "the first file is gone: {kept}");
}

#[test]
fn the_conditions_of_wait() {
    let Some(host) = Host::start() else { return };
    let wait = |name: &str, condition: &str, meanwhile: &str| {
        let mut stream = host.connect();
        write!(stream, "POST /v1.50/containers/{name}/wait?condition={condition} HTTP/1.0\r\n\r\n").expect("words");
        // The head of the answer comes when the wait has begun.
        let mut answer = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            answer.read_line(&mut line).expect("an answer");
            assert_ne!(line, "", "the daemon hung up");
        }
        host.sh(meanwhile).ok();
        let mut body = String::new();
        answer.read_to_string(&mut body).expect("the end of the answer");
        body.trim_end().to_owned()
    };
    host.docker("create --name box busybox sh -c 'sleep 0.3; exit 4'").ok();
    assert_eq!(wait("box", "not-running", ":"), "{\"StatusCode\":0}");
    assert_eq!(wait("box", "next-exit", "docker start box"), "{\"StatusCode\":4}");
    assert_eq!(wait("box", "not-running", ":"), "{\"StatusCode\":4}");
    assert_eq!(wait("box", "removed", "docker rm box"), "{\"StatusCode\":4}");
    assert!(wait("box", "removed", ":").contains("No such container: box"));
    host.docker("create --name other busybox").ok();
    assert!(wait("other", "bogus", ":").contains("invalid condition"));
    host.docker("run -d --name slow busybox sh -c 'sleep 0.5; exit 5'").ok();
    assert_eq!(host.docker("wait slow").ok(), "5");
}

#[test]
fn the_daemon_itself() {
    let Some(host) = Host::start() else { return };
    let info = host.docker("info");
    assert!(!info.err.to_lowercase().contains("warning") && !info.err.to_lowercase().contains("error"), "{}", info.err);
    assert!(info.ok().contains("Server Version"));
    let version = host.docker("version --format '{{.Server.APIVersion}} {{.Server.MinAPIVersion}}'").ok();
    assert_eq!(version, "1.50 1.24");
    host.docker("swarm init").fails_with("no Swarm mode");
    assert!(host.docker("plugin ls").ok().starts_with("ID"));
    host.sh("mkdir /run/context && echo FROM busybox > /run/context/Dockerfile").ok();
    host.sh("DOCKER_BUILDKIT=0 docker build /run/context")
        .fails_with("linkspan does not build images: build with another builder");
    let oldest = host.sh("DOCKER_API_VERSION=1.24 docker ps --format '{{.Names}}'");
    oldest.ok();
}

#[test]
fn hidden_and_read_only_paths() {
    let Some(host) = Host::start() else { return };
    let paths = |options: &str| {
        host.docker(&format!("create --name box {options} busybox")).ok();
        let shown =
            host.docker("inspect -f '{{json .HostConfig.MaskedPaths}} {{json .HostConfig.ReadonlyPaths}}' box").ok();
        host.docker("rm box").ok();
        shown
    };
    let usual = paths("");
    assert!(usual.starts_with("[\"/proc/asound\",") && usual.ends_with("\"/proc/sysrq-trigger\"]"), "{usual}");
    assert_eq!(paths("--privileged"), "null null");
    assert_eq!(paths("--security-opt systempaths=unconfined"), "[] []");
}

#[test]
fn the_built_in_image_ends_when_told() {
    let Some(host) = Host::start_with(&["--demo"]) else { return };
    host.docker("run -d --name web linkspan/demo").ok();
    eventually("it listens", || host.docker("logs web").ok().contains("listening").then_some(()));
    host.docker("stop web").ok();
    assert_eq!(host.docker("inspect -f '{{.State.ExitCode}}' web").ok(), "0", "it was not killed");
}

#[test]
fn the_built_in_image_is_as_old_as_the_binary() {
    let Some(host) = Host::start_with(&["--demo"]) else { return };
    let id = || host.docker("images --no-trunc --format '{{.CreatedSince}} {{.ID}}' linkspan/demo").ok();
    let before = id();
    assert!(before.contains(" ago ") && !before.contains("years"), "{before}");
    host.kill_daemon();
    host.start_daemon();
    assert_eq!(id().split(' ').next_back(), before.split(' ').next_back(), "the same binary is the same image");
}

#[test]
fn older_versions_of_the_api_are_spoken() {
    let Some(host) = Host::start() else { return };
    host.docker("network create net").ok();
    host.docker("run -d --name box --network net --network-alias other -h boxy busybox sleep 1000").ok();
    let id = host.docker("inspect -f '{{slice .Id 0 12}}' box").ok();
    let ask = |version: &str, words: &str| host.sh(&format!("DOCKER_API_VERSION={version} docker {words}")).ok();
    let network = "inspect -f '{{with .NetworkSettings.Networks.net}}{{.Aliases}} {{.DNSNames}}{{end}}' box";
    assert_eq!(ask("1.50", network), format!("[other] [box other {id} boxy]"));
    assert_eq!(ask("1.44", network), format!("[other {id} boxy] [box other {id} boxy]"));
    assert_eq!(ask("1.43", network), format!("[other {id} boxy] []"));
    for version in ["1.24", "1.30", "1.41", "1.47"] {
        assert_eq!(ask(version, "ps --format '{{.Names}} {{.State}}'"), "box running", "{version}");
        assert_eq!(ask(version, "exec box hostname"), "boxy", "{version}");
        assert_eq!(ask(version, "run --rm busybox echo done"), "done", "{version}");
        assert_eq!(ask(version, "images --format '{{.Repository}}'"), "busybox", "{version}");
        assert_eq!(ask(version, "network ls -q --filter name=^net$ | wc -l"), "1", "{version}");
    }
    // Before 1.40 whoever said nothing shared memory with those who asked.
    let mode = |version: &str| {
        let name = format!("made-{}", version.replace('.', "-"));
        ask(version, &format!("create --name {name} busybox"));
        host.docker(&format!("inspect -f '{{{{.HostConfig.IpcMode}}}}' {name}")).ok()
    };
    assert_eq!((mode("1.39"), mode("1.40")), ("shareable".to_owned(), "private".to_owned()));
    // Before 1.25 clients removed what they had run with --rm.
    let body = "'{\"Image\":\"busybox\",\"HostConfig\":{\"AutoRemove\":true}}'";
    let create = |version: &str| {
        let post = "curl -s --unix-socket /var/run/docker.sock -H 'Content-Type: application/json' -d";
        let id = format!("{post} {body} http://docker/v{version}/containers/create | grep -o '[0-9a-f]\\{{64\\}}'");
        let id = host.sh(&id).ok();
        host.docker(&format!("inspect -f '{{{{.HostConfig.AutoRemove}}}}' {id}")).ok()
    };
    assert_eq!((create("1.24"), create("1.25")), ("false".to_owned(), "true".to_owned()));
}
