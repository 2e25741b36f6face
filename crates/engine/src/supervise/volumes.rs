//! Volumes of containers: their directories, what the local driver's options make of them, and what an empty one gets from the image.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use model::{
    ContainerId, State, Volume,
    container::{Container, Fill, MountSource},
};
use runtime::{oci::VolumeData, rootfs::Files, shim::launch::Rootfs};

use super::{
    Places,
    refused::{PrepareError, file},
};

/// What the container's volumes consist of; directories are made where they are missing.
pub(super) fn of(
    state: &State,
    places: &Places,
    container: &Container,
) -> Result<BTreeMap<String, VolumeData>, PrepareError> {
    volumes_of(container)
        .map(|name| {
            let directory = places.volume(name).join("_data");
            fs::create_dir_all(&directory).map_err(file(&directory))?;
            let data = match state.volumes.get(name) {
                Some(volume) if !volume.options.is_empty() => driven(state, volume)?,
                _ => VolumeData::Directory(directory),
            };
            Ok((name.to_owned(), data))
        })
        .collect()
}

/// A volume that the local driver mounts.
fn driven(state: &State, volume: &Volume) -> Result<VolumeData, PrepareError> {
    let option = |name: &str| volume.options.get(name).cloned().unwrap_or_default();
    let (kind, device) = (option("type"), option("device"));
    let options: Vec<String> = option("o").split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect();
    let bind = options.iter().any(|option| option == "bind" || option == "rbind");
    if (bind || device.starts_with('/')) && !Path::new(&device).exists() {
        return Err(PrepareError::Device { volume: volume.name.clone(), device });
    }
    Ok(match (bind, options.as_slice()) {
        (true, [_]) => VolumeData::Directory(PathBuf::from(device)),
        (true, _) => VolumeData::Bind { path: PathBuf::from(device), options },
        (false, _) => VolumeData::Filesystem { kind, device, options, mounted_by: users(state, &volume.name) },
    })
}

/// Whether the container mounts a file system that the local driver mounts.
pub(super) fn has_filesystem(state: &State, container: &ContainerId) -> bool {
    let volumes = state.containers.get(container).into_iter().flat_map(|container| volumes_of(container));
    volumes.filter_map(|name| state.volumes.get(name)).any(|volume| !volume.options.is_empty())
}

/// The containers that have the volume mounted now.
fn users(state: &State, volume: &str) -> Vec<String> {
    let runs = state.containers.values().filter(|container| container.run().is_some());
    runs.filter(|container| volumes_of(container).any(|name| name == volume)).map(|c| c.id.to_string()).collect()
}

fn volumes_of(container: &Container) -> impl Iterator<Item = &str> {
    container.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => Some(name.as_str()),
        MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
    })
}

/// The empty volumes that start with what the image has at their places: those places, and the volumes' directories.
pub(super) fn to_fill(container: &Container, volumes: &BTreeMap<String, VolumeData>) -> Vec<(PathBuf, PathBuf)> {
    let fills = container.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, subpath: None, fill: Fill::FromImage } => Some((name, &mount.target)),
        MountSource::Volume { .. } | MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
    });
    fills
        .filter_map(|(name, target)| match volumes.get(name) {
            Some(VolumeData::Directory(directory)) if is_empty(directory) => Some((target.into(), directory.clone())),
            _ => None,
        })
        .collect()
}

/// Copies into volumes what the layers have at their places.
pub(super) async fn fill(empty: Vec<(PathBuf, PathBuf)>, rootfs: Rootfs) -> Result<(), PrepareError> {
    let filled = tokio::task::spawn_blocking(move || {
        let files = Files::of_layers(&rootfs)?;
        empty.iter().try_for_each(|(target, directory)| files.fill(target, directory))
    });
    match filled.await {
        Ok(filled) => Ok(filled?),
        Err(panicked) => Err(file(Path::new("volumes"))(io::Error::other(panicked))),
    }
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}
