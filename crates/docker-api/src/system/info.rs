//! `GET /info`.

use ipnet::IpNet;
use model::{State, container::Phase};
use runtime::image::RegistrySettings;
use serde_json::{Map, Value, json};

use super::host::{Cgroup, Host, without_password};
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
    let parts = [
        possessions(state, *images),
        machine(host),
        limits(&host.cgroup),
        program(settings, &host.cgroup),
        networking(state, facts),
    ];
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
fn program(settings: &ApiSettings, cgroup: &Cgroup) -> Value {
    // With version 1 containers see the host's tree of control groups unless they ask.
    let private_cgroups = (cgroup.version == "2").then_some("name=cgroupns");
    let security: Vec<&str> = ["name=seccomp,profile=builtin"].into_iter().chain(private_cgroups).collect();
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
        "SecurityOptions": security,
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
fn networking(state: &State, facts: &Facts<'_>) -> Value {
    let proxies = &facts.settings.registries.proxies;
    json!({
        "HttpProxy": without_password(&proxies.http),
        "HttpsProxy": without_password(&proxies.https),
        "NoProxy": proxies.exceptions,
        "IPv4Forwarding": facts.host.forwards_ipv4,
        "BridgeNfIptables": false,
        "BridgeNfIp6tables": false,
        "DefaultAddressPools": pools(state),
        "FirewallBackend": { "Driver": "nftables" },
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": registries(&facts.settings.registries),
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

fn registries(settings: &RegistrySettings) -> Value {
    let hub = json!({ "Name": "docker.io", "Mirrors": settings.mirrors, "Secure": true, "Official": true });
    let (networks, hosts): (Vec<_>, Vec<_>) = settings.insecure.iter().partition(|one| one.parse::<IpNet>().is_ok());
    let insecure = |name: &String| json!({ "Name": name, "Mirrors": [], "Secure": false, "Official": false });
    let mut indexes: Map<String, Value> = hosts.into_iter().map(|host| (host.clone(), insecure(host))).collect();
    indexes.insert("docker.io".to_owned(), hub);
    let networks: Vec<&str> =
        ["::1/128", "127.0.0.0/8"].into_iter().chain(networks.into_iter().map(String::as_str)).collect();
    json!({ "InsecureRegistryCIDRs": networks, "IndexConfigs": indexes, "Mirrors": settings.mirrors })
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{
        system::version::version,
        testing::{check_golden, opened, with_container, with_running},
    };

    fn host() -> Host {
        let cgroup = Cgroup {
            version: "2",
            memory: true,
            swap: true,
            oom_kill_disable: false,
            cpu: true,
            cpuset: true,
            pids: true,
        };
        Host {
            name: "dock".to_owned(),
            kernel: "6.1.0-18-amd64".to_owned(),
            machine: "x86_64".to_owned(),
            system: "Debian GNU/Linux 12 (bookworm)".to_owned(),
            system_version: "12".to_owned(),
            id: "0123456789abcdef".to_owned(),
            processors: 4,
            memory: 8 << 30,
            cgroup,
            forwards_ipv4: false,
            descriptors: 12,
        }
    }

    #[test]
    fn the_daemon_is_described() {
        let settings = ApiSettings {
            data_root: PathBuf::from("/var/lib/linkspan"),
            run_dir: PathBuf::from("/run/linkspan"),
            version: "0.1.0".to_owned(),
            network_options: Default::default(),
            registries: RegistrySettings {
                mirrors: vec!["https://mirror.example".to_owned()],
                insecure: vec!["10.0.0.0/8".to_owned(), "registry.example:5000".to_owned()],
                ..RegistrySettings::default()
            },
        };
        let state = with_running(&opened(), "web", &json!({ "Image": "box" }));
        let state = with_container(&state, "idle", &json!({ "Image": "box" }));
        let mut found = info(&state, &Facts { host: host(), images: 3, settings: &settings });
        // The one field that is never the same.
        found["SystemTime"] = json!("");
        check_golden("system/info.json", &format!("{found:#}\n"));
        check_golden("system/version.json", &format!("{:#}\n", version("0.1.0", &host())));
    }
}
