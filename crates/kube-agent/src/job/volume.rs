//! Making a pod's volumes on this node, and looking at how much is in them.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{AGAIN_S, Job, failure, make_directory};
use crate::{
    event::Kind,
    objects,
    pod::{
        env::Objects,
        files,
        seen::Failure,
        spec,
        volume::{self, Backing, Medium},
    },
};

impl Job {
    pub(super) async fn mount(&self) -> Result<BTreeMap<String, PathBuf>, Failure> {
        self.make_volumes().await.map_err(|(volume, words)| {
            let message = format!("MountVolume.SetUp failed for volume \"{volume}\" : {words}");
            self.shared.recorder.tell(&self.pod, None, Kind::Warning, "FailedMount", message.clone());
            failure("ContainerCreating", message, AGAIN_S)
        })
    }

    async fn make_volumes(&self) -> Result<BTreeMap<String, PathBuf>, (String, String)> {
        let pod_spec = spec::of(&self.pod);
        let group = pod_spec.security_context.as_ref().and_then(|context| context.fs_group);
        let group = group.and_then(|group| u32::try_from(group).ok());
        let directories = self.directories();
        let whole = |error: &dyn std::fmt::Display| ("pod".to_owned(), error.to_string());
        make_directory(&directories.disk).map_err(|error| whole(&error))?;
        let objects = self.volume_objects().await.map_err(|error| whole(&error))?;
        let place = self.place();
        let (mut paths, mut failed) = (BTreeMap::new(), None);
        for wanted in pod_spec.volumes.iter().flatten() {
            let made = volume::backing(&self.pod, wanted, &objects, &place).map_err(|error| error.to_string());
            let made = made.and_then(|backing| {
                let path = directories.volume(&wanted.name, &backing);
                make_volume(&path, &backing, group).map(|()| path).map_err(|error| error.to_string())
            });
            match made {
                Ok(path) => drop(paths.insert(wanted.name.clone(), path)),
                // The others follow what they are made of all the same.
                Err(words) => failed = failed.or(Some((wanted.name.clone(), words))),
            }
        }
        failed.map_or(Ok(paths), Err)
    }

    async fn volume_objects(&self) -> kube::Result<Objects> {
        let client = &self.shared.client;
        let mut objects = objects::fetch(client, &self.namespace(), volume::references(&self.pod)).await?;
        for (key, wanted) in volume::tokens(&self.pod) {
            let token = self.shared.tokens.get(client, &self.pod, (&key, &wanted)).await?;
            objects.tokens.insert(key, token);
        }
        Ok(objects)
    }

    /// Which of the pod's volumes holds more than it may, in the words of an eviction.
    pub async fn measure(self) -> Option<String> {
        let measured = tokio::task::spawn_blocking(move || {
            let limits = volume::limits(&self.pod);
            let over = limits.into_iter().find(|limit| {
                let used = self.volumes.get(&limit.volume).map_or(0, |path| used(path));
                used > limit.bytes
            });
            over.map(|limit| {
                format!("Usage of EmptyDir volume {:?} exceeds the limit {:?}. ", limit.volume, limit.spelled)
            })
        });
        measured.await.ok().flatten()
    }
}

/// Bytes on disk below a directory.
fn used(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => used(&entry.path()),
        Ok(found) => found.blocks() * 512,
        // It has gone meanwhile.
        Err(_) => 0,
    };
    entries.map(of).sum()
}

/// Takes the file systems of a pod's volumes away.
pub(super) fn unmount_all(volumes: &Path) {
    for volume in fs::read_dir(volumes).into_iter().flatten().flatten() {
        // Emptied first: a copy of the mount may be left for a while where other containers are made.
        let _ = fs::remove_dir_all(volume.path());
        // What is no mount is refused.
        let _ = unmount(volume.path(), UnmountFlags::DETACH);
    }
}

fn make_volume(path: &Path, backing: &Backing, group: Option<u32>) -> io::Result<()> {
    match backing {
        Backing::Empty(medium) => {
            if !path.exists() {
                make_directory(path)?;
                if let Medium::Memory { size } = medium {
                    let size = size.map(|bytes| format!("size={bytes}")).unwrap_or_default();
                    let size = std::ffi::CString::new(size)?;
                    let mounted = mount("tmpfs", path, "tmpfs", MountFlags::empty(), Some(size.as_c_str()));
                    // A directory that stays behind would pass for the volume.
                    mounted.inspect_err(|_| drop(fs::remove_dir(path)))?;
                }
                fs::set_permissions(path, PermissionsExt::from_mode(0o777))?;
            }
            group.map_or(Ok(()), |group| files::share(path, group))
        }
        Backing::Files(wanted) => {
            if let Some(parent) = path.parent() {
                make_directory(parent)?;
            }
            files::write(path, wanted, group, Timestamp::now())
        }
        Backing::Host { path, kind } => check_host_path(path, kind),
    }
}

/// Makes what may be made at a path of the node, and refuses what is not as the pod says.
fn check_host_path(path: &Path, kind: &str) -> io::Result<()> {
    let is = |found: bool, what: &str| match found {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("hostPath type check failed: {} is not {what}", path.display()),
        )),
    };
    let of_type = |check: fn(&fs::FileType) -> bool| fs::metadata(path).is_ok_and(|found| check(&found.file_type()));
    match kind {
        "DirectoryOrCreate" => make_directory(path),
        "FileOrCreate" if !path.exists() => fs::write(path, ""),
        "FileOrCreate" | "File" => is(path.is_file(), "a file"),
        "Directory" => is(path.is_dir(), "a directory"),
        "Socket" => is(of_type(FileTypeExt::is_socket), "a socket file"),
        "CharDevice" => is(of_type(FileTypeExt::is_char_device), "a character device"),
        "BlockDevice" => is(of_type(FileTypeExt::is_block_device), "a block device"),
        // Nothing is asked of it; a directory is made, as Docker does.
        _ if !path.exists() => make_directory(path),
        _ => Ok(()),
    }
}
