//! What makes no sense is refused in Docker's words, before anything is looked up.

use crate::{
    ApiError, signal,
    wire::{
        config::Config,
        host_config::{HostConfig, RestartPolicy},
    },
};

use super::{HostView, health, resources};

/// Refuses contradictions and values out of range.
pub(super) fn body(config: &Config, host: &HostConfig, view: &HostView) -> Result<(), ApiError> {
    network_mode(config, host)?;
    config_alone(config)?;
    resources::check(&host.limits, view)?;
    restart(&host.restart_policy)?;
    if host.auto_remove && !matches!(host.restart_policy.name.as_str(), "" | "no") {
        return Err(ApiError::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    if host.shm_size < 0 {
        return Err(ApiError::invalid("SHM size can not be less than 0"));
    }
    if !(-1_000..=1_000).contains(&host.oom_score_adj) {
        let words = format!("Invalid value {}, range for oom score adj is [-1000, 1000]", host.oom_score_adj);
        return Err(ApiError::invalid(words));
    }
    if !matches!(host.isolation.as_str(), "" | "default") {
        return Err(ApiError::invalid(format!("invalid isolation '{}' on linux", host.isolation)));
    }
    if !host.storage_opt.is_empty() {
        return Err(ApiError::invalid(
            "--storage-opt is not supported: the file system of the data root limits all containers",
        ));
    }
    if !host.cgroup.is_empty() {
        let words = format!("invalid cgroup {:?}: a control group of another container cannot be joined", host.cgroup);
        return Err(ApiError::invalid(words));
    }
    if !matches!(host.userns_mode.as_str(), "" | "host") {
        return Err(ApiError::invalid(format!("invalid user namespace mode: {}", host.userns_mode)));
    }
    Ok(())
}

/// A container's name: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub(crate) fn name(name: &str) -> Result<&str, ApiError> {
    let plain = name.strip_prefix('/').unwrap_or(name);
    let follows = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let mut bytes = plain.bytes();
    if plain.len() >= 2 && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric()) && bytes.all(follows) {
        return Ok(plain);
    }
    Err(ApiError::invalid(format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")))
}

/// A restart policy.
pub(crate) fn restart(policy: &RestartPolicy) -> Result<(), ApiError> {
    let most = policy.maximum_retry_count;
    match policy.name.as_str() {
        "" => Ok(()),
        "on-failure" if most < 0 => {
            Err(ApiError::invalid("invalid restart policy: maximum retry count cannot be negative"))
        }
        "on-failure" => Ok(()),
        "always" | "unless-stopped" | "no" if most < 0 => Err(ApiError::invalid(
            "invalid restart policy: maximum retry count can only be used with 'on-failure' and cannot be negative",
        )),
        "always" | "unless-stopped" | "no" if most > 0 => {
            Err(ApiError::invalid("invalid restart policy: maximum retry count can only be used with 'on-failure'"))
        }
        "always" | "unless-stopped" | "no" => Ok(()),
        other => Err(ApiError::invalid(format!(
            "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        ))),
    }
}

fn network_mode(config: &Config, host: &HostConfig) -> Result<(), ApiError> {
    let mode = host.network_mode.as_str();
    let of_container = mode == "container" || mode.starts_with("container:");
    let of_host = mode == "host";
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if of_container && mode.strip_prefix("container:").is_none_or(str::is_empty) {
        return Err(ApiError::invalid("Invalid network mode: invalid container format container:<name|id>"));
    }
    let undefined = "This would result in undefined behavior";
    let conflicts = [
        (of_container && !config.hostname.is_empty(), "hostname and the network mode".to_owned()),
        (of_container && some(&host.links), format!("container type network can't be used with links. {undefined}")),
        (of_container && !host.dns.is_empty(), "dns and the network mode".to_owned()),
        (of_container && some(&host.extra_hosts), "custom host-to-IP mapping and the network mode".to_owned()),
        ((of_container || of_host) && !config.mac_address.is_empty(), "mac-address and the network mode".to_owned()),
        (
            of_container && (!host.port_bindings.is_empty() || host.publish_all_ports),
            "port publishing and the container type network mode".to_owned(),
        ),
        (
            of_container && !config.exposed_ports.is_empty(),
            "port exposing and the container type network mode".to_owned(),
        ),
        (host.uts_mode == "host" && !config.hostname.is_empty(), "hostname and the UTS mode".to_owned()),
        (of_host && some(&host.links), format!("host type networking can't be used with links. {undefined}")),
    ];
    match conflicts.into_iter().find(|(conflict, _)| *conflict) {
        Some((_, words)) => Err(ApiError::invalid(format!("conflicting options: {words}"))),
        None => Ok(()),
    }
}

fn config_alone(config: &Config) -> Result<(), ApiError> {
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return Err(ApiError::invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        )));
    }
    if let Some(bad) = config.env.iter().find(|text| text.is_empty() || text.starts_with('=')) {
        return Err(ApiError::invalid(format!("invalid environment variable: {bad}")));
    }
    if let Some(bad) = config.env.iter().chain(config.cmd.iter().flatten()).find(|text| text.contains('\0')) {
        return Err(ApiError::invalid(format!("invalid value {bad:?}: it contains a NUL byte")));
    }
    if !config.stop_signal.is_empty() {
        signal::parse(&config.stop_signal)?;
    }
    if config.hostname.len() > 63 || config.hostname.contains(['\0', '/']) {
        return Err(ApiError::invalid(format!(
            "invalid hostname: {}: it has at most 63 characters (sethostname(2))",
            config.hostname
        )));
    }
    health::validate(config)
}
