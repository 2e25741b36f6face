//! Compose brings up, scales, tells of, and takes down a file of three services on two networks.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use conformance::{From, Host, Said, eventually};

#[test]
fn three_services_on_two_networks() {
    let Some(compose) = Compose::find() else { return };
    let Some(host) = Host::start() else { return };
    let run = |words: &str| compose.run(&host, words);
    println!("Compose {}", run("version --short").ok());

    run("up -d").ok();
    assert_eq!(run("config --services").ok().lines().count(), 3);
    assert_eq!(running(&host, "db").len() + running(&host, "api").len() + running(&host, "web").len(), 3);
    for service in ["db", "api"] {
        let id = &running(&host, service)[0];
        assert_eq!(
            host.docker(&format!("inspect -f '{{{{.State.Health.Status}}}}' {id}")).ok(),
            "healthy",
            "{service}"
        );
    }
    let ps = run("ps").ok();
    println!("{ps}");
    assert!(ps.contains("8080->80/tcp"), "{ps}");
    assert!(run("logs api").ok().contains("api is here"));
    assert!(run("port web 80").ok().ends_with(":8080"));

    let through_all = || host.tcp(From::Outside, "192.0.2.1:8080");
    let serves = |what: &str| eventually(what, || through_all().filter(|said| said == what));
    serves("stored");
    assert_eq!(run("exec -T api get db:80").ok(), "stored");
    assert_eq!(run("exec -T web get db:80").ok(), "", "web is not on the network of db");

    run("up -d --no-recreate --scale api=3").ok();
    assert_eq!(running(&host, "api").len(), 3);
    let answer = run("exec -T web nslookup api 127.0.0.11").ok();
    let addresses = answer.lines().filter(|line| line.starts_with("Address") && !line.contains("127.0.0.11")).count();
    assert_eq!(addresses, 3, "{answer}");
    run("up -d --no-recreate --scale api=1").ok();
    assert_eq!(running(&host, "api").len(), 1);

    // The volume outlives the services, not `-v`.
    run("exec -T db sh -c 'echo sold >/data/index.html'").ok();
    run("restart -t 1 db").ok();
    run("down -t 1").ok();
    assert_eq!(host.docker("volume ls -q").ok(), "shop_stock");
    run("up -d").ok();
    serves("sold");

    run("down -v -t 1").ok();
    assert_eq!(host.docker("ps -aq").ok(), "");
    assert_eq!(host.docker("volume ls -q").ok(), "");
    assert_eq!(host.docker("network ls --format '{{.Name}}'").ok(), "bridge\nhost\nnone");
    assert_eq!(through_all(), None);
}

fn running(host: &Host, service: &str) -> Vec<String> {
    let list = format!("ps -q --filter label=com.docker.compose.service={service}");
    host.docker(&list).ok().lines().map(str::to_owned).collect()
}

/// A Compose program.
struct Compose(PathBuf);

impl Compose {
    /// Compose 2 of this machine or of Debian's next release; else the old one; else none, said loudly.
    fn find() -> Option<Self> {
        let cached = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compose");
        let program = cached.join("usr/libexec/docker/cli-plugins/docker-compose");
        if !is_program(&program) {
            let mut fetch = Command::new("sh");
            fetch.args(["-c", FETCH, "fetch"]).arg(&cached).stdin(Stdio::null());
            let output = fetch.output().expect("sh runs");
            if !output.status.success() {
                eprintln!("Compose 2 cannot be fetched: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
        if is_program(&program) {
            return Some(Self(program));
        }
        let old = PathBuf::from("/usr/bin/docker-compose");
        if is_program(&old) {
            eprintln!("SKIPPED: Compose 2, which cannot be fetched here; {} is tested instead", old.display());
            return Some(Self(old));
        }
        eprintln!("SKIPPED: no Compose: apt-get install docker-compose");
        None
    }

    fn run(&self, host: &Host, words: &str) -> Said {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose/shop.yaml");
        host.sh(&format!("{} -p shop -f {} {words}", self.0.display(), file.display()))
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Unpacks the package of trixie, from where this machine has its packages; nothing is installed.
const FETCH: &str = r#"
    set -e
    rm -rf "$1"; mkdir -p "$1/apt/lists/partial" "$1/apt/cache/archives/partial"; cd "$1"
    mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
        grep -v '^#' | grep -o 'https\?://[^ ]*/debian/\?\( \|$\)' | head -n 1)
    [ -n "$mirror" ] || { echo 'no Debian mirror in /etc/apt' >&2; exit 1; }
    key=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$key] $mirror trixie main" >apt/sources.list
    apt() {
        apt-get -qq -o Dir::Etc::sourcelist="$1/apt/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$1/apt/lists" \
            -o Dir::Cache="$1/apt/cache" -o APT::Update::Post-Invoke-Success= -o APT::Sandbox::User=root "$2" $3
    }
    apt "$1" update
    apt "$1" download docker-compose/trixie
    dpkg -x docker-compose_*.deb .
    rm -rf apt docker-compose_*.deb
"#;
