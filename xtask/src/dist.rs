//! `cargo xtask dist`: one static binary.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    packages,
    run::{Result, command, output, step, succeeds},
};

const TARGET: &str = "x86_64-unknown-linux-musl";

/// Builds the static release binary and says where it is.
pub fn run() -> Result<PathBuf> {
    let built = build(&["--package", "linkspan"])?.join("linkspan");
    let dist = PathBuf::from("target/dist/linkspan");
    fs::create_dir_all("target/dist").map_err(|e| format!("cannot make target/dist: {e}"))?;
    // A daemon may be running the one that is there: the name goes to the new one when it is whole.
    let fresh = dist.with_extension("new");
    fs::copy(&built, &fresh).map_err(|e| format!("cannot copy {}: {e}", built.display()))?;
    fs::rename(&fresh, &dist).map_err(|e| format!("cannot name {}: {e}", dist.display()))?;
    if !succeeds(
        command("sh", ["-c"])
            .arg(format!("ldd {} 2>&1 | grep -q -e 'statically linked' -e 'not a dynamic'", dist.display())),
    ) {
        return Err(format!("{} is not static", dist.display()));
    }
    println!("{}", dist.display());
    Ok(dist)
}

/// Builds what `what` names as a static release, and says in which folder it is.
pub fn build(what: &[&str]) -> Result<PathBuf> {
    packages::install("the C compiler for static binaries", &["musl-tools"])?;
    let library = output(&mut command("rustc", ["--print", "target-libdir", "--target", TARGET]))?;
    if !Path::new(library.trim()).exists() {
        println!("Installing Rust's standard library for static binaries");
        step(&mut command("rustup", ["target", "add", TARGET])).map_err(|error| {
            format!("{error}: this Rust is without it, and a Rust that comes by rustup (https://rustup.rs) is not")
        })?;
    }
    step(command("cargo", ["build", "--release", "--target", TARGET]).args(what))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    Ok(target.join(TARGET).join("release"))
}
