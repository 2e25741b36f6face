//! A host in namespaces of its own, with a daemon.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{Said, eventually, image};

/// A host with a daemon; a neighbour outside is 192.0.2.2, the host is 192.0.2.1 to it (RFC 5737).
pub struct Host {
    /// Process 1 of the host's process namespace.
    init: Child,
    /// The same as seen here.
    pid: u32,
    dir: TempDir,
    arguments: Vec<String>,
    faces: Faces,
    /// Variables that the daemon has besides.
    environment: Vec<(String, String)>,
}

/// What the daemon serves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Faces {
    /// Docker's API alone, which is up sooner; most tests are about it.
    Docker,
    /// All that it serves unless told.
    All,
}

/// A host's network before the daemon, as a shell script: one link to a neighbour, who is the default route.
pub const NETWORK: &str = "
    set -e
    mount -t tmpfs tmpfs /run
    if ! grep -q ^docker: /etc/group; then
        (cat /etc/group; echo docker:x:2375:) > /run/group
        mount --bind /run/group /etc/group
    fi
    mkdir -p /run/netns
    ip link set lo up
    ip netns add outside
    ip link add uplink type veth peer name eth0 netns outside
    ip addr add 192.0.2.1/24 dev uplink
    ip addr add 2001:db8::1/64 dev uplink nodad
    ip link set uplink up
    ip -n outside addr add 192.0.2.2/24 dev eth0
    ip -n outside addr add 2001:db8::2/64 dev eth0 nodad
    ip -n outside link set lo up
    ip -n outside link set eth0 up
    ip route add default via 192.0.2.2
    ip -6 route add default via 2001:db8::2
";

impl Host {
    /// A host with a daemon and the image `busybox`; none, said loudly, where namespaces cannot be made.
    ///
    /// # Panics
    /// When the daemon does not answer.
    pub fn start() -> Option<Self> {
        let host = Self::start_with(&[])?;
        host.load_image();
        Some(host)
    }

    /// The same with a configuration file, whose text is given.
    ///
    /// # Panics
    /// When the daemon does not answer.
    pub fn start_with_config(text: &str) -> Option<Self> {
        Self::start_in(&[], text)
    }

    /// The same with variables in the daemon's environment.
    ///
    /// # Panics
    /// When the daemon does not answer.
    pub fn start_in(environment: &[(&str, &str)], text: &str) -> Option<Self> {
        let mut host = Self::empty()?;
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        host.environment = environment.iter().map(owned).collect();
        let file = host.path().join("config.toml");
        fs::write(&file, text).expect("the configuration is written");
        host.arguments = vec!["--config".to_owned(), file.display().to_string()];
        host.start_daemon();
        host.load_image();
        Some(host)
    }

    /// The same with arguments for `linkspan up`, and without an image.
    ///
    /// # Panics
    /// When the daemon does not answer.
    pub fn start_with(arguments: &[&str]) -> Option<Self> {
        let mut host = Self::empty()?;
        host.arguments = arguments.iter().map(ToString::to_string).collect();
        host.start_daemon();
        Some(host)
    }

    /// The same host; its daemon serves from now on all that it serves unless told.
    pub fn with_all_faces(mut self) -> Self {
        self.faces = Faces::All;
        self
    }

    /// The same host; its daemon starts with these arguments from now on.
    pub fn with_arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(ToString::to_string).collect();
        self
    }

    /// A host with its network and without a daemon; what is started in it ends with it.
    ///
    /// # Panics
    /// When its network cannot be made.
    pub fn empty() -> Option<Self> {
        if !is_root() {
            eprintln!("SKIPPED: hosts need root");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("linkspan-host-").tempdir().expect("a temporary directory");
        let mut init = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"])
            // It ends when its input does, so when this program does, however that comes; and it waits for orphans, as an init must.
            .args(["sh", "-c", "exec 3<&0; echo ready; cat <&3 >/dev/null & wait $!"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        // Only then is /proc its own, and are mounts private.
        let said = init.stdout.take().map(|out| BufReader::new(out).lines().next());
        assert!(matches!(said, Some(Some(Ok(_)))), "unshare made no host: {said:?}");
        let pid = eventually("the host's first process", || child_of(init.id()));
        let host = Self { init, pid, dir, arguments: Vec::new(), faces: Faces::Docker, environment: Vec::new() };
        host.sh(NETWORK).ok();
        Some(host)
    }

    /// Starts the daemon (again).
    ///
    /// # Panics
    /// When it does not answer.
    pub fn start_daemon(&self) {
        let log = File::options().append(true).create(true).open(self.log()).expect("the daemon's log");
        let mut up = self.inside();
        up.envs(self.environment.iter().map(|(name, value)| (name, value)));
        up.arg(binary()).arg("up").arg("--data-root").arg(self.data_root()).args(&self.arguments);
        if self.faces == Faces::Docker {
            up.arg("--no-kube");
        }
        let mut child = up
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("nsenter runs");
        eventually("the daemon answers", || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("the daemon ended ({status}):\n{}", self.daemon_log());
            }
            (self.sh("docker version").code == 0).then_some(())
        });
        fs::write(self.dir.path().join("daemon.pid"), self.sh("pgrep -o -f 'linkspan up '").ok())
            .expect("the daemon's pid is noted");
    }

    /// Kills the daemon without warning; containers go on.
    ///
    /// # Panics
    /// When there is none.
    pub fn kill_daemon(&self) {
        let pid = self.daemon_pid();
        self.sh(&format!("kill -9 {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.01; done")).ok();
    }

    /// The daemon's process id inside the host.
    ///
    /// # Panics
    /// When it was never started.
    pub fn daemon_pid(&self) -> String {
        fs::read_to_string(self.dir.path().join("daemon.pid")).expect("the daemon was started")
    }

    /// Runs a shell script on the host.
    pub fn sh(&self, script: &str) -> Said {
        self.finish(self.inside().args(["sh", "-c", script]), script)
    }

    /// Runs a shell script on the neighbour outside.
    pub fn outside(&self, script: &str) -> Said {
        self.finish(
            self.inside().args(["ip", "netns", "exec", "outside", "sh", "-c", script]),
            &format!("outside: {script}"),
        )
    }

    /// Runs the docker command on the host; words are split at spaces, as a shell does.
    pub fn docker(&self, words: &str) -> Said {
        self.sh(&format!("docker {words}"))
    }

    /// Runs one of our own verbs on the host.
    pub fn linkspan(&self, words: &str) -> Said {
        self.sh(&format!("{} {words}", binary().display()))
    }

    /// A command that will run on the host, for those who need its pipes.
    pub fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string(), "--net", "--mount", "--pid", "--uts", "--ipc", "--"]);
        command.env_remove("DOCKER_HOST").env("HOME", self.dir.path()).current_dir("/");
        command
    }

    /// Imports the test image as `busybox`.
    ///
    /// # Panics
    /// When the daemon refuses it.
    pub fn load_image(&self) {
        let archive = self.dir.path().join("busybox.tar");
        image::write(&archive);
        self.docker(&format!("import -c 'CMD [\"sh\"]' -c 'ENV PATH=/bin' {} busybox", archive.display())).ok();
    }

    /// Process 1 of the host, as seen from here: `/proc/PID/root` shows the host's files.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The files of this host alone.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Where the daemon keeps its data.
    pub fn data_root(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The control groups that find(1)'s `condition` chooses. Those of other hosts may vanish meanwhile: that is no failure.
    pub fn groups(&self, condition: &str) -> String {
        self.sh(&format!("find /sys/fs/cgroup -mindepth 2 {condition} -type d 2>/dev/null; true")).ok()
    }

    /// What the daemon logged.
    pub fn daemon_log(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("daemon.log")
    }

    fn finish(&self, command: &mut Command, what: &str) -> Said {
        let output = command.stdin(Stdio::null()).output().expect("nsenter runs");
        Said::from_output(what.to_owned(), &output)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}---", self.daemon_log());
        }
        if self.dir.path().join("daemon.pid").exists() {
            // Without it, `down` would wait for programs that do not heed SIGTERM.
            self.sh("docker ps -aq | xargs -r docker rm -f");
            // Takes the control groups away; the namespaces take the rest.
            self.linkspan("down");
        }
        // It may have ended by itself, which is as good.
        let _ = self.init.kill();
        let _ = self.init.wait();
    }
}

/// The binary under test, beside this test's own.
///
/// # Panics
/// When this test is not where Cargo puts tests.
pub fn binary() -> PathBuf {
    let here = std::env::current_exe().expect("this test has a path");
    let target = here.parent().and_then(Path::parent).expect("tests are in target/PROFILE/deps");
    target.join("linkspan")
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id runs");
    output.stdout == b"0\n"
}

/// A process's first child, as seen from here.
pub(crate) fn child_of(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Whether a program is in the usual places.
pub(crate) fn is_installed(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists())
}
