//! From a container of the state to a launch of the runtime: its files, volumes, layers and namespaces are made ready.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::PoisonError,
};

use model::{
    ContainerId, Sandbox, State,
    container::{Container, Init, Missing, MountSource, Share},
    sandbox::Namespace,
};
use plan::{
    dns::{self, HostFiles, hosts_file, resolv_conf},
    environment::link_environment,
};
use runtime::{
    image::ImageId,
    oci::{self, Peers, capabilities},
    shim::launch::{Launch, Rootfs},
};

use super::{
    Supervisor, files,
    refused::{PrepareError, Refused, file},
    volumes,
};

impl Supervisor {
    /// Makes everything ready that the container's process needs.
    pub async fn prepare(&self, id: &ContainerId) -> Result<Launch, Refused> {
        Ok(self.describe(id).await?)
    }

    /// Gives the container's empty volumes what its image has at their places.
    pub async fn fill_volumes(&self, id: &ContainerId) -> Result<(), Refused> {
        let state = self.engine.state();
        // One that is gone needs nothing.
        let Some(container) = state.containers.get(id) else { return Ok(()) };
        let empty = volumes::to_fill(container, &self.volumes(id)?);
        if empty.is_empty() {
            return Ok(());
        }
        let rootfs = self.layers(container).await?;
        Ok(volumes::fill(empty, rootfs).await?)
    }

    /// The container's layers, with its own on top.
    async fn layers(&self, container: &Container) -> Result<Rootfs, PrepareError> {
        let image: ImageId = container.image.id.parse().map_err(|_| PrepareError::Image(container.image.id.clone()))?;
        let snapshot = self.engine.images().create_snapshot(container.id.as_str(), &image).await?;
        Ok(Rootfs::Overlay { lower: snapshot.lower, upper: snapshot.upper, work: snapshot.work })
    }

    async fn describe(&self, id: &ContainerId) -> Result<Launch, PrepareError> {
        let state = self.engine.state();
        let container = state.containers.get(id).ok_or(PrepareError::Gone)?;
        let sandbox = state.sandboxes.get(&container.sandbox).ok_or(PrepareError::Gone)?;
        let rootfs = self.layers(container).await?;
        bind_sources(container)?;
        let volumes = self.volumes(id)?;
        let own = sandbox.namespace == Namespace::Own;
        let host = oci::Host {
            rootfs,
            netns: own.then(|| self.places.namespace(&sandbox.id)),
            sandbox: self.shared(container, sandbox)?,
            peers: peers(&state, container)?,
            hostname: sandbox.hostname.clone(),
            domainname: sandbox.domainname.clone(),
            files: self.network_files(&state, container, sandbox)?,
            volumes,
            init: (container.process.init == Init::Init).then(|| PathBuf::from("/proc/self/exe")),
            log: self.places.log(id),
            network_sysctls: if own { sandbox.sysctls.clone() } else { BTreeMap::new() },
            capabilities: capabilities::available(),
        };
        Ok(oci::launch(&told_of_links(&state, container), &host)?)
    }

    /// Makes what the container shares with others of its sandbox, and says where that is.
    fn shared(&self, container: &Container, sandbox: &Sandbox) -> Result<PathBuf, PrepareError> {
        let place = self.places.sandbox(&sandbox.id);
        let namespaces = &container.namespaces;
        if [&namespaces.pid, &namespaces.ipc, &namespaces.uts].contains(&&Share::Sandbox) {
            let _one_at_a_time = self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
            runtime::sandbox::keep(&place, &sandbox.hostname).map_err(file(&place))?;
            if namespaces.pid == Share::Sandbox {
                let network = (sandbox.namespace == Namespace::Own).then(|| self.places.namespace(&sandbox.id));
                let exe = self.engine.runtime().exe();
                runtime::sandbox::reaper::keep(exe, &place, network.as_deref()).map_err(file(&place))?;
            }
        }
        Ok(place)
    }

    /// Writes what the container sees as its `/etc/hosts`, `/etc/resolv.conf` and `/etc/hostname`.
    fn network_files(
        &self,
        state: &State,
        container: &Container,
        sandbox: &Sandbox,
    ) -> Result<Vec<(PathBuf, String)>, PrepareError> {
        let place = self.places.container(&container.id);
        files::directory(&place).map_err(file(&place))?;
        let host = HostFiles::read(read);
        let texts = [
            ("hosts", hosts_file(state, &sandbox.id).unwrap_or_else(|| read("/etc/hosts"))),
            ("resolv.conf", resolv_conf(state, &sandbox.id, &host).unwrap_or_else(|| read(dns::PATH))),
            ("hostname", format!("{}\n", sandbox.hostname)),
        ];
        texts
            .into_iter()
            .map(|(name, text)| {
                let path = place.join(name);
                files::write(&path, &text).map_err(file(&path))?;
                Ok((path, format!("/etc/{name}")))
            })
            .collect()
    }

    /// Writes the files of a running container again: its network has changed.
    pub fn refresh_files(&self, id: &ContainerId) {
        let state = self.engine.state();
        let Some(container) = state.containers.get(id) else { return };
        let Some(sandbox) = state.sandboxes.get(&container.sandbox) else { return };
        if let Err(error) = self.network_files(&state, container, sandbox) {
            tracing::warn!(container = %id, %error, "its hosts file is not up to date");
        }
    }
}

/// The container with what its links say in its environment, where its user has not said otherwise.
fn told_of_links<'c>(state: &State, container: &'c Container) -> Cow<'c, Container> {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let said: BTreeSet<String> = container.process.env.iter().map(|variable| name(variable)).collect();
    let mut more = link_environment(state, container);
    more.retain(|variable| !said.contains(&name(variable)));
    if more.is_empty() {
        return Cow::Borrowed(container);
    }
    let mut told = container.clone();
    told.process.env.extend(more);
    Cow::Owned(told)
}

/// Makes the directories of bind mounts that ask for it.
fn bind_sources(container: &Container) -> Result<(), PrepareError> {
    for mount in &container.mounts {
        match &mount.source {
            MountSource::Bind { path, missing: Missing::Create, .. } if !path.exists() => {
                fs::create_dir_all(path).map_err(file(path))?;
            }
            MountSource::Bind { path, missing: Missing::Refuse, .. } if !path.exists() => {
                return Err(PrepareError::Missing(path.clone()));
            }
            MountSource::Bind { .. } | MountSource::Volume { .. } | MountSource::Tmpfs { .. } => {}
        }
    }
    Ok(())
}

/// The processes whose namespaces are joined.
fn peers(state: &State, container: &Container) -> Result<Peers, PrepareError> {
    let pid = |share: &Share| match share {
        Share::Container(id) => {
            let run = state.containers.get(id).and_then(|c| c.run());
            run.map(|run| Some(run.pid)).ok_or_else(|| PrepareError::Peer(id.clone()))
        }
        Share::Own | Share::Host | Share::Sandbox => Ok(None),
    };
    let namespaces = &container.namespaces;
    Ok(Peers {
        pid: pid(&namespaces.pid)?,
        ipc: pid(&namespaces.ipc)?,
        uts: pid(&namespaces.uts)?,
        cgroup: pid(&namespaces.cgroup)?,
    })
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
