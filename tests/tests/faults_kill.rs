//! The daemon, the shim, the container and the host die; nothing is lost, and nothing stays that should not.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use conformance::{From, Host, eventually};

/// How often the daemon is killed.
const KILLS: u32 = 100;

/// Somebody who does everything all the time, whether there is a daemon or not, and notes what succeeds; `$1` tells apart those who do.
/// No name here can be the beginning of an id: where the name is missing, that container would be meant.
const LOAD: &str = r#"
    n=$1
    try() { docker "$@" >/dev/null 2>&1 && echo "$1 $2" >> /run/succeeded; }
    while [ ! -e /run/enough ]; do
        try network create net$n
        try run -d --name stays$n --cgroup-parent $PARENT --network net$n -p 127.0.0.1::80 -v vol$n:/v busybox sleep 1000
        try network connect bridge stays$n
        try run --rm --name short$n --cgroup-parent $PARENT --network net$n busybox true
        try exec stays$n touch /new
        try update --pids-limit 50 stays$n
        try rename stays$n other$n
        try rename other$n stays$n
        try commit -m new stays$n made$n
        try tag made$n also$n:made
        try import $ARCHIVE brought$n
        try network disconnect net$n stays$n
        try stop -t 0 stays$n
        try start stays$n
        try kill stays$n
        try rm stays$n
        try rm -f stays$n
        try rm -f other$n
        try rm -f short$n
        try rmi made$n
        try rmi -f made$n also$n:made brought$n
        try volume rm vol$n
        try network rm net$n
    done
"#;
/// The beginnings of its commands.
const KINDS: [&str; 19] = [
    "network create",
    "run -d",
    "network connect",
    "run --rm",
    "exec stays",
    "update --pids-limit",
    "rename stays",
    "rename other",
    "commit -m",
    "tag made",
    "import",
    "network disconnect",
    "stop -t",
    "start stays",
    "kill stays",
    "rm stays",
    "rmi made",
    "volume rm",
    "network rm",
];

#[test]
fn the_daemon_is_killed_a_hundred_times() {
    let group = Group(format!("linkspan-kill-{}", std::process::id()));
    let Some(host) = Host::start() else { return };
    let parent = format!("/{}", group.0);
    let rules = host.sh("nft list ruleset").ok();
    let images = images(&host);
    let run = |words: &str| host.docker(&format!("run -d --cgroup-parent {parent} {words}")).ok();
    run("--name echo -p 8080:80 busybox socat TCP-LISTEN:80,fork,reuseaddr EXEC:cat");
    run("--name always --restart always --network none busybox sleep 100000");
    let short = run("--name short busybox sh -c 'echo said; exit 7'");
    eventually("the short one has ended", || {
        (host.docker("inspect -f {{.State.Running}} short").ok() == "false").then_some(())
    });
    let facts = || {
        let what = "'{{.Name}} {{.State.Status}} {{.State.Pid}} {{.State.ExitCode}} {{.RestartCount}} {{json .NetworkSettings.Networks}} {{json .NetworkSettings.Ports}}'";
        host.docker(&format!("inspect -f {what} echo always short")).ok()
    };
    let before = facts();
    let mut line = Line::open(&host, "socat - TCP:192.0.2.1:8080");
    let mut load: Vec<Child> = (0..3).map(|n| start(&host, &parent, n)).collect();

    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.subsec_nanos()) | 1;
    eprintln!("seed {seed}");
    let mut random = seed;
    for kill in 0..KILLS {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        std::thread::sleep(Duration::from_millis(u64::from(random >> 16) % 250));
        host.kill_daemon();
        line.echoes(&format!("no daemon {kill}"));
        host.start_daemon();
        line.echoes(&format!("daemon {kill}"));
    }

    for kind in KINDS {
        let succeeded = format!("grep -c '^{kind}' /run/succeeded");
        let times = eventually(&format!("`docker {kind}` succeeds"), || {
            Some(host.sh(&succeeded)).filter(|said| said.code == 0)
        });
        println!("docker {kind}: {} times", times.ok());
    }
    host.sh("touch /run/enough").ok();
    for child in &mut load {
        child.wait().expect("the load ends");
    }
    assert_eq!(facts(), before, "what ran before runs on");
    assert_eq!(host.docker("logs short").ok(), "said");
    assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
    line.echoes("the end");
    // What is not there any more is no failure.
    host.sh(
        "docker rm -f $(docker ps -aq); docker volume rm $(docker volume ls -q); docker network prune -f; \
         docker rmi -f $(docker images -q -f reference='made*' -f reference='also*:made' -f reference='brought*'); docker image prune -f",
    );
    assert_eq!(self::images(&host), images, "images and layers");
    host.kill_daemon();
    host.start_daemon();
    nothing_is_left(&host, &parent, &rules, &short);
}

fn start(host: &Host, parent: &str, n: u32) -> Child {
    let mut load = host.inside();
    load.args(["sh", "-c", LOAD, "load", &n.to_string()]).stdin(Stdio::null());
    load.env("PARENT", parent).env("ARCHIVE", host.path().join("busybox.tar"));
    load.spawn().expect("nsenter runs")
}

/// The images that are there, and what the store holds.
fn images(host: &Host) -> [String; 2] {
    let stored = format!("cd {}/images && ls layers configs tmp", host.data_root().display());
    [host.docker("images -a --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}'").ok(), host.sh(&stored).ok()]
}

fn nothing_is_left(host: &Host, parent: &str, rules: &str, short: &str) {
    assert_eq!(host.docker("ps -aq").ok(), "");
    assert_eq!(host.docker("volume ls -q").ok(), "");
    assert_eq!(
        host.docker("network ls --format {{.Name}}").ok().split_whitespace().collect::<Vec<_>>(),
        ["bridge", "host", "none"]
    );
    assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
    assert_eq!(
        host.sh("ls /run/linkspan/netns /run/linkspan/containers | grep '^[0-9a-f]'; true").ok(),
        "",
        "run directory"
    );
    eventually("the links are gone", || {
        let links = host.sh("ip -o link | grep -v -e ' lo:' -e ' uplink@' -e ' docker0:'; true").ok();
        links.is_empty().then_some(())
    });
    assert_eq!(host.sh("nft list ruleset").ok(), rules, "rules");
    eventually("the shims have ended", || (host.sh("pgrep -f '[s]him '").code != 0).then_some(()));
    assert_eq!(
        host.sh("grep -e overlay -e nsfs /proc/self/mountinfo | grep -v /run/netns/outside; true").ok(),
        "",
        "mounts"
    );
    assert_eq!(host.groups(&format!("-path '*{parent}/*'")), "", "control groups");
    assert_eq!(host.groups(&format!("-path '*/linkspan/{short}'")), "", "control groups");
    let data = host.data_root();
    for dir in ["containers", "volumes"] {
        let left: Vec<_> =
            fs::read_dir(data.join(dir)).into_iter().flatten().flatten().map(|e| e.file_name()).collect();
        assert!(left.is_empty(), "{dir}: {left:?}");
    }
    host.kill_daemon();
    let rows =
        host.sh(&format!("sqlite3 {}/state.db 'select kind, count(*) from record group by kind'", data.display())).ok();
    assert_eq!(rows, "network|3\nsettings|1", "rows of the journal");
    host.start_daemon();
}

/// A control group that every container of a test is below; it goes when they have gone with their host.
struct Group(String);

impl Drop for Group {
    fn drop(&mut self) {
        let root = Path::new("/sys/fs/cgroup");
        for controller in fs::read_dir(root).into_iter().flatten().flatten() {
            // Not every entry is a hierarchy.
            let _ = fs::remove_dir(controller.path().join(&self.0));
        }
        let _ = fs::remove_dir(root.join(&self.0));
    }
}

/// A conversation over one connection.
struct Line {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Line {
    fn open(host: &Host, script: &str) -> Self {
        let mut outside = host.inside();
        outside.args(["ip", "netns", "exec", "outside", "sh", "-c", script]);
        let mut child = outside.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("nsenter runs");
        let (to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut line = Self { child, to, from: BufReader::new(from) };
        line.echoes("hello");
        line
    }

    fn echoes(&mut self, words: &str) {
        writeln!(self.to, "{words}").expect("the connection takes words");
        let mut answer = String::new();
        self.from.read_line(&mut answer).expect("the connection answers");
        assert_eq!(answer.trim_end(), words, "the connection broke");
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a process is gone: one that was killed is there until its parent has looked.
fn has_ended(host: &Host, pid: &str) {
    eventually(&format!("process {pid} is gone"), || (host.sh(&format!("kill -0 {pid}")).code != 0).then_some(()));
}

#[test]
fn a_shim_is_killed() {
    let Some(host) = Host::start() else { return };
    for daemon in ["there", "away"] {
        let id = host.docker("run -d --name web -p 8080:80 busybox httpd -f -p 80 -h /var/www").ok();
        let pid = host.docker("inspect -f {{.State.Pid}} web").ok();
        let shim = format!("pgrep -f '[s]him /run/linkspan/containers/{id}'");
        if daemon == "away" {
            host.kill_daemon();
        }
        host.sh(&format!("kill -9 $({shim})")).ok();
        if daemon == "away" {
            host.start_daemon();
        }
        eventually("its end is known", || {
            (host.docker("inspect -f '{{.State.Status}} {{.State.ExitCode}}' web").ok() == "exited 137").then_some(())
        });
        has_ended(&host, &pid);
        assert_eq!(host.sh("ls /run/linkspan/netns").ok(), "");
        assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
        host.docker("start web").ok();
        // It can be started again.
        host.reaches(From::Outside, "192.0.2.1:8080");
        host.docker("rm -f web").ok();
        assert_eq!(host.sh("ls /run/linkspan/containers").ok(), "", "{daemon}");
        assert_eq!(host.groups(&format!("-name {id}")), "");
    }
}

#[test]
fn a_shim_is_stopped() {
    let Some(host) = Host::start() else { return };
    let id = host.docker("run -d -i --name hangs busybox sh -c 'echo up; read x; echo $x; exit 3'").ok();
    host.docker("run -d --name other -p 8080:80 busybox httpd -f -p 80 -h /var/www").ok();
    let shim = host.sh(&format!("pgrep -f '[s]him /run/linkspan/containers/{id}'")).ok();
    host.sh(&format!("kill -STOP {shim}")).ok();
    host.kill_daemon();
    // The daemon is there although one shim says nothing, and every other container is as ever.
    host.start_daemon();
    assert_eq!(host.docker("ps --format '{{.Names}} {{.State}}'").ok(), "other running\nhangs running");
    assert_eq!(host.docker("exec other echo well").ok(), "well");
    host.reaches(From::Outside, "192.0.2.1:8080");
    eventually("it is said which one is in trouble", || {
        host.daemon_log().contains(&format!("the shim of container {id} does not answer")).then_some(())
    });
    host.sh(&format!("kill -CONT {shim}")).ok();
    eventually("it is well again", || host.daemon_log().contains("answers again").then_some(()));
    assert_eq!(host.docker("exec hangs echo well").ok(), "well");
    host.sh("echo said | docker attach hangs").fails();
    assert_eq!(host.docker("logs hangs").ok(), "up\nsaid");
    assert_eq!(host.docker("wait hangs").ok(), "3");

    // One that hangs for good does not save its container from being killed, nor from a signal, nor from removal.
    let shim = || host.sh(&format!("pgrep -f '[s]him /run/linkspan/containers/{id}'")).ok();
    host.docker("start hangs").ok();
    host.sh(&format!("kill -STOP {}", shim())).ok();
    host.docker("kill hangs").ok();
    assert_eq!(host.docker("inspect -f '{{.State.Status}} {{.State.ExitCode}}' hangs").ok(), "exited 137");
    host.docker("start hangs").ok();
    let shim = shim();
    let process = host.docker("inspect -f {{.State.Pid}} hangs").ok();
    host.sh(&format!("kill -STOP {shim}")).ok();
    host.docker("kill -s STOP hangs").ok();
    eventually("its process is stopped", || {
        (host.sh(&format!("grep -c 'State:.T' /proc/{process}/status")).out.trim() == "1").then_some(())
    });
    host.docker("rm -f hangs").ok();
    has_ended(&host, &process);
    has_ended(&host, &shim);
}

#[test]
fn a_process_is_killed() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name one busybox sleep 1000").ok();
    host.docker("run -d --name again --restart always -p 8080:80 busybox httpd -f -p 80 -h /var/www").ok();
    host.sh("kill -9 $(docker inspect -f {{.State.Pid}} one again)").ok();
    assert_eq!(host.docker("wait one").ok(), "137");
    eventually("the other runs again", || {
        let state = host.docker("inspect -f '{{.State.Status}} {{.RestartCount}}' again").ok();
        (state == "running 1").then_some(())
    });
    host.reaches(From::Outside, "192.0.2.1:8080");
}

#[test]
fn a_container_is_removed_while_it_starts() {
    let Some(host) = Host::start() else { return };
    for n in 0..20 {
        host.docker(&format!("create --name hasty{n} -p 8080 -v /data busybox sleep 424242")).ok();
        let pause = f64::from(n) / 200.0;
        host.sh(&format!("docker start hasty{n} >/dev/null 2>&1 & sleep {pause}; docker rm -fv hasty{n}; wait")).ok();
    }
    assert_eq!(host.docker("ps -aq").ok(), "");
    eventually("no process is left", || (host.sh("pgrep -f 'sleep 4[2]4242'").code != 0).then_some(()));
    for place in ["/run/linkspan/netns", "/run/linkspan/containers"] {
        assert_eq!(host.sh(&format!("ls {place}")).ok(), "", "{place}");
    }
    for place in ["containers", "volumes"] {
        assert_eq!(host.sh(&format!("ls {}/{place}", host.data_root().display())).ok(), "", "{place}");
    }
    assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
}

#[test]
fn the_host_is_rebooted() {
    let Some(host) = Host::start() else { return };
    host.docker("network create mine").ok();
    host.docker("run -d --name always --restart always --network mine -p 8080:80 busybox httpd -f -p 80 -h /var/www")
        .ok();
    host.docker("run -d --name unless --restart unless-stopped busybox sleep 1000").ok();
    host.docker("run -d --name stopped --restart unless-stopped busybox sleep 1000").ok();
    host.docker("stop -t 0 stopped").ok();
    host.docker("run -d --name never --network mine busybox sleep 1000").ok();
    host.docker("run -d --rm --name once busybox sleep 1000").ok();
    let pids = host.docker("inspect -f {{.State.Pid}} always unless never once").ok().replace('\n', " ");
    host.kill_daemon();
    host.sh(&format!("kill -9 $(pgrep -f '[s]him /run/linkspan/') {pids}")).ok();
    host.sh("nft flush ruleset; for link in $(ip -o link | grep -o -e 'docker0' -e 'br-[0-9a-f]*' | sort -u); do ip link del $link; done").ok();
    host.sh("umount /run/linkspan/netns/* 2>/dev/null; umount /run/linkspan/netns; rm -rf /run/linkspan").ok();
    host.start_daemon();
    eventually("those that always run do", || {
        (host.docker("ps --format {{.Names}}").ok().split_whitespace().count() == 2).then_some(())
    });
    host.reaches(From::Outside, "192.0.2.1:8080");
    let state = |name: &str| host.docker(&format!("inspect -f '{{{{.State.Status}}}} {{{{.State.ExitCode}}}}' {name}"));
    assert_eq!(state("never").ok(), "exited 255");
    assert_eq!(state("stopped").ok(), "exited 137");
    eventually("what was to be removed is", || (state("once").code != 0).then_some(()));
    assert_eq!(host.sh("ls /run/linkspan/netns | wc -l").ok(), "2");
    assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
    host.docker("start never").ok();
}

#[test]
fn a_damaged_journal_is_refused() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name web busybox sleep 1000").ok();
    host.docker("network create mine").ok();
    host.kill_daemon();
    let journal = host.data_root().join("state.db");
    let name = journal.display();
    // What SQLite still has in its log belongs to it.
    host.sh(&format!("sqlite3 {name} 'pragma wal_checkpoint(truncate)' && cp {name} /run/whole && rm -f {name}-*"))
        .ok();
    let check = |harm: &str, said: &str| {
        host.sh(&format!("cp /run/whole {name}; {harm}")).ok();
        let up = host.linkspan(&format!("up --data-root {}", host.data_root().display()));
        up.fails_with(said);
    };
    check(&format!("truncate -s 0 {name}"), "move it away to start without");
    check(&format!("truncate -s 5000 {name}"), "move it away to start without");
    check(&format!("truncate -s 50 {name}"), "move it away");
    check(&format!("head -c 100000 /dev/urandom > {name}"), "move it away");
    check(&format!("dd if=/dev/urandom of={name} bs=1 seek=4096 count=4096 conv=notrunc status=none"), "is damaged");
    check(
        &format!("sqlite3 {name} \"update record set body = '{{}}' where kind = 'container'\""),
        "a record cannot be read",
    );
    check(&format!("sqlite3 {name} 'pragma user_version = 99'"), "use the version that wrote it");
    host.sh(&format!("cp /run/whole {name}")).ok();
    host.start_daemon();
    assert_eq!(host.docker("ps --format {{.Names}}").ok(), "web", "nothing was harmed by the refusals");
}
