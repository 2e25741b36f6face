//! A run directory, a root filesystem and a runtime that disappear with the test, whatever happens in it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use model::{
    container::{
        Access, AfterExit, Container, Image, Init, Log, Memberships, Namespaces, Phase, Privilege, Process, Resources,
        Restart, Seccomp, Security, Share, Stdin, Stop, Terminal, Want,
    },
    id::{ContainerId, SandboxId},
};
use runtime::{
    Attached, Runtime, RuntimeError, RuntimeSettings,
    oci::{self, Host, Peers, capabilities},
    shim::{
        launch::Rootfs,
        protocol::{AttachWish, Exit, Replay, Started, Stream},
    },
};

/// How long anything may take before the test fails.
pub const LIMIT: Duration = Duration::from_secs(60);

pub const EVERYTHING: AttachWish = AttachWish { stdout: true, stderr: true, stdin: true, replay: Replay::Nothing };

/// Where a test keeps its containers.
pub struct House {
    pub runtime: Runtime,
    dir: tempfile::TempDir,
}

/// Runs a test with a house, or says why not.
pub fn with_house<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Arc<House>) -> F) {
    let busybox = Path::new("/bin/busybox");
    if !rustix::process::geteuid().is_root() || !busybox.exists() {
        eprintln!("SKIPPED: real containers need root and a static /bin/busybox");
        return;
    }
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    threads.block_on(async {
        let house = Arc::new(House::build(busybox));
        // Sooner than the runner of tests gives up, so that what the test made is removed.
        let outcome = tokio::spawn(tokio::time::timeout(LIMIT * 4, test(house.clone()))).await;
        let leftovers = house.clear().await;
        outcome.expect("the test").expect("the test ends in time");
        assert_eq!(leftovers, Vec::<String>::new(), "left behind");
    });
}

impl House {
    fn build(busybox: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        for name in ["bin", "etc", "tmp", "home/web"] {
            fs::create_dir_all(image.join(name)).unwrap();
        }
        fs::copy(busybox, image.join("bin/busybox")).unwrap();
        for name in [
            "awk", "cat", "chroot", "dd", "echo", "env", "grep", "head", "hostname", "id", "ls", "mkdir", "mount",
            "pwd", "sh", "sleep", "stty", "tail", "touch", "true", "tty", "wc", "yes",
        ] {
            symlink("busybox", image.join("bin").join(name)).unwrap();
        }
        fs::write(image.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/home/web:/bin/sh\n")
            .unwrap();
        fs::write(image.join("etc/group"), "root:x:0:\nweb:x:34:\nextra:x:44:web\n").unwrap();
        let runtime = Self::runtime_in(dir.path());
        Self { runtime, dir }
    }

    fn runtime_in(dir: &Path) -> Runtime {
        Runtime::new(RuntimeSettings { run_dir: dir.join("run"), exe: env!("CARGO_BIN_EXE_shim").into() })
    }

    /// A runtime over the same directory, as a restarted daemon has it.
    pub fn second_runtime(&self) -> Runtime {
        Self::runtime_in(self.dir.path())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A container that runs `args`; change it before the start.
    pub fn container(&self, args: &[&str]) -> Container {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let number = u64::from(COUNT.fetch_add(1, Ordering::Relaxed)) << 32 | u64::from(std::process::id());
        let id: ContainerId = format!("{number:012x}{number:052x}").parse().unwrap();
        let sandbox: SandboxId = format!("{number:012x}{number:052x}").parse().unwrap();
        Container {
            name: format!("c{number}"),
            id,
            created_ms: 0,
            image: Image { id: String::new(), name: String::new() },
            sandbox,
            process: Process {
                args: args.iter().map(|arg| (*arg).to_owned()).collect(),
                env: vec!["PATH=/bin".to_owned()],
                cwd: "/".to_owned(),
                user: String::new(),
                groups: Vec::new(),
                memberships: Memberships::UnlessGroup,
                terminal: Terminal::None,
                stdin: Stdin::Closed,
                init: Init::Program,
            },
            mounts: Vec::new(),
            resources: Resources { cgroup_parent: Some(self.cgroup_parent()), ..Resources::default() },
            security: Security {
                privilege: Privilege::Usual,
                cap_add: Vec::new(),
                cap_drop: Vec::new(),
                seccomp: Seccomp::Usual,
                root: Access::ReadWrite,
                no_new_privileges: false,
                masked_paths: None,
                readonly_paths: None,
                devices: Vec::new(),
                device_rules: Vec::new(),
                sysctls: BTreeMap::new(),
                oom_score_adj: 0,
            },
            namespaces: Namespaces { pid: Share::Own, ipc: Share::Own, uts: Share::Own, cgroup: Share::Own },
            restart: Restart::No,
            stop: Stop { signal: 15, timeout_s: 10 },
            health_check: None,
            log: Log::JsonFile { max_size: None, max_file: 1, attributes: Default::default() },
            after_exit: AfterExit::Keep,
            external_runtime: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            want: Want::Running,
            phase: Phase::Created,
            restarts: 0,
            backoff_ms: 0,
            health: None,
        }
    }

    /// What the engine would have prepared for it. It has the host's network, which no test uses.
    pub fn host(&self, container: &Container) -> Host {
        let layer = self.path("layers").join(container.id.short());
        let (upper, work) = (layer.join("upper"), layer.join("work"));
        fs::create_dir_all(&upper).unwrap();
        fs::create_dir_all(&work).unwrap();
        Host {
            rootfs: Rootfs::Overlay { lower: vec![self.path("image")], upper, work },
            netns: None,
            sandbox: self.path("sandbox"),
            peers: Peers::default(),
            hostname: container.id.short().to_owned(),
            domainname: String::new(),
            files: Vec::new(),
            volumes: BTreeMap::new(),
            init: Some(env!("CARGO_BIN_EXE_shim").into()),
            log: self.log(container),
            network_sysctls: BTreeMap::new(),
            capabilities: capabilities::available(),
        }
    }

    pub fn log(&self, container: &Container) -> PathBuf {
        self.path("layers").join(container.id.short()).join("json.log")
    }

    pub async fn start(&self, container: &Container) -> Result<Started, RuntimeError> {
        let launch = oci::launch(container, &self.host(container)).unwrap();
        self.runtime.start(&launch).await
    }

    pub async fn wait(&self, container: &Container) -> Exit {
        self.runtime.wait(container.id.as_str()).await.unwrap()
    }

    /// Runs to its end: standard output and standard error, and how it ended.
    pub async fn run(&self, container: &Container) -> (String, Exit) {
        let attached = self.runtime.attach(container.id.as_str(), EVERYTHING).await.unwrap();
        self.start(container).await.unwrap();
        let (output, error) = read_all(attached).await;
        (output + &error, self.wait(container).await)
    }

    /// Removes all containers, and reports what should not be there any more.
    async fn clear(&self) -> Vec<String> {
        let ids = fs::read_dir(self.path("run/containers")).into_iter().flatten();
        let ids: Vec<String> = ids.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let mut left = Vec::new();
        for id in ids {
            if let Err(error) = self.runtime.reap(&id).await {
                left.push(format!("{id}: {error}"));
            }
        }
        runtime::sandbox::release(&self.path("sandbox")).unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        left.extend(
            mounts.lines().filter(|line| line.contains(&*self.dir.path().to_string_lossy())).map(str::to_owned),
        );
        for controller in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().filter_map(Result::ok) {
            let parent = controller.path().join(self.cgroup_parent().trim_start_matches('/'));
            if parent.exists()
                && let Err(error) = fs::remove_dir(&parent)
            {
                left.push(format!("{}: {error}", parent.display()));
            }
        }
        let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(self.cgroup_parent().trim_start_matches('/')));
        left
    }

    /// One per test, so that tests may run beside each other.
    fn cgroup_parent(&self) -> String {
        format!("/linkspan-test{}", self.dir.path().file_name().unwrap().to_string_lossy())
    }
}

/// Everything a process writes until it ends: standard output and standard error.
pub async fn read_all(mut attached: Attached) -> (String, String) {
    let (mut output, mut error) = (Vec::new(), Vec::new());
    while let Some((stream, bytes)) = attached.output.read().await.unwrap() {
        match stream {
            Stream::Stdout => output.extend(bytes),
            Stream::Stderr => error.extend(bytes),
        }
    }
    (String::from_utf8_lossy(&output).into_owned(), String::from_utf8_lossy(&error).into_owned())
}

/// Reads until `text` has come.
pub async fn read_until(attached: &mut Attached, text: &str) -> String {
    let mut all = String::new();
    while !all.contains(text) {
        let next = tokio::time::timeout(LIMIT, attached.output.read()).await;
        let (_, bytes) = next
            .unwrap_or_else(|_| panic!("{text:?} does not come, only {all:?}"))
            .unwrap()
            .unwrap_or_else(|| panic!("the end before {text:?}: {all:?}"));
        all.push_str(&String::from_utf8_lossy(&bytes));
    }
    all
}

/// Waits until `done`.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The parent of a process: the shim of a container's first one.
pub fn parent_of(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}

/// How many files a process has open.
pub fn files_of(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// How many children a process has, those that have ended included.
pub fn children_of(pid: u32) -> usize {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap().split_whitespace().count()
}

/// The memory that a process has for itself, without what it has of files, kB.
pub fn anonymous_kb(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let field = |name: &str| -> u64 {
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse().ok()).unwrap()
    };
    field("Anonymous:")
}

/// Sends a signal to a process that is no container's.
pub fn kill(pid: u32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}
