//! Images from registries that misbehave, and through proxies, with the real docker command. Everything is on the host's loopback.

use std::{fs, thread};

use conformance::{Host, eventually};

/// Starts one of the scripts beside this file; what it tells goes to `NAME.told`.
fn start(host: &Host, name: &str, script: &str, port: u16, more: &str) {
    let file = host.path().join(format!("{name}.py"));
    let told = host.path().join(format!("{name}.told"));
    fs::write(&file, script).unwrap();
    fs::write(&told, "").unwrap();
    let command = format!("python3 {} {port} {} {more}", file.display(), told.display());
    host.sh(&format!("{command} </dev/null >{}.log 2>&1 &", told.display())).ok();
    eventually("it listens", || (host.sh(&format!("ss -ltn | grep -q 127.0.0.1:{port}")).code == 0).then_some(()));
}

fn told(host: &Host, name: &str) -> String {
    fs::read_to_string(host.path().join(format!("{name}.told"))).unwrap()
}

const REGISTRY: &str = include_str!("images/registry.py");
const PROXY: &str = include_str!("images/proxy.py");

#[test]
fn registries_that_misbehave() {
    let Some(host) = Host::start_with_config("[images]\nregistry-stall-timeout-s = 10\n") else { return };
    start(&host, "registry", REGISTRY, 5001, "");
    let pull = |name: &str| host.docker(&format!("pull 127.0.0.1:5001/{name}"));
    let temporary = host.data_root().join("images/tmp");
    let left = || fs::read_dir(&temporary).unwrap().count();
    // Both at once, so that their patience can be long enough for the honest ones on a busy machine.
    thread::scope(|both| {
        for (name, words) in [
            ("stall-manifest", "stalled: nothing came for 10 s while pulling the manifest"),
            ("stall-layer", "stalled: nothing came for 10 s while pulling layer"),
        ] {
            both.spawn(move || pull(name).fails_with(words));
        }
    });
    assert_eq!(left(), 0, "something is left of what stalled");
    for (name, words) in [
        ("wrong-content", "127.0.0.1:5001 sent a wrong layer digest"),
        ("too-long", "127.0.0.1:5001 sent a wrong layer size"),
        ("astray", "redirected to file:///etc/passwd, which is refused"),
    ] {
        pull(name).fails_with(words);
        assert_eq!(left(), 0, "something is left of {name}");
    }
    assert_eq!(host.docker("images -q --filter reference=127.0.0.1:5001/*").ok(), "");
    for name in ["good", "elsewhere"] {
        assert!(pull(name).ok().contains("Downloaded newer image"), "{name}");
        host.docker(&format!("rmi 127.0.0.1:5001/{name}")).ok();
    }
    // One that breaks is taken up where it broke.
    pull("broken-once").ok();
    assert!(told(&host, "registry").contains("range=bytes=1000-"), "{}", told(&host, "registry"));
    host.docker("rmi 127.0.0.1:5001/broken-once").ok();
    // A client that leaves ends the pull.
    host.sh("docker pull 127.0.0.1:5001/dripping >/dev/null 2>&1 & echo $! > /run/pull").ok();
    eventually("the layer comes", || (left() > 0).then_some(()));
    host.sh("kill -9 $(cat /run/pull)").ok();
    eventually("nothing is left", || (left() == 0).then_some(()));
    eventually("the registry is left alone", || told(&host, "registry").contains("the client has left").then_some(()));
    assert_eq!(host.docker("images -q --filter reference=127.0.0.1:5001/*").ok(), "");
}

#[test]
fn a_pull_onto_a_full_disk() {
    let Some(host) = Host::empty() else { return };
    let data = host.data_root();
    host.sh(&format!("mkdir -p {0} && mount -t tmpfs -o size=8m tmpfs {0}", data.display())).ok();
    host.start_daemon();
    start(&host, "registry", REGISTRY, 5001, "");
    host.sh(&format!("dd if=/dev/zero of={}/ballast bs=4k; true", data.display())).ok();
    host.docker("pull 127.0.0.1:5001/good").fails_with("o space left on device");
    // The disk is the host's own, so is the look at it.
    assert_eq!(
        host.sh(&format!("cd {}/images && ls -A tmp layers configs", data.display())).ok(),
        "configs:\n\nlayers:\n\ntmp:"
    );
    assert_eq!(host.docker("images -aq").ok(), "");
    host.sh(&format!("rm {}/ballast", data.display())).ok();
    host.docker("pull 127.0.0.1:5001/good").ok();
}

#[test]
fn registries_behind_a_proxy() {
    let proxy = "http://me:s%40cret@127.0.0.1:3128";
    let environment = [("HTTP_PROXY", proxy), ("https_proxy", proxy), ("NO_PROXY", "direct.example,10.0.0.0/8")];
    let config = "[images]\ninsecure-registries = [\"registry.example\", \"direct.example\"]\n";
    let Some(host) = Host::start_in(&environment, config) else { return };
    // No name server is better than one that cannot be reached.
    let resolver = host.path().join("resolv.conf");
    fs::write(&resolver, "nameserver 127.0.0.1\n").unwrap();
    host.sh(&format!("mount --bind {} /etc/resolv.conf", resolver.display())).ok();
    start(&host, "proxy", PROXY, 3128, "");
    start(&host, "registry", REGISTRY, 5001, "");
    let info = host.docker("info --format '{{.HTTPProxy}} {{.HTTPSProxy}} {{.NoProxy}}'").ok();
    let masked = "http://xxxxx:xxxxx@127.0.0.1:3128";
    assert_eq!(info, format!("{masked} {masked} direct.example,10.0.0.0/8"));
    // Without TLS the proxy reads the requests; it is tried by TLS first. Nobody here knows the name.
    host.docker("pull registry.example:5001/good").ok();
    let asked = told(&host, "proxy");
    let credentials = "proxy-authorization: basic bwu6c0bjcmv0";
    for line in ["CONNECT registry.example:5001", "GET http://registry.example:5001/v2/good/manifests/latest"] {
        assert!(asked.lines().any(|found| found == format!("{line} {credentials}")), "{line} is not in\n{asked}");
    }
    // With TLS it passes on what it cannot read.
    let certificate = host.path().join("certificate.pem");
    let make = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=registry.example -keyout";
    if host.sh(&format!("{make} {0}.key -out {0} && cat {0}.key >> {0}", certificate.display())).code == 0 {
        start(&host, "secure", REGISTRY, 5002, &certificate.display().to_string());
        host.docker("pull registry.example:5002/good").ok();
        let asked = told(&host, "proxy");
        assert!(
            asked.contains("CONNECT registry.example:5002 ") && !asked.contains("GET http://registry.example:5002")
        );
    } else {
        eprintln!("SKIPPED: openssl is missing, so no registry with TLS behind a proxy");
    }
    // Loopback and exceptions are asked without.
    let before = told(&host, "proxy");
    host.docker("pull 127.0.0.1:5001/good").ok();
    host.docker("pull direct.example:5001/good").fails_with("cannot reach registry direct.example:5001");
    assert_eq!(told(&host, "proxy"), before);
    // One that is not there is named.
    host.sh("kill $(ss -ltnp | grep 127.0.0.1:3128 | grep -o 'pid=[0-9]*' | cut -d = -f 2)").ok();
    eventually("it is gone", || (host.sh("ss -ltn | grep -q 127.0.0.1:3128").code != 0).then_some(()));
    host.docker("pull registry.example:5001/other").fails_with("cannot reach registry registry.example:5001");
}

#[test]
fn images_for_other_machines_do_not_stand_in() {
    let Some(host) = Host::start() else { return };
    let create = |platform: &str| {
        host.ask(&format!("POST /v1.50/containers/create?platform={platform}"), r#"{"Image": "busybox"}"#)
    };
    for platform in ["", "linux", "linux%2FHERE".replace("HERE", std::env::consts::ARCH).as_str()] {
        assert_eq!(create(platform).0, 201, "{platform}");
    }
    // Clients take this for a missing image.
    let (status, said) = create("linux%2Fs390x");
    assert!(status == 404 && said.contains("does not match the specified platform (linux/s390x)"), "{status} {said}");
    assert_eq!(create("a%20b").0, 400);
    assert_eq!(host.docker("ps -aq | wc -l").ok(), "3");
}
