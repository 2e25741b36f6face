//! What the OCI runtime is told: from the neutral [`Container`] to a specification that gives what Docker gives.
//! Pure but for looking at the host's devices and, in [`enter`], at the container's own files.

pub mod capabilities;
mod devices;
mod mounts;
pub mod process;
pub mod propagation;
mod resources;
pub mod seccomp;
pub mod user;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use model::container::{Access, Container, Log, LogPart, Namespaces, Privilege, Seccomp, Share};
use oci_spec::runtime::{LinuxSeccomp, Spec};
use serde_json::{Value, json};

use crate::shim::launch::{Launch, LogDriver, OciRuntime, Rootfs, file};
use crate::{cgroup::parents, sandbox};
use user::Identity;

/// Paths that are hidden from a container unless asked otherwise, besides those of [`masked_paths`].
const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths that a container may only read unless asked otherwise.
pub const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Paths that are hidden from a container unless asked otherwise. Where the processors count how often they were too hot, that is
/// among them: like the interrupts it tells what others do.
pub fn masked_paths() -> Vec<String> {
    static THERMAL: LazyLock<Vec<String>> = LazyLock::new(|| {
        let processors = std::fs::read_dir("/sys/devices/system/cpu").into_iter().flatten().flatten();
        let counts = processors.map(|processor| processor.path().join("thermal_throttle")).filter(|path| path.exists());
        let mut counts: Vec<String> = counts.map(|path| path.display().to_string()).collect();
        counts.sort();
        counts
    });
    MASKED_PATHS.iter().map(ToString::to_string).chain(THERMAL.iter().cloned()).collect()
}

/// A container cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// See the message.
    #[error(transparent)]
    Capability(#[from] capabilities::CapabilityError),
    /// See the message.
    #[error(transparent)]
    User(#[from] user::UserError),
    /// See the message.
    #[error(transparent)]
    Profile(#[from] seccomp::ProfileError),
    /// A device of the host cannot be passed.
    #[error("error gathering device information while adding custom device {:?}", path.display())]
    Device {
        /// On the host.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A block device of the host cannot be limited.
    #[error("cannot limit the block device {}", path.display())]
    BlockDevice {
        /// On the host.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// See the message.
    #[error("invalid device cgroup rule format: {0:?}")]
    DeviceRule(String),
    /// The engine has not said where it is.
    #[error("volume {0} has no place on the host")]
    NoVolume(String),
    /// A directory of a volume cannot be mounted.
    #[error("cannot access path {subpath:?} in volume {volume}")]
    Subpath {
        /// Its name.
        volume: String,
        /// In the volume.
        subpath: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its content is not known before it is mounted.
    #[error("volume {0} is a file system of its own, of which no directory can be mounted: mount the whole")]
    NoSubpath(String),
    /// See the message.
    #[error("path {} is mounted on {} but it is not {lacks} mount", path.display(), holder.display())]
    Propagation {
        /// On the host.
        path: PathBuf,
        /// Where the mount is that holds it.
        holder: PathBuf,
        /// What it would have to be.
        lacks: &'static str,
    },
    /// The working directory is something else.
    #[error("Cannot mkdir: {} is not a directory", .0.display())]
    NotDirectory(PathBuf),
    /// The working directory cannot be made.
    #[error("cannot make the working directory {:?}", path.display())]
    Cwd {
        /// In the container.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The parts do not make a specification.
    #[error("cannot describe the container to the OCI runtime")]
    Spec(#[from] serde_json::Error),
}

/// What a container needs to know of the host and of the engine's preparations.
#[derive(Clone, Debug)]
pub struct Host {
    /// The container's layers.
    pub rootfs: Rootfs,
    /// Its network namespace; none for the host's.
    pub netns: Option<PathBuf>,
    /// The directory of what the containers of its sandbox share ([`crate::sandbox`]).
    pub sandbox: PathBuf,
    /// Processes of the containers whose namespaces it joins.
    pub peers: Peers,
    /// Host name; ignored when the UTS namespace is shared.
    pub hostname: String,
    /// Domain name; empty for none.
    pub domainname: String,
    /// Files made by the engine, and where they go: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`.
    pub files: Vec<(PathBuf, String)>,
    /// Where named volumes are.
    pub volumes: BTreeMap<String, VolumeData>,
    /// The executable that is the small init; it must be static.
    pub init: Option<PathBuf>,
    /// The log file.
    pub log: PathBuf,
    /// Kernel settings of the network inside, when the namespace is the container's own to set.
    pub network_sysctls: BTreeMap<String, String>,
    /// What the daemon may give away: [`capabilities::available`].
    pub capabilities: BTreeSet<String>,
}

/// What a named volume consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeData {
    /// A directory of the host.
    Directory(PathBuf),
    /// A path of the host with mount(8) options.
    Bind {
        /// Absolute path.
        path: PathBuf,
        /// `bind` or `rbind` is one of them.
        options: Vec<String>,
    },
    /// A file system that is mounted once, for all containers that use it.
    Filesystem {
        /// Its type, as mount(8) takes it.
        kind: String,
        /// What is mounted.
        device: String,
        /// mount(8) options.
        options: Vec<String>,
        /// The containers that have it mounted now, by id.
        mounted_by: Vec<String>,
    },
}

/// A process in each namespace that is joined; none when it is not joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// For the pid namespace.
    pub pid: Option<u32>,
    /// For the IPC namespace.
    pub ipc: Option<u32>,
    /// For the UTS namespace.
    pub uts: Option<u32>,
    /// For the cgroup namespace.
    pub cgroup: Option<u32>,
}

/// Everything a shim needs to run `container`.
pub fn launch(container: &Container, host: &Host) -> Result<Launch, OciError> {
    Ok(Launch {
        id: container.id.to_string(),
        spec: spec(container, host)?,
        identity: Identity {
            user: container.process.user.clone(),
            groups: container.process.groups.clone(),
            memberships: container.process.memberships,
        },
        rootfs: host.rootfs.clone(),
        filesystems: mounts::filesystems(container, host),
        stdin: process::stdin(container.process.stdin),
        log: log(container, host),
        shm_of: host.peers.ipc,
        runtime: container.external_runtime.clone().map_or(OciRuntime::BuiltIn, OciRuntime::Program),
    })
}

fn log(container: &Container, host: &Host) -> LogDriver {
    match &container.log {
        Log::None => LogDriver::None,
        Log::JsonFile { max_size, max_file, attributes } => LogDriver::JsonFile {
            path: host.log.clone(),
            max_size_bytes: *max_size,
            max_files: (*max_file).max(1),
            attrs: attributes.iter().map(|(name, value)| (name.clone(), log_attribute(container, value))).collect(),
        },
    }
}

fn log_attribute(container: &Container, value: &[LogPart]) -> String {
    let text = |part: &LogPart| match part {
        LogPart::Text(text) => text.clone(),
        LogPart::Name => container.name.clone(),
    };
    value.iter().map(text).collect()
}

/// The container's specification; root path and user are filled in by [`enter`].
pub fn spec(container: &Container, host: &Host) -> Result<Spec, OciError> {
    let security = &container.security;
    let privileged = security.privilege == Privilege::Privileged;
    let kept = capabilities::of(security, &host.capabilities)?;
    let (devices, rules) = devices::of(security)?;
    let mut limits = resources::of(&container.resources)?;
    limits["devices"] = rules.into();
    let paths = |wish: &Option<Vec<String>>, usual: &dyn Fn() -> Value| match wish {
        Some(paths) => json!(paths),
        None if privileged => json!([]),
        None => usual(),
    };
    let mut sysctls = security.sysctls.clone();
    if host.netns.is_some() {
        sysctls.extend(host.network_sysctls.clone());
    }
    let mut value = json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs", "readonly": security.root == Access::ReadOnly},
        "process": process::first(container, &kept)?,
        "mounts": mounts::of(container, host)?,
        "linux": {
            "cgroupsPath": cgroup_path(container),
            "namespaces": namespaces(&container.namespaces, host),
            "resources": limits,
            "devices": devices,
            "sysctl": sysctls,
            "maskedPaths": paths(&security.masked_paths, &|| json!(masked_paths())),
            "readonlyPaths": paths(&security.readonly_paths, &|| json!(READONLY_PATHS)),
        },
    });
    if container.namespaces.uts == Share::Own {
        value["hostname"] = host.hostname.clone().into();
        if !host.domainname.is_empty() {
            value["domainname"] = host.domainname.clone().into();
        }
    }
    if !container.annotations.is_empty() {
        value["annotations"] = json!(container.annotations);
    }
    if let Some(propagation) = propagation::of_root(container) {
        value["linux"]["rootfsPropagation"] = propagation.into();
    }
    let mut spec: Spec = serde_json::from_value(value)?;
    if let Some(linux) = spec.linux_mut() {
        linux.set_seccomp(filter(&security.seccomp, privileged, &kept)?);
    }
    Ok(spec)
}

/// Completes a launch with what is only known once the root filesystem is mounted at `rootfs`.
pub fn enter(launch: &mut Launch, rootfs: &Path) -> Result<(), OciError> {
    if let Some(root) = launch.spec.root_mut() {
        root.set_path(rootfs.to_owned());
    }
    for mount in launch.spec.mounts_mut().iter_mut().flatten() {
        let source = mount.source().clone().unwrap_or_default();
        if source == Path::new(file::SHM) || source.starts_with(file::VOLUMES) {
            mount.set_source(Some(rootfs.with_file_name(source)));
        }
    }
    let mut process = launch.spec.process().clone().unwrap_or_default();
    process::enter(&mut process, &launch.identity, rootfs)?;
    process::make_cwd(&process, rootfs)?;
    launch.spec.set_process(Some(process));
    Ok(())
}

/// Where a container's control group is, within the hierarchy.
pub fn cgroup_path(container: &Container) -> String {
    let parent = container.resources.cgroup_parent.as_deref().unwrap_or(parents::USUAL);
    format!("/{}/{}", parent.trim_matches('/'), container.id)
}

fn filter(seccomp: &Seccomp, privileged: bool, kept: &BTreeSet<String>) -> Result<Option<LinuxSeccomp>, OciError> {
    Ok(match seccomp {
        Seccomp::Unconfined => None,
        Seccomp::Usual if privileged => None,
        Seccomp::Usual => Some(seccomp::usual(kept)?),
        Seccomp::Profile(json) => Some(seccomp::profile(json, kept)?),
    })
}

fn namespaces(wish: &Namespaces, host: &Host) -> Vec<Value> {
    let mut namespaces = vec![json!({"type": "mount"})];
    let shared = [
        ("pid", "pid", &wish.pid, host.peers.pid),
        ("ipc", "ipc", &wish.ipc, host.peers.ipc),
        ("uts", "uts", &wish.uts, host.peers.uts),
        ("cgroup", "cgroup", &wish.cgroup, host.peers.cgroup),
    ];
    for (kind, file, share, peer) in shared {
        match (share, peer) {
            (Share::Own, _) => namespaces.push(json!({"type": kind})),
            (Share::Container(_), Some(pid)) => {
                namespaces.push(json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")}))
            }
            (Share::Sandbox, _) if kind == "ipc" => {
                namespaces.push(json!({"type": kind, "path": sandbox::ipc(&host.sandbox)}));
            }
            (Share::Sandbox, _) if kind == "uts" => {
                namespaces.push(json!({"type": kind, "path": sandbox::uts(&host.sandbox)}));
            }
            (Share::Sandbox, _) if kind == "pid" => {
                namespaces.push(json!({"type": kind, "path": sandbox::reaper::processes(&host.sandbox)}));
            }
            (Share::Sandbox, _) => namespaces.push(json!({"type": kind})),
            (Share::Host | Share::Container(_), _) => {}
        }
    }
    if let Some(path) = &host.netns {
        namespaces.push(json!({"type": "network", "path": path}));
    }
    namespaces
}
