//! What is mounted in a container besides its root: the usual kernel filesystems, the engine's files, the user's
//! mounts, in an order in which none hides another by accident.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use model::container::{Access, Container, Mount, MountSource, Privilege, ReadOnly, Share};
use serde_json::{Value, json};

use crate::{
    cgroup::Cgroup,
    sandbox,
    shim::launch::{Filesystem, file},
};

use super::{Host, OciError, VolumeData, process::INIT_PATH, propagation};
use model::container::Init;

/// The mount and those below it (mount_setattr(2)). Without that call the built-in runtime mounts nothing at all.
const READ_ONLY: &str = "rro";
/// `/dev/shm` unless asked otherwise.
const SHM_BYTES: u64 = 64 << 20;

/// All mounts of a container as the OCI lists them.
pub fn of(container: &Container, host: &Host) -> Result<Vec<Value>, OciError> {
    let mut mounts = usual(container, host);
    let mut own: Vec<&Mount> = container.mounts.iter().collect();
    own.sort_by_key(|mount| Path::new(&mount.target).components().count());
    // What the user mounts at a usual place stands instead of the usual.
    mounts.retain(|mount| !own.iter().any(|own| Some(own.target.as_str()) == mount["destination"].as_str()));
    if let (Init::Init, Some(init)) = (container.process.init, &host.init) {
        mounts.push(bind(init, INIT_PATH, &["bind", "ro"]));
    }
    for mount in &own {
        mounts.push(wanted(mount, host)?);
    }
    // Last, so that a volume at /etc does not hide them.
    for (source, target) in &host.files {
        if !own.iter().any(|own| own.target == *target) {
            mounts.push(bind(source, target, &["rbind", "rprivate"]));
        }
    }
    Ok(mounts)
}

/// The file systems of volumes that the shim mounts, or finds mounted, before the container is made.
pub fn filesystems(container: &Container, host: &Host) -> Vec<Filesystem> {
    let names: BTreeSet<&String> = container
        .mounts
        .iter()
        .filter_map(|mount| match &mount.source {
            MountSource::Volume { name, .. } => Some(name),
            MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
        })
        .collect();
    let filesystem = |name: &String| match host.volumes.get(name)? {
        VolumeData::Filesystem { kind, device, options, mounted_by } => Some(Filesystem {
            volume: name.clone(),
            kind: kind.clone(),
            device: device.clone(),
            options: options.clone(),
            mounted_by: mounted_by.clone(),
        }),
        VolumeData::Directory(_) | VolumeData::Bind { .. } => None,
    };
    names.into_iter().filter_map(filesystem).collect()
}

fn usual(container: &Container, host: &Host) -> Vec<Value> {
    let privileged = container.security.privilege == Privilege::Privileged;
    let access = if privileged { "rw" } else { "ro" };
    let shm_bytes = container.resources.shm_size.unwrap_or(SHM_BYTES);
    let shm = match (&container.namespaces.ipc, host.peers.ipc) {
        (Share::Host, _) => bind(Path::new("/dev/shm"), "/dev/shm", &["rbind", "nosuid", "noexec", "nodev"]),
        (Share::Sandbox, _) => bind(&sandbox::shm(&host.sandbox), "/dev/shm", &["bind", "nosuid", "noexec", "nodev"]),
        (Share::Container(_), Some(_)) => {
            bind(Path::new(file::SHM), "/dev/shm", &["bind", "nosuid", "noexec", "nodev"])
        }
        _ => kernel(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", &format!("size={shm_bytes}")],
        ),
    };
    let mqueue = match container.namespaces.ipc {
        Share::Host => bind(Path::new("/dev/mqueue"), "/dev/mqueue", &["rbind", "nosuid", "noexec", "nodev"]),
        _ => kernel("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    };
    let mut mounts = vec![
        kernel("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        kernel("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        kernel(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        kernel("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]),
        kernel("/sys/fs/cgroup", "cgroup", "cgroup", &[access, "nosuid", "noexec", "nodev"]),
        mqueue,
        shm,
    ];
    // Some want no shared memory at all.
    mounts.retain(|mount| mount["destination"] != "/dev/shm" || shm_bytes > 0);
    // A queue that the host has not mounted cannot be shared.
    mounts.retain(|mount| mount["source"] != "/dev/mqueue" || Path::new("/dev/mqueue").exists());
    let joins_processes = host.peers.pid.is_some() || container.namespaces.pid == Share::Sandbox;
    if joins_processes && let Ok(Cgroup::V1(groups)) = Cgroup::at(&super::cgroup_path(container)) {
        mounts.retain(|mount| mount["type"] != "cgroup");
        mounts.extend(cgroups_v1(&groups, access));
    }
    mounts
}

/// The groups of v1 one by one. libcontainer cannot: it looks itself up in /proc by an id that is another's outside of the pid
/// namespace it has joined.
fn cgroups_v1(groups: &BTreeMap<String, PathBuf>, access: &str) -> Vec<Value> {
    const ROOT: &str = "/sys/fs/cgroup";
    let root = kernel(ROOT, "tmpfs", "tmpfs", &["nosuid", "noexec", "nodev", "mode=755"]);
    let trees = groups.iter().map(|(controller, group)| {
        bind(group, &format!("{ROOT}/{controller}"), &["bind", access, "nosuid", "noexec", "nodev"])
    });
    std::iter::once(root).chain(trees).collect()
}

fn wanted(mount: &Mount, host: &Host) -> Result<Value, OciError> {
    let read_only = mount.access == Access::ReadOnly;
    Ok(match &mount.source {
        MountSource::Bind { path, propagation, recursive, read_only: reach, .. } => {
            let propagation = if propagation.is_empty() { "rprivate" } else { propagation };
            propagation::check(path, propagation)?;
            let mut options = vec![if *recursive { "rbind" } else { "bind" }, propagation];
            options.extend(read_only.then_some(match reach {
                ReadOnly::WithThoseBelow => READ_ONLY,
                ReadOnly::Itself => "ro",
            }));
            bind(path, &mount.target, &options)
        }
        MountSource::Volume { name, subpath, .. } => {
            let data = host.volumes.get(name).ok_or_else(|| OciError::NoVolume(name.clone()))?;
            match (data, subpath) {
                (VolumeData::Directory(root), subpath) => {
                    let source = below(name, root, subpath.as_deref().unwrap_or_default())?;
                    let mut options = vec!["rbind", "rprivate"];
                    options.extend(read_only.then_some(READ_ONLY));
                    bind(&source, &mount.target, &options)
                }
                (VolumeData::Bind { path, options }, None) => {
                    let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
                    options.extend(read_only.then_some(READ_ONLY));
                    kernel(&mount.target, "bind", &path.to_string_lossy(), &options)
                }
                (VolumeData::Filesystem { .. }, None) => {
                    let mut options = vec!["rbind", "rprivate"];
                    options.extend(read_only.then_some(READ_ONLY));
                    bind(&Path::new(file::VOLUMES).join(name), &mount.target, &options)
                }
                (VolumeData::Bind { .. } | VolumeData::Filesystem { .. }, Some(_)) => {
                    return Err(OciError::NoSubpath(name.clone()));
                }
            }
        }
        MountSource::Tmpfs { options } => {
            let mut all = vec!["noexec", "nosuid", "nodev"];
            all.retain(|option| !options.iter().any(|given| option.strip_prefix("no") == Some(given)));
            all.extend(options.iter().map(String::as_str));
            all.extend(read_only.then_some("ro"));
            kernel(&mount.target, "tmpfs", "tmpfs", &all)
        }
    })
}

/// A directory in a volume. Whoever writes to the volume may have put a link there, which must not lead out of it.
fn below(name: &str, root: &Path, subpath: &str) -> Result<PathBuf, OciError> {
    let failed = |source| OciError::Subpath { volume: name.to_owned(), subpath: subpath.to_owned(), source };
    let root = root.canonicalize().map_err(failed)?;
    let path = root.join(subpath.trim_start_matches('/')).canonicalize().map_err(failed)?;
    if !path.starts_with(&root) {
        return Err(failed(io::Error::other("it leads out of the volume")));
    }
    Ok(path)
}

fn kernel(target: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({"destination": target, "type": kind, "source": source, "options": options})
}

fn bind(source: &Path, target: &str, options: &[&str]) -> Value {
    json!({"destination": target, "type": "bind", "source": source, "options": options})
}
