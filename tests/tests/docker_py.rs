//! docker-py's own integration tests, from its source distribution, against a daemon on a host of its own.
//!
//! `docker_py/left_out.txt` says which tests are left out and why; all others are run. Their images come from a registry on the host, which the daemon
//! has as its mirror: so pulling is tested too.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use conformance::{Host, eventually};

/// The newest whose source distribution has its tests.
const DOCKER_PY: &str = "docker==7.0.0";
/// The API version that it speaks: the first in which a container's aliases are what its tests expect, those that were asked for.
const API_VERSION: &str = "1.45";
/// What its tests need; later releases of requests do not know the unix socket of this docker-py.
const NEEDS: [&str; 5] = ["pytest==7.4.2", "pytest-timeout==2.1.0", "requests<2.32", "paramiko", "websocket-client"];

const FOLDER: &str = "tests/integration";
/// Those that docker-py can only do over TCP: it has no WebSockets over unix sockets.
const OVER_TCP: [&str; 1] = ["api_container_test.py::AttachContainerTest::test_run_container_reading_socket_ws"];

const REGISTRY: &str = "127.0.0.1:5000";

#[test]
fn docker_py_passes_its_own_tests() {
    let Some(suite) = Suite::fetch() else { return };
    let Some(host) = host() else { return };
    let unix = "unix:///var/run/docker.sock";
    let all = suite.collect(&host, unix);
    let left_out = left_out();
    let unknown: Vec<_> = left_out.difference(&all).collect();
    assert!(unknown.is_empty(), "docker_py/left_out.txt names tests that are not there: {unknown:?}");
    let over_tcp: BTreeSet<String> = OVER_TCP.map(ToOwned::to_owned).into();
    let here = all.difference(&left_out).filter(|test| !over_tcp.contains(*test)).cloned();
    println!("docker-py: {}; {} left out by name", suite.run(&host, unix, here.collect()), left_out.len());
    host.sh("socat TCP-LISTEN:2375,bind=127.0.0.1,fork UNIX-CONNECT:/var/run/docker.sock </dev/null >/dev/null 2>&1 &")
        .ok();
    eventually("the socket is there by TCP too", || (host.sh("curl -s 127.0.0.1:2375/_ping").code == 0).then_some(()));
    println!("docker-py over TCP: {}", suite.run(&host, "tcp://127.0.0.1:2375", over_tcp));
}

/// The sources of docker-py, and a Python that has what they need.
struct Suite {
    source: PathBuf,
    python: PathBuf,
}

impl Suite {
    /// Fetches both by name, once; none, said loudly, where that cannot be.
    fn fetch() -> Option<Self> {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("docker-py");
        let suite = Self { source: cache.join("source"), python: cache.join("venv/bin/python") };
        let whole = cache.join("whole");
        let wanted = format!("{DOCKER_PY} {}", NEEDS.join(" "));
        if fs::read_to_string(&whole).is_ok_and(|had| had == wanted) {
            return Some(suite);
        }
        let script = r#"
            set -e
            cache=$1 docker_py=$2; shift 2
            rm -rf "$cache"; mkdir -p "$cache/source"; cd "$cache"
            python3 -m venv venv
            venv/bin/pip install -q "$@"
            venv/bin/pip download -q --no-deps --no-binary docker "$docker_py"
            venv/bin/pip install -q ./docker-*.tar.gz "$@"
            tar -xzf docker-*.tar.gz --strip-components 1 -C source
        "#;
        let mut fetch = Command::new("sh");
        fetch.args(["-c", script, "fetch"]).arg(&cache).arg(DOCKER_PY).args(NEEDS);
        let output = fetch.stdin(Stdio::null()).output().expect("sh runs");
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            eprintln!("SKIPPED: {DOCKER_PY} or what its tests need cannot be fetched with pip: {why}");
            return None;
        }
        fs::write(whole, wanted).expect("the cache can be marked");
        Some(suite)
    }

    /// Every test that there is. (Some files ask the daemon when they are read.)
    fn collect(&self, host: &Host, docker_host: &str) -> BTreeSet<String> {
        let said = self.pytest(host, docker_host, &["--collect-only".to_owned(), FOLDER.to_owned()]);
        let tests = said.lines().filter_map(|line| line.strip_prefix(FOLDER)?.strip_prefix('/'));
        tests.map(ToOwned::to_owned).collect()
    }

    /// Runs tests against a daemon; the last line that they say when all pass.
    fn run(&self, host: &Host, docker_host: &str, tests: BTreeSet<String>) -> String {
        let tests = tests.into_iter().map(|test| format!("{FOLDER}/{test}"));
        let arguments: Vec<String> = ["--durations=5".to_owned()].into_iter().chain(tests).collect();
        let said = self.pytest(host, docker_host, &arguments);
        said.lines().last().unwrap_or_default().to_owned()
    }

    /// What pytest says when it succeeds.
    fn pytest(&self, host: &Host, docker_host: &str, arguments: &[String]) -> String {
        let mut run = host.inside();
        run.arg("sh").arg("-c").arg("cd \"$1\" && shift && exec \"$@\"").arg("sh").arg(&self.source).arg(&self.python);
        run.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "180"]).args(arguments);
        run.env("DOCKER_HOST", docker_host).env("DOCKER_TEST_API_VERSION", API_VERSION);
        let output = run.stdin(Stdio::null()).output().expect("nsenter runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        said
    }
}

/// The tests that are left out: those of a reason follow it.
fn left_out() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    let mut reason = None;
    for line in include_str!("docker_py/left_out.txt").lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(why) => reason = Some(why),
            None => {
                assert!(reason.is_some(), "it says no reason: {line}");
                assert!(tests.insert(line.to_owned()), "it is there twice: {line}");
            }
        }
    }
    tests
}

/// A host whose daemon has a mirror of its own, with the images that the tests name.
fn host() -> Option<Host> {
    if Command::new("docker-registry").arg("--version").output().is_err() {
        eprintln!("SKIPPED: docker-registry is missing: apt-get install docker-registry");
        return None;
    }
    let files = tempfile::tempdir().expect("a temporary directory");
    let config = files.path().join("linkspan.toml");
    fs::write(&config, format!("[images]\nmirrors = [\"http://{REGISTRY}\"]\n")).expect("it is written");
    // With all that a daemon serves unless told: Kubernetes beside it must not be seen by these clients.
    let host = Host::empty()?.with_all_faces().with_arguments(&["--config", &config.display().to_string()]);
    host.start_daemon();
    // As systemd leaves it: tests mount with the propagation rshared.
    host.sh("mount --make-rshared /").ok();
    start_registry(&host);
    host.load_image();
    // What is in alpine, and a layer of its own for each.
    let like_alpine = "mkdir -p /var/opt; echo postgres:x:70:70::/var/lib/postgresql:/bin/sh >>/etc/passwd";
    for name in ["alpine:3.10", "hello-world:latest", "busybox:latest"] {
        host.docker(&format!("run --name made busybox sh -c '{like_alpine}; echo {name} >/etc/issue'")).ok();
        host.docker(&format!("commit -c 'CMD [\"sh\"]' made {name}")).ok();
        host.docker("rm made").ok();
    }
    host.docker("tag alpine:3.10 alpine:latest").ok();
    for name in ["alpine:3.10", "alpine:latest", "busybox:latest", "hello-world:latest"] {
        let pushed = format!("{REGISTRY}/library/{name}");
        host.sh(&format!("docker tag {name} {pushed} && docker push -q {pushed} && docker rmi {pushed}")).ok();
    }
    // Contexts are kept beside it.
    let settings = host.path().join(".docker");
    fs::create_dir_all(&settings).and_then(|()| fs::write(settings.join("config.json"), "{}")).expect("it is written");
    Some(host)
}

fn start_registry(host: &Host) {
    let config = host.path().join("registry.yml");
    let root = host.path().join("registry");
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{REGISTRY}\"}}\n",
        root.display()
    );
    fs::write(&config, text).expect("it is written");
    // It ends with the host's process namespace.
    host.sh(&format!("docker-registry serve {} </dev/null >/dev/null 2>&1 &", config.display())).ok();
    eventually("the registry answers", || (host.sh(&format!("curl -s {REGISTRY}/v2/")).code == 0).then_some(()));
    // What is not in the mirror is asked for elsewhere; no name server is better than one that cannot be reached.
    let resolver = host.path().join("resolv.conf");
    fs::write(&resolver, "nameserver 127.0.0.1\n").expect("it is written");
    host.sh(&format!("mount --bind {} /etc/resolv.conf", resolver.display())).ok();
}
