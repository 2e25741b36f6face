//! What a container may do: capabilities, system call filter, devices, kernel settings.

use std::collections::BTreeMap;

use model::container::{Access, Device, Privilege, Seccomp, Security};

use crate::{ApiError, wire::host_config::HostConfig};

/// capabilities(7).
const CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

struct Options {
    seccomp: Option<Seccomp>,
    no_new_privileges: bool,
}

/// Reads the document's many ways to say it.
pub(super) fn security(host: &HostConfig) -> Result<Security, ApiError> {
    let options = options(host.security_opt.as_deref().unwrap_or_default())?;
    let usual = if host.privileged { Seccomp::Unconfined } else { Seccomp::Usual };
    // A privileged container sees all of /proc and /sys, unless it asks otherwise.
    let paths = |given: &Option<Vec<String>>| given.clone().or_else(|| host.privileged.then(Vec::new));
    Ok(Security {
        privilege: if host.privileged { Privilege::Privileged } else { Privilege::Usual },
        cap_add: capabilities("CapAdd", host.cap_add.as_deref().unwrap_or_default())?,
        cap_drop: capabilities("CapDrop", host.cap_drop.as_deref().unwrap_or_default())?,
        seccomp: options.seccomp.unwrap_or(usual),
        root: if host.readonly_rootfs { Access::ReadOnly } else { Access::ReadWrite },
        no_new_privileges: options.no_new_privileges,
        masked_paths: paths(&host.masked_paths),
        readonly_paths: paths(&host.readonly_paths),
        devices: host.limits.devices.iter().flatten().map(device).collect::<Result<_, _>>()?,
        device_rules: device_rules(host.limits.device_cgroup_rules.as_deref().unwrap_or_default())?,
        sysctls: sysctls(&host.sysctls)?,
        // The range was checked.
        oom_score_adj: i32::try_from(host.oom_score_adj).unwrap_or_default(),
    })
}

fn options(given: &[String]) -> Result<Options, ApiError> {
    let mut options = Options { seccomp: None, no_new_privileges: false };
    for option in given {
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => options.no_new_privileges = true,
            ("no-new-privileges", "false") => options.no_new_privileges = false,
            ("seccomp", "unconfined") => options.seccomp = Some(Seccomp::Unconfined),
            ("seccomp", "builtin") => options.seccomp = Some(Seccomp::Usual),
            ("seccomp", profile) if profile.trim_start().starts_with('{') => {
                serde_json::from_str::<serde_json::Value>(profile)
                    .map_err(|error| ApiError::invalid(format!("Decoding seccomp profile failed: {error}")))?;
                options.seccomp = Some(Seccomp::Profile(profile.to_owned()));
            }
            // Linux security modules that are not driven here; the words for "do nothing" are taken.
            ("apparmor", "" | "unconfined" | "docker-default") | ("label", "disable") => {}
            ("systempaths", "unconfined") => {}
            _ => return Err(ApiError::invalid(format!("invalid --security-opt 2: {option:?}"))),
        }
    }
    Ok(options)
}

fn capabilities(what: &str, given: &[String]) -> Result<Vec<String>, ApiError> {
    let read = |text: &String| {
        let upper = text.trim().to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        match name {
            "ALL" => Ok("ALL".to_owned()),
            name if CAPABILITIES.contains(&name) => Ok(format!("CAP_{name}")),
            _ => Err(ApiError::invalid(format!("invalid {what}: unknown capability: \"CAP_{name}\""))),
        }
    };
    given.iter().map(read).collect()
}

fn device(given: &crate::wire::host_config::Device) -> Result<Device, ApiError> {
    let permissions = if given.cgroup_permissions.is_empty() { "rwm" } else { &given.cgroup_permissions };
    if !permissions.chars().all(|c| "rwm".contains(c)) {
        return Err(ApiError::invalid(format!(
            "invalid device cgroup permissions: {permissions}: some of rwm are expected"
        )));
    }
    let target = if given.path_in_container.is_empty() { &given.path_on_host } else { &given.path_in_container };
    if !given.path_on_host.starts_with('/') || !target.starts_with('/') {
        return Err(ApiError::invalid(format!("invalid device path {:?}: it must be absolute", given.path_on_host)));
    }
    Ok(Device { path: given.path_on_host.clone().into(), target: target.into(), permissions: permissions.to_owned() })
}

/// Rules as in `c 42:* rmw`.
fn device_rules(given: &[String]) -> Result<Vec<String>, ApiError> {
    let number = |text: &str| text == "*" || text.parse::<u32>().is_ok();
    for rule in given {
        let parts: Vec<&str> = rule.split(' ').collect();
        let fits = matches!(parts.as_slice(), ["a" | "b" | "c", numbers, permissions]
            if numbers.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor))
                && !permissions.is_empty() && permissions.chars().all(|c| "rwm".contains(c)));
        if !fits {
            return Err(ApiError::invalid(format!("invalid device cgroup rule format: '{rule}'")));
        }
    }
    Ok(given.to_vec())
}

/// Those of the network go to the sandbox.
fn sysctls(given: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, ApiError> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    const UTS: [&str; 2] = ["kernel.hostname", "kernel.domainname"];
    let others: BTreeMap<_, _> =
        given.iter().filter(|(name, _)| !name.starts_with("net.")).map(|(k, v)| (k.clone(), v.clone())).collect();
    let fits = |name: &str| IPC.contains(&name) || UTS.contains(&name) || name.starts_with("fs.mqueue.");
    match others.keys().find(|name| !fits(name)) {
        Some(name) => Err(ApiError::invalid(format!("sysctl \"{name}\" is not in a separate kernel namespace"))),
        None => Ok(others),
    }
}
