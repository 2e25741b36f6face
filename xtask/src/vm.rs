//! `cargo xtask vm-test`: the kernels that users have, booted in a virtual machine, with control groups of version 2.
//!
//! The machine is made of a Debian kernel, this build's binary and programs of this host; a case is a shell script in
//! `tests/vm/cases`. It needs no KVM: the processor is emulated.

mod boot;
mod image;
mod kernel;

use std::{fs, path::Path};

use clap::{Args, ValueEnum};

use crate::{
    packages,
    run::{Result, command, step},
};
use kernel::Kernel;

/// The emulator and what its disks are made with.
const PACKAGES: &[&str] = &[
    "bash",
    "busybox-static",
    "conntrack",
    "curl",
    "e2fsprogs",
    "iproute2",
    "kmod",
    "nftables",
    "qemu-system-x86",
    "socat",
    "xz-utils",
];

/// Where the cases are.
const CASES: &str = "tests/vm/cases";

/// Boot Debian's kernels and run the cases of tests/vm on them
#[derive(Args)]
pub struct VmTest {
    /// One kernel instead of all
    #[arg(long)]
    kernel: Option<Version>,
    /// Cases by name [default: all]
    cases: Vec<String>,
}

/// A kernel series that a Debian release has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Version {
    /// Debian 12.
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13, and 12 with backports.
    #[value(name = "6.12")]
    V6_12,
}

impl VmTest {
    /// Boots, runs, and fails when a case does.
    pub fn run(&self) -> Result<()> {
        let cases = chosen(&self.cases)?;
        if std::env::consts::ARCH != "x86_64" {
            eprintln!("SKIPPED: vm-test boots x86-64 kernels only");
            return Ok(());
        }
        packages::install("the virtual machine", PACKAGES)?;
        step(&mut command("cargo", ["build", "--quiet", "--package", "linkspan"]))?;
        let mut failed = Vec::new();
        for version in
            Version::value_variants().iter().filter(|version| self.kernel.is_none_or(|only| only == **version))
        {
            match kernel::fetch(*version)? {
                Some(kernel) => failed.extend(test(&kernel, &cases)?),
                None => eprintln!("SKIPPED: kernel {version}: this system's package mirror does not have it"),
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(format!("failed in the virtual machine: {}", failed.join(", "))) }
    }
}

/// Returns the names of those that failed.
fn test(kernel: &Kernel, cases: &[String]) -> Result<Vec<String>> {
    let disks = image::make(kernel, cases)?;
    let verdicts = boot::run(kernel, &disks)?;
    let mut failed = Vec::new();
    for case in cases {
        match verdicts.get(case) {
            Some(true) => {}
            Some(false) => failed.push(format!("{case} on {}", kernel.release)),
            None => failed.push(format!("{case} on {} (no verdict)", kernel.release)),
        }
    }
    println!("{}: {} passed, {} failed", kernel.release, cases.len() - failed.len(), failed.len());
    Ok(failed)
}

/// The asked cases, or all of them, in order.
fn chosen(asked: &[String]) -> Result<Vec<String>> {
    let entries = fs::read_dir(CASES).map_err(|e| format!("cannot read {CASES}: {e}"))?;
    let mut all: Vec<String> = entries
        .filter_map(|entry| Some(Path::new(&entry.ok()?.file_name()).file_stem()?.to_str()?.to_owned()))
        .collect();
    all.sort();
    if let Some(unknown) = asked.iter().find(|name| !all.contains(name)) {
        return Err(format!("there is no case {unknown}; there are: {}", all.join(", ")));
    }
    if !asked.is_empty() {
        all.retain(|name| asked.contains(name));
    }
    Ok(all)
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        })
    }
}
