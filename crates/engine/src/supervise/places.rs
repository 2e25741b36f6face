//! Where the files of containers and volumes are.

use std::path::PathBuf;

use model::{ContainerId, SandboxId};

/// Where the files of containers and volumes are.
#[derive(Clone, Debug)]
pub struct Places {
    /// Images, volumes, containers and the journal.
    pub data_root: PathBuf,
    /// Sockets and namespaces.
    pub run_dir: PathBuf,
}

impl Places {
    /// A container's directory: its log, hosts, resolv.conf, hostname, and its writable layer.
    pub fn container(&self, container: &ContainerId) -> PathBuf {
        self.data_root.join("containers").join(container.as_str())
    }

    /// A container's log.
    pub fn log(&self, container: &ContainerId) -> PathBuf {
        self.container(container).join(format!("{container}-json.log"))
    }

    /// The directory of the volumes' directories.
    pub fn volumes(&self) -> PathBuf {
        self.data_root.join("volumes")
    }

    /// A volume's directory; what containers see is `_data` in it.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.volumes().join(name)
    }

    /// The directory of what the containers of a sandbox share.
    pub fn sandbox(&self, sandbox: &SandboxId) -> PathBuf {
        self.sandboxes().join(sandbox.short())
    }

    /// The directory of the sandboxes' directories.
    pub fn sandboxes(&self) -> PathBuf {
        self.run_dir.join("sandboxes")
    }

    /// The file of a sandbox's namespace.
    pub fn namespace(&self, sandbox: &SandboxId) -> PathBuf {
        self.run_dir.join("netns").join(sandbox.short())
    }
}
