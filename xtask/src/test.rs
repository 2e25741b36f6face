//! `cargo xtask test`: all that CI runs.

use crate::{
    packages,
    run::{Result, command, step, succeeds},
};

/// Programs the tests talk to or look with.
const PEERS: &[&str] = &[
    "busybox-static",
    "conntrack",
    "curl",
    "docker-compose",
    "docker-registry",
    "gcc",
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

/// Installs the peers, checks form, builds, and runs every test.
pub fn run() -> Result<()> {
    packages::install("the test peers", PEERS)?;
    if !succeeds(&mut command("docker", ["--version"])) {
        packages::install("the docker command", &["docker.io"])?;
    }
    step(&mut command("cargo", ["fmt", "--all", "--check"]))?;
    step(&mut command("cargo", ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    step(&mut command("cargo", ["build", "--workspace", "--quiet"]))?;
    if succeeds(&mut command("cargo", ["nextest", "--version"])) {
        step(&mut command("cargo", ["nextest", "run", "--workspace"]))
    } else {
        println!("cargo-nextest is not installed: using cargo test, one test at a time");
        step(&mut command("cargo", ["test", "--workspace", "--", "--test-threads=1"]))
    }
}
