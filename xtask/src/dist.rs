//! `cargo xtask dist`: one static binary.

use std::{fs, path::PathBuf};

use crate::{
    packages,
    run::{Result, command, output, step, succeeds},
};

const TARGET: &str = "x86_64-unknown-linux-musl";

/// Builds the static release binary and says where it is.
pub fn run() -> Result<PathBuf> {
    packages::install("the C compiler for static binaries", &["musl-tools"])?;
    let installed = output(&mut command("rustup", ["target", "list", "--installed"]))?;
    if !installed.lines().any(|line| line == TARGET) {
        step(&mut command("rustup", ["target", "add", TARGET]))?;
    }
    step(&mut command("cargo", ["build", "--release", "--package", "linkspan", "--target", TARGET]))?;
    let built = PathBuf::from("target").join(TARGET).join("release/linkspan");
    let dist = PathBuf::from("target/dist/linkspan");
    fs::create_dir_all("target/dist").map_err(|e| format!("cannot make target/dist: {e}"))?;
    fs::copy(&built, &dist).map_err(|e| format!("cannot copy {}: {e}", built.display()))?;
    if !succeeds(
        command("sh", ["-c"])
            .arg(format!("ldd {} 2>&1 | grep -q -e 'statically linked' -e 'not a dynamic'", dist.display())),
    ) {
        return Err(format!("{} is not static", dist.display()));
    }
    println!("{}", dist.display());
    Ok(dist)
}
