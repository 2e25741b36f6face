//! Doing what is to be done for a pod: each action once at a time, and its outcome told to the pod's worker.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use engine::EngineError;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};
use model::{
    Command, ContainerId, Refusal, State,
    command::{AnonymousVolumes, Force},
    container::Phase,
    sandbox::Up,
};
use plan::dns::ResolvConf;

use crate::{
    Shared,
    event::Kind,
    identity, image, objects,
    pod::{
        Action,
        container::{self, Made},
        env::{Objects, Place},
        files, network,
        probe::Asked,
        seen::Failure,
        spec::{self, Role},
        volume::{self, Backing, Directories},
    },
};

/// Seconds until something that failed is tried again.
const AGAIN_S: i64 = 3;
/// A container has at least so long after its preStop hook, seconds.
const AFTER_HOOK_S: i64 = 2;

/// What became of an action.
#[derive(Debug)]
pub enum Outcome {
    /// Its volumes are ready, and here.
    Mounted(Result<BTreeMap<String, PathBuf>, Failure>),
    /// Its sandbox is up.
    Sandboxed(Result<(), Failure>),
    /// A container runs, or could be made at least.
    Started(String, Result<(), Failure>),
    /// Nothing is left of it.
    Cleared,
    /// The API knows that it is gone.
    Deleted,
    /// Whatever can be seen in the engine's state.
    Seen,
}

/// What is done for a pod.
#[derive(Clone)]
pub struct Job {
    /// Where.
    pub shared: Arc<Shared>,
    /// The pod.
    pub pod: Arc<Pod>,
    /// Where its volumes are, as far as they are ready.
    pub volumes: BTreeMap<String, PathBuf>,
}

impl Job {
    /// Does one thing.
    pub async fn perform(self, action: Action) -> Outcome {
        match action {
            Action::Mount => Outcome::Mounted(self.mount().await),
            Action::MakeSandbox => Outcome::Sandboxed(self.make_sandbox().await),
            Action::Start { container, number, pause_s } => {
                let started = self.start(&container, number, pause_s).await;
                Outcome::Started(container, started)
            }
            Action::Kill { id, container, why, grace_s } => {
                self.kill(&id, &container, &why, grace_s).await;
                Outcome::Seen
            }
            Action::Forget(id) => {
                // Somebody else may have removed it.
                let _ = self.shared.engine.remove(&id, Force::No, AnonymousVolumes::Remove).await;
                Outcome::Seen
            }
            Action::Release => {
                let _ = self.shared.engine.submit(Command::RemoveSandbox(identity::sandbox(&self.uid()))).await;
                Outcome::Seen
            }
            Action::Clear => {
                clear(&self.shared, &self.uid()).await;
                Outcome::Cleared
            }
            Action::Delete => match self.delete().await {
                Ok(()) => Outcome::Deleted,
                Err(error) => {
                    tracing::debug!(%error, "the API is not told yet that a pod is gone");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Outcome::Seen
                }
            },
            Action::Wake(_) => Outcome::Seen,
        }
    }

    fn uid(&self) -> String {
        spec::names(&self.pod).2
    }

    fn namespace(&self) -> String {
        spec::names(&self.pod).1
    }

    fn directories(&self) -> Directories {
        directories(&self.shared, &self.uid())
    }

    fn place(&self) -> Place {
        let state = self.shared.engine.state();
        Place {
            node: self.shared.node.name.clone(),
            host_ips: self.shared.node.addresses.iter().map(ToString::to_string).collect(),
            pod_ips: addresses(&self.shared, &state, &self.pod).iter().map(ToString::to_string).collect(),
            capacity: self.shared.capacity,
        }
    }

    async fn mount(&self) -> Result<BTreeMap<String, PathBuf>, Failure> {
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
        let mut paths = BTreeMap::new();
        for wanted in pod_spec.volumes.iter().flatten() {
            let of_it = |error: &dyn std::fmt::Display| (wanted.name.clone(), error.to_string());
            let backing = volume::backing(&self.pod, wanted, &objects, &place).map_err(|error| of_it(&error))?;
            let path = directories.volume(&wanted.name, &backing);
            make_volume(&path, &backing, group).map_err(|error| of_it(&error))?;
            paths.insert(wanted.name.clone(), path);
        }
        Ok(paths)
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

    async fn make_sandbox(&self) -> Result<(), Failure> {
        let shared = &self.shared;
        let names = &shared.node.names;
        let (hostname, full) = network::hostname(&self.pod, names, &shared.node.name);
        let of_host = spec::of(&self.pod).host_network == Some(true);
        let network = match of_host {
            true => shared.engine.state().network_names.get("host").cloned().unwrap_or_else(|| shared.network.clone()),
            false => shared.network.clone(),
        };
        let new = network::sandbox(&self.pod, &network, hostname.clone());
        let failed = |words: String| {
            let message = format!("Failed to create pod sandbox: {words}");
            shared.recorder.tell(&self.pod, None, Kind::Warning, "FailedCreatePodSandBox", message.clone());
            failure("ContainerCreating", message, AGAIN_S)
        };
        if !shared.engine.state().sandboxes.contains_key(&new.sandbox.id) {
            let made = shared.engine.submit(Command::CreateSandbox(Box::new(new))).await;
            made.map_err(|error| failed(error.to_string()))?;
        }
        let directories = self.directories();
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let addresses = addresses(shared, &shared.engine.state(), &self.pod);
        let hosts = network::hosts(&self.pod, &addresses, (&hostname, full.as_deref()), &read("/etc/hosts"));
        let resolv_conf = network::resolv_conf(&self.pod, names, &ResolvConf::parse(&read(plan::dns::PATH)));
        let written =
            fs::write(directories.hosts(), hosts).and_then(|()| fs::write(directories.resolv_conf(), resolv_conf));
        written.map_err(|error| failed(error.to_string()))
    }

    async fn start(&self, name: &str, number: u32, pause_s: i64) -> Result<(), Failure> {
        let shared = &self.shared;
        let pod_spec = spec::of(&self.pod);
        let Some((role, container)) = spec::container(&pod_spec, name) else { return Ok(()) };
        let field = || Some(spec::field_path(role, name));
        let refused = |reason: &str, words: String| {
            if reason != "ErrImagePull" {
                shared.recorder.tell(&self.pod, field(), Kind::Warning, "Failed", format!("Error: {words}"));
            }
            failure(reason, words, AGAIN_S)
        };
        let image = image::of(shared, &self.pod, role, &container).await;
        let image = image.map_err(|(reason, words)| refused(reason, words))?;
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
            directories: &directories,
            volumes: &self.volumes,
            target: self.target(name),
            now_ms: Timestamp::now().as_millisecond(),
        };
        let wish = container::wish(&made).map_err(|error| refused("CreateContainerConfigError", error.to_string()))?;
        let ready = self.make_places(&container, number, &wish.container.mounts);
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

    async fn kill(&self, id: &ContainerId, name: &str, why: &str, grace_s: i64) {
        let shared = &self.shared;
        let pod_spec = spec::of(&self.pod);
        let found = spec::container(&pod_spec, name);
        let role = found.as_ref().map_or(Role::Main, |(role, _)| *role);
        let words = if why == "Stopping container" { format!("{why} {name}") } else { why.to_owned() };
        shared.recorder.tell(&self.pod, Some(spec::field_path(role, name)), Kind::Normal, "Killing", words);
        let mut left_s = grace_s.max(0);
        let hook = found.as_ref().and_then(|(_, container)| container.lifecycle.as_ref()?.pre_stop.clone());
        if let (Some(hook), Some((role, container))) = (hook, found)
            && grace_s > 0
        {
            let begun = std::time::Instant::now();
            let asked = self.asked(id.clone(), role, container);
            let limit = Duration::from_secs(left_s.unsigned_abs());
            let outcome = tokio::time::timeout(limit, asked.hook(&hook)).await;
            if let Ok(Err(words)) = outcome {
                let field = Some(spec::field_path(role, name));
                shared.recorder.tell(
                    &self.pod,
                    field,
                    Kind::Warning,
                    "FailedPreStopHook",
                    format!("PreStopHook failed: {words}"),
                );
            }
            let took_s = i64::try_from(begun.elapsed().as_secs()).unwrap_or(i64::MAX);
            left_s = (left_s - took_s).max(AFTER_HOOK_S);
        }
        if let Err(error) = shared.engine.stop(id, Some(left_s), None).await {
            tracing::debug!(container = %id, %error, "a container of a pod is not stopped: it may have ended");
        }
    }

    /// Who is asked about a running container.
    pub fn asked(&self, id: ContainerId, role: Role, container: Container) -> Asked {
        let addresses = addresses(&self.shared, &self.shared.engine.state(), &self.pod);
        Asked {
            engine: self.shared.engine.clone(),
            recorder: self.shared.recorder.clone(),
            pod: Arc::clone(&self.pod),
            container,
            role,
            id,
            address: addresses.first().copied(),
        }
    }

    async fn delete(&self) -> kube::Result<()> {
        let (name, namespace, uid) = spec::names(&self.pod);
        let pods: Api<Pod> = Api::namespaced(self.shared.client.clone(), &namespace);
        let preconditions = Some(Preconditions { uid: Some(uid), resource_version: None });
        let params = DeleteParams { grace_period_seconds: Some(0), preconditions, ..DeleteParams::default() };
        match pods.delete(&name, &params).await {
            // Another of the same name is none of ours.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            deleted => deleted.map(drop),
        }
    }
}

/// The addresses of a pod: those of its sandbox, or of the node where it has the node's network.
pub fn addresses(shared: &Shared, state: &State, pod: &Pod) -> Vec<std::net::IpAddr> {
    if spec::of(pod).host_network == Some(true) {
        return shared.node.addresses.clone();
    }
    let (_, _, uid) = spec::names(pod);
    let sandbox = identity::sandbox(&uid);
    let leases = state.endpoints_of(&sandbox).filter_map(|endpoint| endpoint.lease.clone());
    leases
        .flat_map(|lease| model::address::Family::BOTH.map(|family| lease.address(family)))
        .flatten()
        .map(|net| net.addr())
        .collect()
}

/// A pod's directories.
pub fn directories(shared: &Shared, uid: &str) -> Directories {
    Directories::of(&shared.places.data_root, &shared.places.run_dir, uid)
}

/// Removes all that is left of a pod on this node.
pub async fn clear(shared: &Shared, uid: &str) {
    let engine = &shared.engine;
    shared.tokens.forget(uid);
    let sandbox = identity::sandbox(uid);
    let residents: Vec<_> = engine.state().residents_of(&sandbox).map(|container| container.id.clone()).collect();
    for id in residents {
        if let Err(error) = engine.remove(&id, Force::Kill, AnonymousVolumes::Remove).await {
            tracing::debug!(container = %id, %error, "a container of a pod is not removed: it may be gone");
        }
    }
    if engine.state().sandboxes.get(&sandbox).is_some_and(|sandbox| sandbox.up == Up::Up) {
        let _ = engine.submit(Command::RemoveSandbox(sandbox)).await;
    }
    let Directories { disk, memory } = directories(shared, uid);
    for directory in [disk, memory] {
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %directory.display(), %error, "a pod's directory is not removed");
            }
            _ => {}
        }
    }
}

fn failure(reason: &str, message: String, pause_s: i64) -> Failure {
    Failure { reason: reason.to_owned(), message, at: Timestamp::now(), pause_s }
}

/// Whether a container was made by an earlier agent that did not come to start it.
fn is_waiting(state: &State, id: &ContainerId) -> bool {
    state.containers.get(id).is_some_and(|container| container.phase == Phase::Created)
}

fn make_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}

fn make_volume(path: &Path, backing: &Backing, group: Option<u32>) -> io::Result<()> {
    match backing {
        Backing::Empty(_) => {
            if !path.exists() {
                make_directory(path)?;
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
