//! An engine that runs on a host of its own, and what can be seen of it from outside.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use conformance::Host;
use rustix::process::{Pid, Signal, kill_process};

use super::{account::Account, api::Api, container, process, started::Started};
use crate::run::{Result, succeeds};

/// The longest a daemon may take to answer or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Podman's settings: no systemd, and its monitors where their CPU is counted.
const PODMAN: &str = r#"
    [containers]
    cgroups = "no-conmon"
    [engine]
    cgroup_manager = "cgroupfs"
    events_logger = "file"
    runtime = "runc"
"#;

/// Which engine.
#[derive(Clone)]
pub enum Kind {
    /// Docker Engine, which starts a containerd of its own.
    Docker,
    /// Podman's service.
    Podman,
    /// Ours, this binary.
    Linkspan(PathBuf),
    /// Ours without the Kubernetes API.
    DockerAlone(PathBuf),
}

/// A daemon, the host it has for itself, and what it costs.
pub struct Engine {
    /// Which it is.
    pub kind: Kind,
    /// What runs the daemon in its host; none when it was stopped.
    daemon: Option<Child>,
    /// Its host; dropped before the account, which must be empty then.
    pub host: Host,
    /// Its processes and their CPU.
    pub account: Account,
    /// Its API.
    pub api: Api,
    /// Where its containers say that they run.
    pub started: Started,
}

impl Engine {
    /// Makes a host, starts the daemon in it, and imports the image.
    pub fn start(kind: Kind) -> Result<Self> {
        let account = Account::open(kind.name())?;
        let host = Host::empty().ok_or("no host can be made")?;
        let api = Api::new(PathBuf::from(format!("/proc/{}/root/run/docker.sock", host.pid())));
        let started = Started::new(host.path().join("bench"))?;
        let mut engine = Self { kind, daemon: None, host, account, api, started };
        if matches!(engine.kind, Kind::Podman) {
            engine.prepare_podman()?;
        }
        engine.start_daemon()?;
        engine.host.load_image();
        Ok(engine)
    }

    /// Starts the daemon (again); the time from then until it answers, in milliseconds.
    pub fn start_daemon(&mut self) -> Result<f64> {
        let path = self.host.path().join("daemon.log");
        let log =
            File::options().append(true).create(true).open(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let errors = log.try_clone().map_err(|e| e.to_string())?;
        let mut command = self.host.inside();
        command.args(["sh", "-c", "echo 0 > $0; exec \"$@\"", &self.account.door()]).args(self.words());
        let began = Instant::now();
        let daemon =
            command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().map_err(|e| format!("nsenter: {e}"))?;
        let daemon = self.daemon.insert(daemon);
        while self.api.exchange("GET", "/_ping", None).is_err() {
            let ended = daemon.try_wait().map_err(|e| format!("the daemon: {e}"))?;
            if ended.is_some() || began.elapsed() > PATIENCE {
                return Err(format!("the daemon does not answer:\n{}", fs::read_to_string(&path).unwrap_or_default()));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(ms_since(began))
    }

    /// Ends the daemon as an init system does, and leaves the containers.
    pub fn stop_daemon(&mut self) -> Result<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        let pid = process::child(daemon.id())
            .and_then(|pid| Pid::from_raw(pid.cast_signed()))
            .ok_or("the daemon has ended by itself")?;
        kill_process(pid, Signal::TERM).map_err(|e| format!("cannot end the daemon: {e}"))?;
        daemon.wait().map(drop).map_err(|e| format!("the daemon: {e}"))
    }

    /// Removes all containers, and all networks that were made.
    pub fn clear(&mut self) -> Result<()> {
        container::remove_all(&self.api)?;
        self.api.tell("POST", "/networks/prune", None)
    }

    /// The version it says it is.
    pub fn version(&self) -> Result<String> {
        let said = self.api.ask("GET", "/version", None)?;
        Ok(said["Version"].as_str().unwrap_or("without a version").to_owned())
    }

    /// Does something, and gives the milliseconds it took and the milliseconds of CPU the engine's processes took, with
    /// what they had left to do after it.
    pub fn cost(&self, action: impl FnOnce() -> Result<()>) -> Result<[f64; 2]> {
        let (cpu_ms, began) = (self.account.cpu_ms()?, Instant::now());
        action()?;
        let wall_ms = ms_since(began);
        thread::sleep(Duration::from_millis(30));
        Ok([wall_ms, self.account.cpu_ms()? - cpu_ms])
    }

    /// The processes that hold a container each.
    pub fn shims(&self) -> Result<Vec<u32>> {
        let is_shim = |pid: &u32| {
            let arguments = process::arguments(*pid);
            let name = arguments.first().map_or("", String::as_str);
            match self.kind {
                Kind::Docker => name.contains("containerd-shim"),
                Kind::Podman => name.contains("conmon"),
                Kind::Linkspan(_) | Kind::DockerAlone(_) => arguments.get(1).is_some_and(|verb| verb == "shim"),
            }
        };
        Ok(self.account.pids()?.into_iter().filter(is_shim).collect())
    }

    /// The command line of the daemon.
    fn words(&self) -> Vec<String> {
        let data_root = self.host.data_root().to_string_lossy().into_owned();
        let containers = format!("/{}", self.account.containers());
        let settings = format!("CONTAINERS_CONF={}", self.podman_settings().display());
        let words: Vec<&str> = match &self.kind {
            // Containers outlive our daemon always, Docker's only when asked to.
            Kind::Docker => {
                vec!["dockerd", "--live-restore", "--cgroup-parent", &containers, "--data-root", &data_root]
            }
            Kind::Podman => {
                vec![
                    "env",
                    &settings,
                    "podman",
                    "--root",
                    &data_root,
                    "system",
                    "service",
                    "--time",
                    "0",
                    "unix:///run/docker.sock",
                ]
            }
            Kind::Linkspan(binary) => vec![binary.to_str().unwrap_or("linkspan"), "up", "--data-root", &data_root],
            Kind::DockerAlone(binary) => {
                vec![binary.to_str().unwrap_or("linkspan"), "up", "--data-root", &data_root, "--no-kube"]
            }
        };
        words.into_iter().map(str::to_owned).collect()
    }

    /// Keeps what Podman has outside of its root and of /run to this host.
    fn prepare_podman(&self) -> Result<()> {
        let settings = self.podman_settings();
        fs::write(&settings, PODMAN).map_err(|e| format!("cannot write {}: {e}", settings.display()))?;
        let networks = self.host.path().join("networks");
        let said = self.host.sh(&format!(
            "set -e; mkdir -p {0} /etc/cni/net.d; mount --bind {0} /etc/cni/net.d
             for dir in /dev/shm /var/lib/cni /var/lib/containers; do mkdir -p $dir; mount -t tmpfs tmpfs $dir; done",
            networks.display()
        ));
        if said.code == 0 { Ok(()) } else { Err(format!("Podman's host: {}", said.err)) }
    }

    fn podman_settings(&self) -> PathBuf {
        self.host.path().join("containers.conf")
    }

    /// The docker command, speaking to this engine.
    pub fn docker(&self) -> Command {
        let mut docker = Command::new("docker");
        docker.args(["--host", &format!("unix:///proc/{}/root/run/docker.sock", self.host.pid())]);
        docker
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The host's end ends every process and mount; what the file systems of control groups keep is taken away here.
        if let Kind::Linkspan(binary) | Kind::DockerAlone(binary) = &self.kind {
            succeeds(self.host.inside().arg(binary).arg("down"));
        }
        if let Some(mut daemon) = self.daemon.take() {
            // The host's first process outlives this line, so nsenter is the one that is killed; the daemon goes with the host.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Linkspan(_) => "linkspan",
            Self::DockerAlone(_) => "alone",
        }
    }
}

/// The milliseconds since then.
pub fn ms_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}
