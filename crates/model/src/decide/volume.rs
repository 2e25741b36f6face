//! Volumes: made, removed.

use std::sync::Arc;

use super::{Task, draft::Draft};
use crate::{
    change::{Record, RecordKey},
    container::{Container, MountSource},
    id::ContainerId,
    refusal::Refusal,
    state::State,
    volume::{Naming, Volume},
};

/// Makes a volume; one that exists is kept, unless other options are asked for.
pub fn create(draft: &mut Draft, volume: Volume) -> Result<(), Refusal> {
    if let Some(old) = draft.state.volumes.get(&volume.name) {
        return match volume.options.is_empty() || volume.options == old.options {
            true => Ok(()),
            false => Err(Refusal::Conflict(format!(
                "volume name must be unique: volume {} exists with other options: remove it, or use another name",
                volume.name
            ))),
        };
    }
    let name = volume.name.clone();
    draft.put(Record::Volume(Arc::new(volume)));
    draft.tell_volume(&name, "create", &[]);
    draft.task(Task::MakeVolume(name));
    Ok(())
}

/// Removes a volume that no container uses.
pub fn remove(draft: &mut Draft, name: &str) -> Result<(), Refusal> {
    if !draft.state.volumes.contains_key(name) {
        return Err(Refusal::NotFound { kind: "volume", name: name.to_owned() });
    }
    let holders: Vec<_> = users(&draft.state, name).map(|container| container.id.as_str()).collect();
    if !holders.is_empty() {
        return Err(Refusal::VolumeInUse { volume: name.to_owned(), holders: holders.join(", ") });
    }
    drop_volume(draft, name);
    Ok(())
}

/// Removes the anonymous volumes of a container that is gone from the draft, but for those that others use.
pub fn remove_anonymous(draft: &mut Draft, container: &Container) {
    for (name, _) in volumes(container) {
        let anonymous = draft.state.volumes.get(name).is_some_and(|volume| volume.naming == Naming::Anonymous);
        if anonymous && users(&draft.state, name).next().is_none() {
            drop_volume(draft, name);
        }
    }
}

/// Tells that a container's volumes are mounted or unmounted.
pub fn tell(draft: &mut Draft, id: &ContainerId, action: &str) {
    let Some(container) = draft.state.containers.get(id).cloned() else { return };
    for (name, mount) in volumes(&container) {
        let access = matches!(mount.access, crate::container::Access::ReadWrite).to_string();
        let more: &[(&str, String)] = match action {
            "mount" => &[
                ("container", id.to_string()),
                ("destination", mount.target.clone()),
                ("propagation", String::new()),
                ("read/write", access),
            ],
            _ => &[("container", id.to_string())],
        };
        draft.tell_volume(name, action, more);
    }
}

fn drop_volume(draft: &mut Draft, name: &str) {
    draft.delete(RecordKey::Volume(name.to_owned()));
    draft.tell_volume(name, "destroy", &[]);
    draft.task(Task::DropVolume(name.to_owned()));
}

fn users<'s>(state: &'s State, name: &'s str) -> impl Iterator<Item = &'s Arc<Container>> + 's {
    state.containers.values().filter(move |container| volumes(container).any(|(used, _)| used == name))
}

fn volumes(container: &Container) -> impl Iterator<Item = (&str, &crate::container::Mount)> {
    container.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => Some((name.as_str(), mount)),
        MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
    })
}
