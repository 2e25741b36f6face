//! Which volumes a filter lets through, and who uses them.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    State, Volume,
    container::{Mount, MountSource},
    volume::Naming,
};

use crate::{ApiError, filter::Filters};

/// The keys that a filter of a list may have.
pub(super) const KEYS: [&str; 4] = ["dangling", "driver", "label", "name"];
/// The label that Docker gives to volumes without a name.
pub(crate) const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

/// The volumes, by name.
pub(super) fn list<'a>(state: &'a State, filters: &'a Filters) -> Result<impl Iterator<Item = &'a Volume>, ApiError> {
    let dangling = filters.flag("dangling")?;
    let users = users(state);
    let passes = move |volume: &&Volume| {
        filters.is("driver", "local")
            && filters.pattern("name", &volume.name)
            && filters.labels(&labels(volume))
            && dangling.is_none_or(|dangling| dangling != users.contains_key(volume.name.as_str()))
    };
    Ok(state.volumes.values().map(|volume| &**volume).filter(passes))
}

/// How many containers mount each volume that any container mounts.
pub(crate) fn users(state: &State) -> BTreeMap<&str, usize> {
    let mut users = BTreeMap::new();
    for container in state.containers.values() {
        // A container that mounts a volume twice is one user.
        let names: BTreeSet<&str> = container.mounts.iter().filter_map(volume_name).collect();
        names.into_iter().for_each(|name| *users.entry(name).or_default() += 1);
    }
    users
}

fn volume_name(mount: &Mount) -> Option<&str> {
    match &mount.source {
        MountSource::Volume { name, .. } => Some(name),
        MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
    }
}

/// The labels of a volume as Docker counts them.
pub(crate) fn labels(volume: &Volume) -> BTreeMap<String, String> {
    let mut labels = volume.labels.clone();
    if volume.naming == Naming::Anonymous {
        labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
    }
    labels
}
