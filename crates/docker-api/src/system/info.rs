//! `GET /info`.

use std::collections::BTreeMap;

use model::{State, container::Phase};
use serde_json::{Map, Value, json};

use super::host::{Cgroup, Host};
use crate::{
    ApiSettings,
    time::{now_ms, rfc3339},
};

/// What is shown besides the state.
pub(super) struct Facts<'a> {
    pub(super) host: Host,
    pub(super) images: usize,
    pub(super) settings: &'a ApiSettings,
}

/// The daemon, what it has and what it can do.
pub(super) fn info(state: &State, facts: &Facts<'_>) -> Value {
    let Facts { host, images, settings } = facts;
    let parts =
        [possessions(state, *images), machine(host), limits(&host.cgroup), program(settings), networking(state, host)];
    let fields = parts.into_iter().flat_map(|part| if let Value::Object(fields) = part { fields } else { Map::new() });
    Value::Object(fields.collect())
}

/// What there is.
fn possessions(state: &State, images: usize) -> Value {
    let counts = Counts::of(state);
    json!({
        "Containers": counts.all,
        "ContainersRunning": counts.running,
        "ContainersPaused": counts.paused,
        "ContainersStopped": counts.all - counts.running - counts.paused,
        "Images": images,
    })
}

/// Where it runs.
fn machine(host: &Host) -> Value {
    json!({
        "ID": host.id,
        "Name": host.name,
        "KernelVersion": host.kernel,
        "OperatingSystem": host.system,
        "OSVersion": host.system_version,
        "OSType": "linux",
        "Architecture": host.machine,
        "NCPU": host.processors,
        "MemTotal": host.memory,
        "NFd": host.descriptors,
        "HttpProxy": host.proxies[0],
        "HttpsProxy": host.proxies[1],
        "NoProxy": host.proxies[2],
        "SystemTime": rfc3339(now_ms()),
        "Warnings": warnings(host),
    })
}

/// What containers can be limited in.
fn limits(cgroup: &Cgroup) -> Value {
    json!({
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": cgroup.version,
        "MemoryLimit": cgroup.memory,
        "SwapLimit": cgroup.swap,
        "OomKillDisable": cgroup.oom_kill_disable,
        "CpuCfsPeriod": cgroup.cpu,
        "CpuCfsQuota": cgroup.cpu,
        "CPUShares": cgroup.cpu,
        "CPUSet": cgroup.cpuset,
        "PidsLimit": cgroup.pids,
    })
}

/// How it works.
fn program(settings: &ApiSettings) -> Value {
    json!({
        "ServerVersion": settings.version,
        "DockerRootDir": settings.data_root,
        "Driver": "overlay2",
        "DriverStatus": [["Supports d_type", "true"], ["Using metacopy", "false"], ["Native Overlay Diff", "true"]],
        "LoggingDriver": "json-file",
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": null,
            "Log": ["json-file", "none"],
        },
        "Runtimes": { "linkspan": { "path": "linkspan", "status": {} } },
        "DefaultRuntime": "linkspan",
        "InitBinary": "linkspan",
        "ContainerdCommit": { "ID": "" },
        "RuncCommit": { "ID": "" },
        "InitCommit": { "ID": "" },
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
        "LiveRestoreEnabled": true,
        "Debug": false,
        "ExperimentalBuild": false,
        "NGoroutines": 0,
        "NEventsListener": 0,
        "Isolation": "",
        "Labels": [],
        "GenericResources": null,
        "CDISpecDirs": [],
    })
}

/// What it speaks to.
fn networking(state: &State, host: &Host) -> Value {
    json!({
        "IPv4Forwarding": host.forwards_ipv4,
        "BridgeNfIptables": false,
        "BridgeNfIp6tables": false,
        "DefaultAddressPools": pools(state),
        "FirewallBackend": { "Driver": "nftables" },
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": registries(),
        "Swarm": {
            "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false, "Error": "",
            "RemoteManagers": null,
        },
    })
}

/// How many containers are in which phase.
struct Counts {
    all: usize,
    running: usize,
    paused: usize,
}

impl Counts {
    fn of(state: &State) -> Self {
        let mut counts = Self { all: state.containers.len(), running: 0, paused: 0 };
        for container in state.containers.values() {
            match container.phase {
                Phase::Running(_) => counts.running += 1,
                Phase::Paused(_) => counts.paused += 1,
                Phase::Created | Phase::Starting | Phase::Restarting { .. } | Phase::Exited(_) => {}
            }
        }
        counts
    }
}

fn pools(state: &State) -> Vec<Value> {
    let pools = state.settings.iter().flat_map(|settings| &settings.pools);
    pools.map(|pool| json!({ "Base": pool.base, "Size": pool.size })).collect()
}

fn registries() -> Value {
    let index: BTreeMap<&str, Value> = BTreeMap::from([(
        "docker.io",
        json!({ "Name": "docker.io", "Mirrors": [], "Secure": true, "Official": true }),
    )]);
    json!({ "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"], "IndexConfigs": index, "Mirrors": null })
}

fn warnings(host: &Host) -> Vec<String> {
    let Cgroup { version, memory, swap, oom_kill_disable, cpu, cpuset, pids } = &host.cgroup;
    let lacks = [
        (!memory, "WARNING: No memory limit support"),
        (!swap, "WARNING: No swap limit support"),
        (!oom_kill_disable && *version == "1", "WARNING: No oom kill disable support"),
        (!cpu, "WARNING: No cpu shares support"),
        (!cpu, "WARNING: No cpu cfs quota support"),
        (!cpu, "WARNING: No cpu cfs period support"),
        (!cpuset, "WARNING: No cpuset support"),
        (!pids, "WARNING: No pids limit support"),
        (!host.forwards_ipv4, "WARNING: IPv4 forwarding is disabled"),
    ];
    lacks.into_iter().filter(|(lacks, _)| *lacks).map(|(_, words)| words.to_owned()).collect()
}
