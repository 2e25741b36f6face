//! A host of the same kind with Debian's Docker Engine on it, to compare with.

use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
};

use crate::{Host, eventually, host::is_installed, image};

/// A host with Docker's own daemon instead of ours. It has no networks: containers get along without.
pub struct Peer {
    host: Host,
    daemon: Child,
    /// The control group of its containers, at the root of every hierarchy: no namespace hides it.
    group: String,
}

impl Peer {
    /// The peer with the image `busybox`; none, said loudly, where it is not installed.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn start() -> Option<Self> {
        if !is_installed("dockerd") {
            eprintln!("SKIPPED: dockerd is not installed, so nothing is compared with it");
            return None;
        }
        let host = Host::empty()?;
        let group = format!("linkspan-test-peer-{}", host.pid());
        let data = host.path().join("peer");
        fs::create_dir_all(&data).expect("the peer's data root");
        // overlayfs wants an upper directory that is not an overlay's itself.
        host.sh(&format!("mount -t tmpfs tmpfs {}", data.display())).ok();
        let log = fs::File::create(host.path().join("daemon.log")).expect("the peer's log");
        let mut daemon = host.inside();
        daemon.args([
            "dockerd",
            "--bridge",
            "none",
            "--iptables=false",
            "--ip6tables=false",
            "--cgroup-parent",
            // From the root: without the slash it would be below this test's own group of each controller, wherever that is.
            &format!("/{group}"),
        ]);
        daemon.arg("--data-root").arg(&data);
        let daemon = daemon
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("nsenter runs");
        let peer = Self { host, daemon, group };
        eventually("the peer answers", || (peer.host.docker("version").code == 0).then_some(()));
        let archive = peer.host.path().join("busybox.tar");
        image::write(&archive);
        let import = format!("import -c 'CMD [\"sh\"]' -c 'ENV PATH=/bin' {} busybox", archive.display());
        peer.host.docker(&import).ok();
        Some(peer)
    }

    /// The host; its daemon verbs are not for the peer.
    pub fn host(&self) -> &Host {
        &self.host
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.host.sh("docker ps -aq | xargs -r docker rm -f");
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        // The group itself; the containers' went with them.
        let controllers = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        for dir in controllers.map(|entry| entry.path()).chain([Path::new("/sys/fs/cgroup").to_owned()]) {
            let _ = fs::remove_dir(dir.join(&self.group));
        }
    }
}
