//! `cargo xtask test`: all that CI runs.

use std::process::Command;

use crate::{
    packages,
    run::{Result, command, step, succeeds},
    skipped,
};

/// Programs the tests talk to or look with.
const PEERS: &[&str] = &[
    "busybox-static",
    "conntrack",
    "curl",
    "docker-compose",
    "docker-registry",
    "etcd-client",
    "etcd-server",
    "gcc",
    "haproxy",
    "iproute2",
    "iputils-ping",
    "nftables",
    "openssl",
    "procps",
    "python3",
    "python3-venv",
    "runc",
    "socat",
    "sqlite3",
    "util-linux",
];

/// Where random cases begin, so that the same commit has the same outcome each time.
const SEED: (&str, &str) = ("PROPTEST_RNG_SEED", "2026");

/// The parts that need nothing of the machine: they run without any of root's capabilities.
const ROOTLESS: &str = "(package(model) | package(netstate) | package(plan) | package(sim) | package(store)) - binary_id(netstate::golden)";
/// How they are run.
const RUNNER: (&str, &str) =
    ("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "setpriv --bounding-set=-all --inh-caps=-all --no-new-privs");

/// Installs the peers, checks form, builds, and runs every test.
pub fn run() -> Result<()> {
    packages::install("the test peers", PEERS)?;
    if !succeeds(&mut command("docker", ["--version"])) {
        packages::install("the docker command", &[packages::docker()])?;
    }
    step(&mut command("cargo", ["fmt", "--all", "--check"]))?;
    step(&mut command("cargo", ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    step(&mut command("cargo", ["build", "--workspace", "--quiet"]))?;
    if succeeds(&mut command("cargo", ["nextest", "--version"])) {
        let mut rootless = nextest(ROOTLESS);
        // Who is not root has none to give up.
        if packages::is_root()? {
            rootless.env(RUNNER.0, RUNNER.1);
        }
        step(&mut rootless)?;
        let outcome = step(&mut nextest(&format!("all() - ({ROOTLESS})")));
        skipped::tell();
        outcome
    } else {
        println!("cargo-nextest is not installed: using cargo test, one test at a time");
        step(command("cargo", ["test", "--workspace", "--", "--test-threads=1"]).env(SEED.0, SEED.1))
    }
}

fn nextest(which: &str) -> Command {
    let mut nextest = command("cargo", ["nextest", "run", "--workspace", "-E", which]);
    nextest.env(SEED.0, SEED.1);
    nextest
}
