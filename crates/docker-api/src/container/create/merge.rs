//! Defaults: the image's, where the body says nothing; then Docker's.

use std::collections::BTreeMap;

use crate::{
    ApiError,
    wire::{
        config::Config,
        host_config::{HostConfig, Limits},
        port::Name,
    },
};

use super::{Cgroups, HostView};

const SHM_SIZE: i64 = 64 << 20;

/// Adds what the image says to what the body does not.
pub(super) fn image(config: &mut Config, image: runtime::image::Config) -> Result<(), ApiError> {
    if config.user.is_empty() {
        config.user = image.user;
    }
    if !image.exposed_ports.is_empty() {
        let more = image.exposed_ports.iter().map(|(port, present)| (Name::of(port), *present));
        config.exposed_ports = config.exposed_ports.singly().chain(more).collect();
    }
    let key = |setting: &str| setting.split('=').next().unwrap_or_default().to_owned();
    let given: Vec<String> = config.env.iter().map(|setting| key(setting)).collect();
    config.env.extend(image.env.into_iter().filter(|setting| !given.contains(&key(setting))));
    for (label, value) in image.labels {
        config.labels.entry(label).or_insert(value);
    }
    if config.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd = image.cmd;
        }
        if config.entrypoint.is_none() {
            config.entrypoint = image.entrypoint;
        }
    }
    // `--entrypoint ""` takes the image's entrypoint away.
    if config.entrypoint.as_deref().is_some_and(|words| words == [""]) {
        config.entrypoint = None;
    }
    if config.working_dir.is_empty() {
        config.working_dir = image.working_dir;
    }
    if !image.volumes.is_empty() {
        config.volumes.get_or_insert_with(BTreeMap::new).extend(image.volumes);
    }
    if config.stop_signal.is_empty() {
        config.stop_signal = image.stop_signal.unwrap_or_default();
    }
    config.stop_timeout = config.stop_timeout.or(image.stop_timeout);
    config.shell = config.shell.take().or(image.shell);
    merge_health(config, image.healthcheck);
    let words = |list: &Option<Vec<String>>| list.as_ref().map_or(0, Vec::len);
    if words(&config.entrypoint) + words(&config.cmd) == 0 {
        return Err(ApiError::invalid("no command specified"));
    }
    Ok(())
}

fn merge_health(config: &mut Config, image: Option<runtime::image::Healthcheck>) {
    let Some(image) = image else { return };
    let Some(own) = &mut config.healthcheck else {
        config.healthcheck = Some(image);
        return;
    };
    if own.test.is_empty() {
        own.test = image.test;
    }
    let inherit = |own: &mut i64, image: i64| {
        if *own == 0 {
            *own = image;
        }
    };
    inherit(&mut own.interval, image.interval);
    inherit(&mut own.timeout, image.timeout);
    inherit(&mut own.start_period, image.start_period);
    inherit(&mut own.start_interval, image.start_interval);
    inherit(&mut own.retries, image.retries);
}

/// Writes out Docker's own defaults, as an inspect shows them; returns what the sender should know.
pub(super) fn defaults(config: &mut Config, host: &mut HostConfig, view: &HostView) -> Vec<String> {
    let mut warnings = Vec::new();
    let or = |text: &mut String, default: &str| {
        if text.is_empty() {
            *text = default.to_owned();
        }
    };
    if config.network_disabled {
        host.network_mode = "none".to_owned();
    }
    if host.network_mode == "default" {
        host.network_mode.clear();
    }
    or(&mut host.network_mode, "bridge");
    or(&mut host.ipc_mode, "private");
    or(&mut host.cgroupns_mode, if view.cgroups == Cgroups::V2 { "private" } else { "host" });
    or(&mut host.restart_policy.name, "no");
    or(&mut host.log_config.driver, "json-file");
    or(&mut host.runtime, "runc");
    if host.shm_size == 0 {
        host.shm_size = SHM_SIZE;
    }
    let limits = &mut host.limits;
    if limits.memory > 0 && limits.memory_swap == 0 {
        limits.memory_swap = limits.memory.saturating_mul(2);
    }
    // Clients that want none say zero, or less.
    limits.pids_limit = limits.pids_limit.filter(|pids| *pids > 0);
    if limits.memory_swappiness == Some(-1) {
        limits.memory_swappiness = None;
    }
    discard(limits, view.cgroups, &mut warnings);
    if limits.oom_kill_disable == Some(true) && limits.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources."
                .to_owned(),
        );
    }
    warnings
}

/// Takes away the limits that the kernel cannot keep, and says so as Docker does.
pub(crate) fn discard(limits: &mut Limits, cgroups: Cgroups, warnings: &mut Vec<String>) {
    let mut without = |what: &str, name: &str| {
        warnings.push(format!("Your kernel does not support {what} or the cgroup is not mounted. {name} discarded."));
    };
    let weights = |limits: &Limits| limits.blkio_weight_device.iter().flatten().next().is_some();
    match cgroups {
        Cgroups::V1 { block_weights } => {
            if !block_weights && limits.blkio_weight > 0 {
                without("Block I/O weight", "Weight");
                limits.blkio_weight = 0;
            }
            // libcontainer knows them for version 2 only.
            if weights(limits) {
                without("Block I/O weight_device", "Weight-device");
                limits.blkio_weight_device = Some(Vec::new());
            }
        }
        Cgroups::V2 => {
            if limits.memory_swappiness.take().is_some() {
                without("memory swappiness capabilities", "Memory swappiness");
            }
            if limits.oom_kill_disable.take() == Some(true) {
                without("OomKillDisable", "OomKillDisable");
            }
        }
    }
    if limits.kernel_memory > 0 {
        warnings.push("Limits of kernel memory alone are deprecated. KernelMemory discarded.".to_owned());
    }
}
