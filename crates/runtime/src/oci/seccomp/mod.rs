//! Seccomp profiles in Docker's format: rules that depend on the architecture and on the container's capabilities,
//! resolved to what the OCI says. `data/seccomp.json` is the usual profile.

mod compile;

use std::collections::BTreeSet;

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompBuilder, LinuxSyscall, LinuxSyscallBuilder,
};
use serde::Deserialize;

pub use compile::{CompileError, compile};

/// The usual profile: what Docker allows on the architectures that linkspan is built for.
const USUAL: &str = include_str!("../../../data/seccomp.json");

/// A profile is not one.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not JSON of the right shape.
    #[error("Decoding seccomp profile failed")]
    Decode(#[from] serde_json::Error),
    /// The parts do not go together.
    #[error("the seccomp profile is inconsistent")]
    Build(#[from] oci_spec::OciSpecError),
}

/// A profile as Docker's users write it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<Arch>>,
    arch_map: Option<Vec<Family>>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

/// An architecture and the older ones that its kernel also runs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Family {
    architecture: Arch,
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    name: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(default)]
    includes: Filter,
    #[serde(default)]
    excludes: Filter,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Filter {
    caps: Vec<String>,
    arches: Vec<String>,
}

/// The usual profile for a container with these capabilities (`CAP_…`).
pub fn usual(capabilities: &BTreeSet<String>) -> Result<LinuxSeccomp, ProfileError> {
    profile(USUAL, capabilities)
}

/// A profile in Docker's JSON for a container with these capabilities.
pub fn profile(json: &str, capabilities: &BTreeSet<String>) -> Result<LinuxSeccomp, ProfileError> {
    let profile: Profile = serde_json::from_str(json)?;
    let (native, name) = native();
    let family = profile.arch_map.unwrap_or_default().into_iter().find(|family| family.architecture == native);
    let architectures = match (profile.architectures, family) {
        (Some(listed), _) if !listed.is_empty() => listed,
        (_, Some(family)) => {
            std::iter::once(family.architecture).chain(family.sub_architectures.unwrap_or_default()).collect()
        }
        _ => vec![native],
    };
    let applies = |rule: &Rule| {
        let arches = &rule.includes.arches;
        rule.includes.caps.iter().all(|cap| capabilities.contains(cap))
            && (arches.is_empty() || arches.iter().any(|arch| arch == name))
            && !rule.excludes.caps.iter().any(|cap| capabilities.contains(cap))
            && !rule.excludes.arches.iter().any(|arch| arch == name)
    };
    let syscalls = profile.syscalls.into_iter().filter(applies).map(syscall).collect::<Result<Vec<_>, _>>()?;
    let mut seccomp = LinuxSeccompBuilder::default()
        .default_action(profile.default_action)
        .architectures(architectures)
        .syscalls(syscalls)
        .build()?;
    seccomp.set_default_errno_ret(profile.default_errno_ret);
    Ok(seccomp)
}

fn syscall(rule: Rule) -> Result<LinuxSyscall, oci_spec::OciSpecError> {
    let names: Vec<String> = rule.names.into_iter().chain(rule.name).collect();
    let mut syscall = LinuxSyscallBuilder::default().names(names).action(rule.action).build()?;
    syscall.set_errno_ret(rule.errno_ret).set_args(rule.args.filter(|args| !args.is_empty()));
    Ok(syscall)
}

/// This machine's architecture for the kernel and in Go's words, which profiles use.
fn native() -> (Arch, &'static str) {
    if cfg!(target_arch = "aarch64") { (Arch::ScmpArchAarch64, "arm64") } else { (Arch::ScmpArchX86_64, "amd64") }
}
