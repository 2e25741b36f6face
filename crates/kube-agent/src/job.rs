//! Doing what is to be done for a pod: each action once at a time, and its outcome told to the pod's worker.

mod start;
mod volume;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};
use model::{
    Command, ContainerId, State,
    command::{AnonymousVolumes, Force},
    sandbox::Up,
};
use plan::dns::ResolvConf;
use tokio::sync::watch;

use crate::{
    Shared,
    event::Kind,
    identity,
    pod::{
        Action,
        env::Place,
        network,
        probe::Asked,
        seen::Failure,
        spec::{self, Role},
        volume::Directories,
    },
    services,
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
    /// What one of its volumes holds is too much, in words.
    Measured(Option<String>),
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
            Action::Resize { id, container } => {
                let resized = self.resize(&id, &container).await;
                Outcome::Started(container, resized)
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
            oom_score_min: self.shared.oom_score_min,
        }
    }

    async fn make_sandbox(&self) -> Result<(), Failure> {
        let shared = &self.shared;
        let (hostname, _) = network::hostname(&self.pod, &shared.node.names, &shared.node.name);
        let of_host = spec::of(&self.pod).host_network == Some(true);
        let network = match of_host {
            true => shared.engine.state().network_names.get("host").cloned().unwrap_or_else(|| shared.network.clone()),
            false => shared.network.clone(),
        };
        let new = network::sandbox(&self.pod, &network, hostname);
        let failed = |words: String| {
            let message = format!("Failed to create pod sandbox: {words}");
            shared.recorder.tell(&self.pod, None, Kind::Warning, "FailedCreatePodSandBox", message.clone());
            failure("ContainerCreating", message, AGAIN_S)
        };
        if spec::of(&self.pod).host_users == Some(false) {
            return Err(failed("user namespaces (hostUsers: false) are not supported by this node".to_owned()));
        }
        if !shared.engine.state().sandboxes.contains_key(&new.sandbox.id) {
            let made = shared.engine.submit(Command::CreateSandbox(Box::new(new))).await;
            made.map_err(|error| failed(error.to_string()))?;
        }
        self.write_names().map_err(|error| failed(error.to_string()))
    }

    /// Writes what the pod's containers know names by: `/etc/hosts` as it should be now, as kubelet does, and `/etc/resolv.conf` as it was when
    /// the pod was made. Who was killed may have made the sandbox and no more.
    fn write_names(&self) -> io::Result<()> {
        let (shared, directories) = (&self.shared, self.directories());
        let names = &shared.node.names;
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (hostname, full) = network::hostname(&self.pod, names, &shared.node.name);
        let addresses = addresses(shared, &shared.engine.state(), &self.pod);
        let hosts = network::hosts(&self.pod, &addresses, (&hostname, full.as_deref()), &read("/etc/hosts"));
        let resolv_conf = network::resolv_conf(&self.pod, names, &ResolvConf::parse(&read(plan::dns::PATH)));
        let is = |file: &Path| fs::read_to_string(file).unwrap_or_default();
        if is(&directories.hosts()) != hosts {
            fs::write(directories.hosts(), hosts)?;
        }
        if is(&directories.resolv_conf()).is_empty() {
            fs::write(directories.resolv_conf(), resolv_conf)?;
        }
        Ok(())
    }

    async fn kill(&self, id: &ContainerId, name: &str, why: &str, grace_s: i64) {
        let shared = &self.shared;
        let pod_spec = spec::of(&self.pod);
        let found = spec::container(&pod_spec, name);
        let role = found.as_ref().map_or(Role::Main, |(role, _)| *role);
        shared.recorder.tell(&self.pod, Some(spec::field_path(role, name)), Kind::Normal, "Killing", why);
        let mut left_s = grace_s.max(0);
        let hook = found.as_ref().and_then(|(_, container)| container.lifecycle.as_ref()?.pre_stop.clone());
        if let (Some(hook), Some((role, container))) = (hook, found)
            && grace_s > 0
        {
            let begun = std::time::Instant::now();
            let asked = self.asked(id.clone(), role, container, watch::channel(true).1);
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
        // On the node's network others may have the same address.
        let own = pod_spec.host_network != Some(true);
        if grace_s > 0 && own && self.pod.metadata.deletion_timestamp.is_some() {
            services::left(&shared.engine, &addresses(shared, &shared.engine.state(), &self.pod)).await;
        }
        if let Err(error) = shared.engine.stop(id, Some(left_s), None).await {
            tracing::debug!(container = %id, %error, "a container of a pod is not stopped: it may have ended");
        }
    }

    /// Who is asked about a running container.
    pub fn asked(&self, id: ContainerId, role: Role, container: Container, ending: watch::Receiver<bool>) -> Asked {
        let addresses = addresses(&self.shared, &self.shared.engine.state(), &self.pod);
        Asked {
            engine: self.shared.engine.clone(),
            recorder: self.shared.recorder.clone(),
            pod: Arc::clone(&self.pod),
            container,
            role,
            id,
            address: addresses.first().copied(),
            ending,
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
    volume::unmount_all(&memory.join("volumes"));
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

fn make_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}
