//! Volumes at a start: their directories, what the local driver's options make of them, and what an empty one gets from the image.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use model::{
    State, Volume,
    container::{Container, Fill, MountSource},
};
use runtime::{oci::VolumeData, rootfs::Files, shim::launch::Rootfs};

use super::{
    Places,
    launch::{PrepareError, file},
};

/// What the container's volumes consist of; directories are made where they are missing.
pub(super) fn of(
    state: &State,
    places: &Places,
    container: &Container,
) -> Result<BTreeMap<String, VolumeData>, PrepareError> {
    let names = container.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => Some(name),
        MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
    });
    names
        .map(|name| {
            let directory = places.volume(name).join("_data");
            fs::create_dir_all(&directory).map_err(file(&directory))?;
            let data = match state.volumes.get(name) {
                Some(volume) if !volume.options.is_empty() => driven(volume)?,
                _ => VolumeData::Directory(directory),
            };
            Ok((name.clone(), data))
        })
        .collect()
}

/// A volume that the local driver mounts.
fn driven(volume: &Volume) -> Result<VolumeData, PrepareError> {
    let option = |name: &str| volume.options.get(name).cloned().unwrap_or_default();
    let (kind, device) = (option("type"), option("device"));
    let options: Vec<String> = option("o").split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect();
    let bind = options.iter().any(|option| option == "bind" || option == "rbind");
    if (bind || device.starts_with('/')) && !Path::new(&device).exists() {
        return Err(PrepareError::Device { volume: volume.name.clone(), device });
    }
    Ok(match (bind, options.as_slice()) {
        (true, [_]) => VolumeData::Directory(PathBuf::from(device)),
        (true, _) => VolumeData::Filesystem { kind: "bind".to_owned(), device, options },
        (false, _) => VolumeData::Filesystem { kind, device, options },
    })
}

/// Copies into empty volumes what the container has where they will be mounted.
pub(super) async fn fill(
    container: &Container,
    rootfs: &Rootfs,
    volumes: &BTreeMap<String, VolumeData>,
) -> Result<(), PrepareError> {
    let empty: Vec<(PathBuf, PathBuf)> = container
        .mounts
        .iter()
        .filter_map(|mount| match &mount.source {
            MountSource::Volume { name, subpath: None, fill: Fill::FromImage } => Some((name, &mount.target)),
            MountSource::Volume { .. } | MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
        })
        .filter_map(|(name, target)| match volumes.get(name) {
            Some(VolumeData::Directory(directory)) if is_empty(directory) => Some((target.into(), directory.clone())),
            _ => None,
        })
        .collect();
    if empty.is_empty() {
        return Ok(());
    }
    let rootfs = rootfs.clone();
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
