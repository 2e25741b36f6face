//! What is kept of a container, to be shown again as it was sent: the document that the state carries unread.

use model::{
    Container, Document, State,
    container::{Access, Privilege, Stdin, Terminal},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use serde_json::json;

use crate::find;
use crate::wire::{config::Config, host_config::HostConfig};

/// What is kept of a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Face {
    /// With the image's defaults.
    pub(crate) config: Config,
    /// With Docker's defaults.
    pub(crate) host_config: HostConfig,
}

impl Face {
    /// What was kept of this container.
    pub(crate) fn of(state: &State, container: &Container) -> Self {
        kept(state, container)
    }

    /// The same as a document.
    pub(crate) fn to_document(&self) -> Document {
        Document::of(self).unwrap_or_default()
    }
}

/// What a Docker client would have said to have a container that another face made, such as one of a pod.
fn made(state: &State, container: &Container) -> Document {
    let sandbox = find::sandbox(state, container);
    let network = find::endpoints(state, container).map(|(_, network)| network.name.as_str()).next();
    let numbers = |wanted: Option<u64>| wanted.unwrap_or_default();
    let (process, resources, security) = (&container.process, &container.resources, &container.security);
    let document = json!({
        "Config": {
            "Hostname": sandbox.map(|sandbox| sandbox.hostname.as_str()).unwrap_or_default(),
            "User": process.user,
            "Tty": process.terminal != Terminal::None,
            "OpenStdin": process.stdin != Stdin::Closed,
            "StdinOnce": process.stdin == Stdin::Once,
            "Env": process.env,
            "Cmd": process.args,
            "Image": container.image.name,
            "WorkingDir": process.cwd,
            "Labels": container.labels,
        },
        "HostConfig": {
            "NetworkMode": network.unwrap_or("none"),
            "RestartPolicy": { "Name": "no" },
            "Privileged": security.privilege == Privilege::Privileged,
            "ReadonlyRootfs": security.root == Access::ReadOnly,
            "CapAdd": security.cap_add,
            "CapDrop": security.cap_drop,
            "OomScoreAdj": security.oom_score_adj,
            "Memory": numbers(resources.memory),
            "CpuShares": numbers(resources.cpu_shares),
            "CpuPeriod": numbers(resources.cpu_period),
            "CpuQuota": resources.cpu_quota.unwrap_or_default(),
        },
    });
    Document::of(&document).unwrap_or_default()
}

/// As much of what was kept of a container as `T` has a place for.
pub(crate) fn kept<T: DeserializeOwned + Default>(state: &State, container: &Container) -> T {
    let kept = state.documents.get(&container.id).cloned().unwrap_or_else(|| made(state, container));
    kept.read().unwrap_or_default()
}
