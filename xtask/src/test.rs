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

/// Where random cases begin, so that the same commit has the same outcome each time.
const SEED: (&str, &str) = ("PROPTEST_RNG_SEED", "2026");

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
        step(command("cargo", ["nextest", "run", "--workspace"]).env(SEED.0, SEED.1))
    } else {
        println!("cargo-nextest is not installed: using cargo test, one test at a time");
        step(command("cargo", ["test", "--workspace", "--", "--test-threads=1"]).env(SEED.0, SEED.1))
    }
}
