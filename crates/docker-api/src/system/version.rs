//! `GET /version`.

use serde_json::{Value, json};

use super::host::Host;
use crate::version::{NEWEST, OLDEST};

/// The version of this program, and of what it is made of.
pub(super) fn version(program: &str, host: &Host) -> Value {
    let arch = go_arch(&host.machine);
    // Docker's clients show Go's version and a build time: there is neither here.
    json!({
        "Platform": { "Name": "linkspan" },
        "Components": [{
            "Name": "Engine",
            "Version": program,
            "Details": {
                "ApiVersion": NEWEST.to_string(),
                "MinAPIVersion": OLDEST.to_string(),
                "Arch": arch,
                "BuildTime": "",
                "Experimental": "false",
                "GitCommit": "",
                "GoVersion": "",
                "KernelVersion": host.kernel,
                "Os": "linux",
            },
        }],
        "Version": program,
        "ApiVersion": NEWEST.to_string(),
        "MinAPIVersion": OLDEST.to_string(),
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": arch,
        "KernelVersion": host.kernel,
        "BuildTime": "",
    })
}

/// The machine's name as images have it.
fn go_arch(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "i686" | "i386" => "386",
        machine if machine.starts_with("armv") => "arm",
        other => other,
    }
}
