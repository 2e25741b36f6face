//! Making a container of a pod and starting it.

use std::{fs, io, os::unix::fs::PermissionsExt, sync::Arc};

use engine::{ContainerUpdate, EngineError};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use model::{
    ContainerId, Refusal, State,
    container::{Phase, Resources},
};

use super::{AGAIN_S, Job, failure};
use crate::{
    event::Kind,
    identity, image, objects,
    pod::{
        container::{self, Made},
        network, resources, security,
        seen::Failure,
        spec,
    },
};

impl Job {
    pub(super) async fn start(&self, name: &str, number: u32, pause_s: i64) -> Result<(), Failure> {
        let shared = &self.shared;
        let pod_spec = spec::of(&self.pod);
        let Some((role, container)) = spec::container(&pod_spec, name) else { return Ok(()) };
        let field = || Some(spec::field_path(role, name));
        let refused = |reason: &str, words: String| {
            shared.recorder.tell(&self.pod, field(), Kind::Warning, "Failed", format!("Error: {words}"));
            failure(reason, words, AGAIN_S)
        };
        let image = image::of(shared, &self.pod, role, &container).await;
        let image = image.map_err(|(reason, words)| failure(reason, words, AGAIN_S))?;
        let mut objects =
            objects::fetch(&shared.client, &self.namespace(), crate::pod::env::references(&container)).await;
        if let Ok(objects) = &mut objects {
            objects.services = objects::services(&shared.client, &self.namespace()).await.unwrap_or_default();
        }
        let objects = objects.map_err(|error| refused("CreateContainerConfigError", error.to_string()))?;
        let directories = self.directories();
        let made = Made {
            pod: &self.pod,
            container: &container,
            number,
            pause_s,
            image_id: image.id.to_string(),
            image: &image.config.config,
            objects: &objects,
            place: &self.place(),
            hostname: network::hostname(&self.pod, &shared.node.names, &shared.node.name).0,
            profile: self.seccomp_profile(&container),
            directories: &directories,
            volumes: &self.volumes,
            target: self.target(name),
            now_ms: Timestamp::now().as_millisecond(),
        };
        let wish = container::wish(&made).map_err(|error| refused("CreateContainerConfigError", error.to_string()))?;
        let ready = self.write_names().and_then(|()| self.make_places(&container, number, &wish.container.mounts));
        ready.map_err(|error| refused("CreateContainerError", error.to_string()))?;
        let id = wish.container.id.clone();
        match shared.engine.create(wish).await {
            Ok(()) => {
                shared.recorder.tell(&self.pod, field(), Kind::Normal, "Created", format!("Container created: {name}"))
            }
            Err(EngineError::Refused(Refusal::Conflict(_))) if is_waiting(&shared.engine.state(), &id) => {}
            Err(error) => return Err(refused("CreateContainerError", error.to_string())),
        }
        match shared.engine.start(&id).await {
            Ok(()) => {
                shared.recorder.tell(&self.pod, field(), Kind::Normal, "Started", format!("Container started: {name}"))
            }
            // It has ended, and says why.
            Err(error @ EngineError::Launch { .. }) => {
                shared.recorder.tell(&self.pod, field(), Kind::Warning, "Failed", format!("Error: {error}"));
            }
            Err(error) => return Err(refused("RunContainerError", error.to_string())),
        }
        Ok(())
    }

    /// Gives a running container the limits that it has in the pod now.
    pub(super) async fn resize(&self, id: &ContainerId, name: &str) -> Result<(), Failure> {
        let engine = &self.shared.engine;
        let state = engine.state();
        let pod_spec = spec::of(&self.pod);
        let Some((role, container)) = spec::container(&pod_spec, name) else { return Ok(()) };
        let Some(made) = state.containers.get(id) else { return Ok(()) };
        let resources = Box::new(Resources {
            cgroup_parent: made.resources.cgroup_parent.clone(),
            ..resources::limits(&container)
        });
        let face = state.documents.get(id).cloned().unwrap_or_default();
        let updated = engine.update(id, ContainerUpdate { resources, restart: None, face }).await;
        updated.map_err(|error| {
            let words = format!("Error resizing container {name}: {error}");
            let field = Some(spec::field_path(role, name));
            self.shared.recorder.tell(&self.pod, field, Kind::Warning, "ResizeError", words.clone());
            failure("ResizeError", words, AGAIN_S)
        })
    }

    /// The text of the system call filter that the container names, among those of the node.
    fn seccomp_profile(&self, container: &Container) -> Option<String> {
        let name = security::local_profile(&self.pod, container)?;
        fs::read_to_string(self.shared.places.data_root.join("seccomp").join(name)).ok()
    }

    /// The running container whose processes an ephemeral one is to see.
    fn target(&self, name: &str) -> Option<ContainerId> {
        let pod_spec = spec::of(&self.pod);
        let ephemeral = pod_spec.ephemeral_containers.iter().flatten().find(|ephemeral| ephemeral.name == name)?;
        let target = ephemeral.target_container_name.clone().filter(|target| !target.is_empty())?;
        let state = self.shared.engine.state();
        let is_it = |container: &&Arc<model::Container>| {
            container.run().is_some() && container.labels.get(identity::label::CONTAINER) == Some(&target)
        };
        state.residents_of(&identity::sandbox(&self.uid())).find(is_it).map(|container| container.id.clone())
    }

    /// Makes what is mounted and not there yet: the file for last words, and parts of volumes.
    fn make_places(&self, container: &Container, number: u32, mounts: &[model::container::Mount]) -> io::Result<()> {
        let last_words = self.directories().last_words(&container.name, number);
        if let Some(parent) = last_words.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&last_words, "")?;
        fs::set_permissions(&last_words, PermissionsExt::from_mode(0o666))?;
        for mount in mounts {
            let model::container::MountSource::Bind { path, .. } = &mount.source else { continue };
            let Some(root) = self.volumes.values().find(|root| path.starts_with(root)) else { continue };
            if !path.exists() {
                fs::create_dir_all(path)?;
            }
            // A link in a volume must not lead to what is the node's.
            if path != root && !path.canonicalize()?.starts_with(root.canonicalize()?) {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!("subPath of {} leads out of its volume", mount.target),
                ));
            }
        }
        Ok(())
    }
}

/// Whether a container was made by an earlier agent that did not come to start it.
fn is_waiting(state: &State, id: &ContainerId) -> bool {
    state.containers.get(id).is_some_and(|container| container.phase == Phase::Created)
}
