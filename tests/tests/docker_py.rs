//! docker-py's own integration tests, from its source distribution, against a daemon on a host of its own.
//!
//! `docker_py/left_out.txt` says which tests are left out and why. Their images come from a registry on the host, which the daemon
//! has as its mirror: so pulling is tested too.

use std::{
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

/// The files of tests; the others are about builds, plugins and Swarm.
const FILES: [&str; 16] = [
    "api_client_test.py",
    "api_container_test.py",
    "api_exec_test.py",
    "api_healthcheck_test.py",
    "api_image_test.py",
    "api_network_test.py",
    "api_volume_test.py",
    "client_test.py",
    "context_api_test.py",
    "errors_test.py",
    "models_containers_test.py",
    "models_images_test.py",
    "models_networks_test.py",
    "models_resources_test.py",
    "models_volumes_test.py",
    "regression_test.py",
];
const FOLDER: &str = "tests/integration";
/// Those that docker-py can only do over TCP: it has no WebSockets over unix sockets.
const OVER_TCP: [&str; 1] = ["api_container_test.py::AttachContainerTest::test_run_container_reading_socket_ws"];

const REGISTRY: &str = "127.0.0.1:5000";

#[test]
fn docker_py_passes_its_own_tests() {
    let Some(suite) = Suite::fetch() else { return };
    let Some(host) = host() else { return };
    let left_out = left_out(&suite.source);
    let files: Vec<String> = FILES.iter().map(|file| format!("{FOLDER}/{file}")).collect();
    let apart = left_out.iter().map(String::as_str).chain(OVER_TCP);
    let rest: Vec<String> = apart.map(|test| format!("--deselect={FOLDER}/{test}")).collect();
    let said = suite.run(&host, "unix:///var/run/docker.sock", [files, rest].concat());
    println!("docker-py: {said}; {} left out by name", left_out.len());
    host.sh("socat TCP-LISTEN:2375,bind=127.0.0.1,fork UNIX-CONNECT:/var/run/docker.sock </dev/null >/dev/null 2>&1 &")
        .ok();
    eventually("the socket is there by TCP too", || (host.sh("curl -s 127.0.0.1:2375/_ping").code == 0).then_some(()));
    let over_tcp = OVER_TCP.map(|test| format!("{FOLDER}/{test}")).to_vec();
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

    /// Runs tests against a daemon; the last line that they say when all pass.
    fn run(&self, host: &Host, docker_host: &str, arguments: Vec<String>) -> String {
        let mut run = host.inside();
        run.arg("sh").arg("-c").arg("cd \"$1\" && shift && exec \"$@\"").arg("sh").arg(&self.source).arg(&self.python);
        run.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "180", "--durations", "5"])
            .args(arguments);
        run.env("DOCKER_HOST", docker_host).env("DOCKER_TEST_API_VERSION", API_VERSION);
        let output = run.stdin(Stdio::null()).output().expect("nsenter runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        said.lines().last().unwrap_or_default().to_owned()
    }
}

/// The tests that are left out; each must exist.
fn left_out(source: &Path) -> Vec<String> {
    let mut tests = Vec::new();
    for line in include_str!("docker_py/left_out.txt").lines() {
        let (test, why) = line.split_once('#').unwrap_or_else(|| panic!("it says no reason: {line}"));
        assert!(!why.trim().is_empty(), "it says no reason: {line}");
        let parts: Vec<&str> = test.trim().split("::").collect();
        let [file, class, name] = parts[..] else { panic!("not FILE::CLASS::TEST: {line}") };
        let text = fs::read_to_string(source.join(FOLDER).join(file)).expect("the file of the test is there");
        let known = text.contains(&format!("class {class}(")) && text.contains(&format!("def {name}("));
        assert!(FILES.contains(&file) && known, "no such test is run: {line}");
        tests.push(test.trim().to_owned());
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
    let host = Host::start_with(&["--config", &config.display().to_string()])?;
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
