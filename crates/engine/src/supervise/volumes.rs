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

/// What of a volume's directory its containers see.
const DATA: &str = "_data";
/// How the names of directories begin whose volumes are gone; no volume's name begins with a dot.
const REMOVED: &str = ".removed-";

/// What the container's volumes consist of; directories are made where they are missing.
pub(super) fn of(
    state: &State,
    places: &Places,
    container: &Container,
) -> Result<BTreeMap<String, VolumeData>, PrepareError> {
    volumes_of(container)
        .map(|name| {
            let directory = make(places, name).map_err(file(&places.volume(name)))?;
            let data = match state.volumes.get(name) {
                Some(volume) if !volume.options.is_empty() => driven(state, volume)?,
                _ => VolumeData::Directory(directory),
            };
            Ok((name.to_owned(), data))
        })
        .collect()
}

/// Makes the directory of a volume's data where it is missing.
pub(super) fn make(places: &Places, name: &str) -> io::Result<PathBuf> {
    let data = places.volume(name).join(DATA);
    fs::create_dir_all(&data)?;
    Ok(data)
}

/// Gives the directory of a volume that is gone a name that no volume can have. It is removed where it is when it cannot be moved, as when
/// something is mounted on it.
pub(super) fn set_aside(places: &Places, name: &str) -> PathBuf {
    let directory = places.volume(name);
    // One of that name may have been removed before, and be so large that it is still there.
    let names = (0..).map(|number: u32| directory.with_file_name(format!("{REMOVED}{number}.{name}")));
    let free = names.into_iter().find(|aside| !aside.exists()).unwrap_or_else(|| directory.clone());
    match fs::rename(&directory, &free) {
        Ok(()) => free,
        Err(_) => directory,
    }
}

/// The directories that were set aside, and those of anonymous volumes that the journal does not have: a daemon that was killed had no time
/// to remove them. Another unknown directory is somebody's, and stays; so do all when the journal is new.
pub(super) fn left_behind(state: &State, places: &Places) -> Vec<PathBuf> {
    // The names of anonymous volumes are made as ids are.
    let anonymous = |name: &str| state.settings.is_some() && name.parse::<ContainerId>().is_ok();
    let gone = |name: &str| name.starts_with(REMOVED) || anonymous(name) && !state.volumes.contains_key(name);
    let entries = fs::read_dir(places.volumes()).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_str().is_some_and(gone)).map(|entry| entry.path()).collect()
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::host::Settings;

    use super::*;

    #[test]
    fn directories_come_and_go() {
        let root = tempfile::tempdir().unwrap();
        let places = Places { data_root: root.path().to_owned(), run_dir: root.path().to_owned() };
        let anonymous = "ab".repeat(32);
        for name in ["named", &anonymous, "named"] {
            let data = make(&places, name).unwrap();
            assert!(is_empty(&data), "{name} is new");
            fs::write(data.join("file"), "").unwrap();
            let aside = set_aside(&places, name);
            assert!(aside.join(DATA).join("file").exists() && !data.exists(), "{name} is set aside");
        }
        make(&places, "somebodys").unwrap();
        make(&places, &anonymous).unwrap();
        let mut state = State::default();
        assert_eq!(left_behind(&state, &places).len(), 3, "a new journal knows of no volume");
        state.settings = Some(Arc::new(Settings::default()));
        let left = left_behind(&state, &places);
        assert!(left.len() == 4 && left.contains(&places.volume(&anonymous)), "{left:?}");
    }
}
