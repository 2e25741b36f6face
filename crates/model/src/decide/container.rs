//! Containers: made, renamed, changed, removed. Their life between start and end is in `life`.

pub mod health;
pub mod life;
pub mod restart;

use std::sync::Arc;

use super::{Task, draft::Draft, sandbox, volume};
use crate::{
    change::{Record, RecordKey},
    command::{AnonymousVolumes, ContainerWish, Force, SandboxWish},
    container::{AfterExit, Container, Phase, Resources, Restart, Want},
    document::Document,
    endpoint::Endpoint,
    id::ContainerId,
    refusal::Refusal,
    sandbox::Stays,
};

/// Makes a container, its sandbox unless it joins another's, and the volumes that are missing.
pub fn create(draft: &mut Draft, wish: ContainerWish) -> Result<(), Refusal> {
    let ContainerWish { container, sandbox, volumes, face } = wish;
    if draft.state.containers.contains_key(&container.id) {
        return Err(Refusal::Conflict(format!("a container with the id {} exists already", container.id)));
    }
    refuse_name(draft, &container.name)?;
    if container.after_exit == AfterExit::Remove && container.restart != Restart::No {
        return Err(Refusal::Invalid("can't create 'AutoRemove' container with restart policy".to_owned()));
    }
    for new in volumes {
        volume::create(draft, new)?;
    }
    let sandbox = match sandbox {
        SandboxWish::New(new) => sandbox::create(draft, new)?,
        SandboxWish::In(id) => draft.sandbox(&id)?.id.clone(),
        SandboxWish::Of(other) => draft.container(&other)?.sandbox.clone(),
    };
    let (phase, want) = (Phase::Created, Want::Stopped);
    let id = container.id.clone();
    if container.fills_volumes() {
        draft.task(Task::Fill(id.clone()));
    }
    let container = Container { sandbox, phase, want, restarts: 0, backoff_ms: 0, health: None, ..container };
    draft.put(Record::Container(Arc::new(container)));
    keep(draft, &id, face);
    draft.tell_container(&id, "create", &[]);
    Ok(())
}

/// Gives a container another name, also on the networks it is on.
pub fn rename(draft: &mut Draft, id: &ContainerId, name: String) -> Result<(), Refusal> {
    let container = draft.container(id)?;
    if container.name == name {
        return Err(Refusal::Invalid("Renaming a container with the same name as its current name".to_owned()));
    }
    refuse_name(draft, &name)?;
    let home = draft.sandbox(&container.sandbox)?;
    if home.is_home_of(id) && home.names.contains(&container.name) {
        draft.edit_sandbox(&home.id, |sandbox| {
            let old = sandbox.names.iter_mut().filter(|known| **known == container.name);
            old.for_each(|known| known.clone_from(&name));
        });
    }
    draft.edit_container(id, |container| container.name = name);
    draft.tell_container(id, "rename", &[("oldName", format!("/{}", container.name))]);
    Ok(())
}

/// What changes about a container.
pub struct Update {
    /// Its limits from now on.
    pub resources: Resources,
    /// Its policy from now on, if that changes.
    pub restart: Option<Restart>,
    /// What the face keeps of it from now on.
    pub face: Document,
}

/// Changes limits and policy.
pub fn update(draft: &mut Draft, id: &ContainerId, update: Update) -> Result<(), Refusal> {
    let container = draft.container(id)?;
    let restart = update.restart.unwrap_or(container.restart);
    if restart != Restart::No && container.after_exit == AfterExit::Remove {
        let why = "Restart policy cannot be updated because AutoRemove is enabled for the container";
        return Err(Refusal::Conflict(format!("Cannot update container {id}: {why}")));
    }
    if container.run().is_some() && update.resources != container.resources {
        draft.task(Task::Limit(id.clone()));
    }
    draft.edit_container(id, |container| {
        container.resources = update.resources;
        container.restart = restart;
    });
    keep(draft, id, update.face);
    draft.tell_container(id, "update", &[]);
    Ok(())
}

/// Removes a container; a live one only by force, and then at once: what is left of it is reaped afterwards.
pub fn remove(draft: &mut Draft, id: &ContainerId, force: Force, volumes: AnonymousVolumes) -> Result<(), Refusal> {
    let container = draft.container(id)?;
    if container.is_live() {
        if force == Force::No {
            return Err(Refusal::Conflict(match &container.phase {
                Phase::Paused(_) => {
                    format!(
                        "cannot remove container \"/{}\": container is paused and must be unpaused first",
                        container.name
                    )
                }
                phase => format!(
                    "cannot remove container \"/{}\": container is {}: stop the container before removing or force remove",
                    container.name,
                    if matches!(phase, Phase::Restarting { .. }) { "restarting" } else { "running" }
                ),
            }));
        }
        life::end_by_force(draft, &container);
    }
    forget(draft, &container, volumes);
    Ok(())
}

/// Takes a container that has ended out of the state, and with the last of a sandbox's containers the sandbox.
pub fn forget(draft: &mut Draft, container: &Container, volumes: AnonymousVolumes) {
    draft.tell_container(&container.id, "destroy", &[]);
    draft.delete(RecordKey::Container(container.id.clone()));
    draft.delete(RecordKey::Document(container.id.clone()));
    if volumes == AnonymousVolumes::Remove {
        volume::remove_anonymous(draft, container);
    }
    // Whoever waits for this finds the volumes gone as well.
    draft.task(Task::Reap(container.id.clone()));
    let home = &container.sandbox;
    let stays = draft.state.sandboxes.get(home).map(|sandbox| sandbox.stays);
    match stays.filter(|_| draft.state.residents_of(home).next().is_none()) {
        Some(Stays::WithContainers) => sandbox::forget(draft, home),
        Some(Stays::Orphaned) => sandbox::end(draft, home),
        Some(Stays::UntilRemoved) | None => {}
    }
}

/// Keeps what a face has to say of a container apart from it: it may be long, and a container changes often.
fn keep(draft: &mut Draft, id: &ContainerId, document: Document) {
    if document.is_null() {
        draft.delete(RecordKey::Document(id.clone()));
    } else {
        draft.put(Record::Document { container: id.clone(), document });
    }
}

fn refuse_name(draft: &Draft, name: &str) -> Result<(), Refusal> {
    match draft.state.container_names.get(name) {
        Some(holder) => Err(Refusal::ContainerNameInUse { name: name.to_owned(), holder: holder.to_string() }),
        None => Ok(()),
    }
}

/// Refuses a start whose sandbox, namespaces or links are another container's that does not run.
fn check_joins(draft: &Draft, container: &Container) -> Result<(), Refusal> {
    use crate::container::Share;
    let home = draft.sandbox(&container.sandbox)?;
    if !home.is_home_of(&container.id) {
        let owner = sandbox::home(&draft.state, &home.id).filter(|owner| home.is_home_of(&owner.id));
        let name = || home.names.last().cloned().unwrap_or_default();
        let owner = owner.ok_or_else(|| Refusal::NotFound { kind: "container", name: name() })?;
        refuse_not_running(owner, "network")?;
    }
    let namespaces = &container.namespaces;
    for (share, what) in
        [(&namespaces.pid, "PID"), (&namespaces.ipc, "IPC"), (&namespaces.uts, "UTS"), (&namespaces.cgroup, "cgroup")]
    {
        if let Share::Container(other) = share {
            refuse_not_running(&*draft.container(other)?, what)?;
        }
    }
    for endpoint in draft.state.endpoints_of(&home.id) {
        check_links(draft, container, endpoint)?;
    }
    Ok(())
}

fn refuse_not_running(other: &Container, what: &str) -> Result<(), Refusal> {
    match (&other.phase, other.run()) {
        (_, Some(_)) => Ok(()),
        (Phase::Restarting { .. }, None) => {
            Err(Refusal::Conflict(format!("Container {} is restarting, wait until the container is running", other.id)))
        }
        _ => Err(Refusal::Conflict(format!("cannot join {what} of a non running container: {}", other.id))),
    }
}

/// A network without DNS tells of a link once, in the hosts file: the other must have its address by then.
fn check_links(draft: &Draft, container: &Container, endpoint: &Endpoint) -> Result<(), Refusal> {
    use crate::network::Names;
    let network = draft.state.networks.get(&endpoint.network);
    let by_hosts_file = network.and_then(|n| n.bridge()).is_some_and(|bridge| bridge.names == Names::HostsFile);
    for link in endpoint.wish.links.iter().filter(|_| by_hosts_file) {
        let other = draft
            .state
            .linked(link)
            .ok_or_else(|| Refusal::NotFound { kind: "container", name: link.alias.clone() })?;
        if other.run().is_none() {
            let words = format!(
                "cannot link to a non running container: /{} AS /{}/{}",
                other.name, container.name, link.alias
            );
            return Err(Refusal::Conflict(words));
        }
    }
    Ok(())
}
