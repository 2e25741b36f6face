//! A host with a daemon that serves the Kubernetes API too.

use std::process::Command;

use crate::{Host, Said, eventually};

/// A host whose daemon serves the Kubernetes API, is its node, and has the image `busybox:1`.
pub struct Cluster {
    /// The host.
    pub host: Host,
}

impl Cluster {
    /// Starts one; none, said loudly, where it cannot be.
    ///
    /// # Panics
    /// When the node does not come up.
    pub fn start() -> Option<Self> {
        Self::on(Host::start_with(&Self::ARGUMENTS)?)
    }

    /// What the daemon of a cluster is started with.
    pub const ARGUMENTS: [&str; 2] = ["--kube-listen", "127.0.0.1:6443"];

    /// A cluster on a host whose daemon serves the Kubernetes API; none, said loudly, where there is no kubectl.
    ///
    /// # Panics
    /// When the node does not come up.
    pub fn on(host: Host) -> Option<Self> {
        if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
            eprintln!("SKIPPED: there is no kubectl");
            return None;
        }
        host.load_image();
        host.docker("tag busybox busybox:1").ok();
        let cluster = Self { host };
        eventually("the node and the default account are there", || {
            (cluster.kubectl("get node -o name").code == 0 && cluster.kubectl("get serviceaccount default").code == 0)
                .then_some(())
        });
        Some(cluster)
    }

    /// Runs kubectl on the host; words are split as a shell does.
    pub fn kubectl(&self, words: &str) -> Said {
        self.host.sh(&format!("export KUBECONFIG=/run/linkspan/kubeconfig; timeout 60 kubectl {words}"))
    }

    /// Applies a manifest.
    pub fn apply(&self, manifest: &str) -> Said {
        self.kubectl(&format!("apply -f - <<'END'\n{manifest}\nEND"))
    }
}
