//! Commands at a terminal (the walk has a shell at one), and what their streams do without.

use conformance::{Host, Terminal, eventually};
use rustix::process::Signal;

#[test]
fn other_commands_at_a_terminal() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name box busybox sleep 1000").ok();
    let mut exec = Terminal::docker(&host, "exec -it -e PS1=prompt: box /bin/bash --norc");
    exec.shows("prompt:");
    exec.types("tty; stty size; exit 5\n");
    exec.shows("30 90");
    assert_eq!(exec.ends().0, Some(5));

    let mut keys = Terminal::docker(&host, "run -it --detach-keys ctrl-a,b -e PS1=prompt: --name keys busybox sh");
    keys.shows("prompt:");
    keys.types("\x01b");
    assert_eq!(keys.ends().0, Some(0));
    for _ in 0..2 {
        let mut start = Terminal::docker(&host, "start -ai keys");
        start.types("echo sum $((40 + 2)); exit 6\n");
        start.shows("sum 42");
        assert_eq!(start.ends().0, Some(6));
    }

    let mut external =
        Terminal::docker(&host, "run -it --rm --runtime /usr/sbin/runc busybox sh -c 'tty; stty size; exit 3'");
    external.shows("/dev/pts/0");
    external.shows("30 90");
    assert_eq!(external.ends().0, Some(3));
}

#[test]
fn streams_without_a_terminal() {
    let Some(host) = Host::start() else { return };
    let check = |script: &str, code: i32, out: &str| {
        let said = host.sh(script);
        assert_eq!((said.code, said.out.trim()), (code, out), "{script}: {}", said.err);
    };
    // The end of input reaches the process, and its output goes on.
    check("printf 'a\\nb\\n' | docker run -i --rm busybox sh -c 'wc -l; sleep 0.2; echo after; exit 3'", 3, "2\nafter");
    check("head -c 5000000 /dev/zero | docker run -i --rm busybox cat | wc -c", 0, "5000000");
    check(
        "docker run --rm busybox sh -c 'head -c 3000000 /dev/zero; head -c 2000000 /dev/zero >&2' 2>/dev/null | wc -c",
        0,
        "3000000",
    );
    check("docker run --rm -a stderr busybox sh -c 'echo out; echo err >&2' 2>&1", 0, "err");
    check("docker run --rm -a stdout busybox sh -c 'echo out; echo err >&2' 2>&1", 0, "out");
    host.docker("create -i --name once busybox sh -c 'read x; echo got $x; exit 4'").ok();
    check("echo one | docker start -ai once", 4, "got one");
    check("echo two | docker start -ai once", 4, "got two");
}

#[test]
fn attaching_without_a_terminal() {
    let Some(host) = Host::start() else { return };
    let loops = "sh -c 'trap \"echo term; exit 8\" TERM; trap \"echo hup\" HUP; echo ready; while :; do echo turn; sleep 0.1; done'";
    let logs = |name: &str, line: &str| {
        let words = format!("logs {name}");
        eventually(&format!("{name} says {line}"), || host.docker(&words).out.lines().any(|l| l == line).then_some(()));
    };
    // Signals go on to the process.
    host.docker(&format!("run -d --name proxied busybox {loops}")).ok();
    logs("proxied", "ready");
    // Once it shows something it is attached.
    let proxied = host.begin("docker attach proxied");
    proxied.says("turn");
    proxied.signal(Signal::HUP);
    proxied.says("hup");
    proxied.signal(Signal::TERM);
    assert_eq!(proxied.ends().code, 8);
    logs("proxied", "hup");
    // Unless they should not.
    host.docker(&format!("run -d --name own busybox {loops}")).ok();
    let own = host.begin("docker attach --sig-proxy=false own");
    own.says("turn");
    // Who does not pass it on dies of it.
    own.signal(Signal::HUP);
    own.ends().fails();
    let turns = || host.docker("logs own").ok().matches("turn").count();
    let before = turns();
    eventually("the container goes on", || (turns() > before + 1).then_some(()));
    assert!(!host.docker("logs own").ok().contains("hup"), "it was told of the signal");
    // Input that ends leaves a container that keeps its input open.
    host.docker("run -d -i --name kept busybox sh -c 'while read x; do echo got $x; done'").ok();
    let gives = |word: &str| {
        let _client = host.begin(&format!("docker attach kept <<END\n{word}\nEND"));
        logs("kept", &format!("got {word}"));
    };
    gives("one");
    let deaf = host.begin("docker attach --no-stdin kept <<END\nnever\nEND");
    let mut turn = 0;
    eventually("the deaf one is attached", || {
        turn += 1;
        gives(&format!("turn {turn}"));
        deaf.said().contains("got turn").then_some(())
    });
    gives("two");
    deaf.says("got two");
    assert!(!host.docker("logs kept").ok().contains("never"));
    host.docker("create -t --name screen busybox sh").ok();
    host.docker("start screen").ok();
    host.docker("attach screen").fails_with("not a TTY");
    host.docker("attach nosuch").fails_with("No such container");
}
