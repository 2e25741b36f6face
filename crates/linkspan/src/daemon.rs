//! The daemon put together: every part is made here and given to the next; nothing is decided.

mod lock;
mod socket;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs, io,
    os::unix::fs::PermissionsExt,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use engine::{Engine, EngineError, Parts, Places};
use model::{Command, host::Settings};
use netstate::{Kernel, Key, netns::NetnsName};
use runtime::{
    Runtime, RuntimeSettings,
    image::{self, ImageError},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use store::{Store, StoreError};
use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use tracing::{info, warn};

use crate::{
    admin, config, kube, listeners,
    view::{self, View},
    world::RealWorld,
};

/// The longest the kernel may take to let links go.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the daemon is told.
pub struct Setup {
    /// Images, volumes, containers and the journal.
    pub data_root: PathBuf,
    /// Sockets and namespaces.
    pub run_dir: PathBuf,
    /// The Docker API's socket, if it was named.
    pub docker_socket: Option<PathBuf>,
    /// Who may use it.
    pub docker_group: String,
    /// How much is logged.
    pub log_level: String,
    /// What decisions look at.
    pub settings: Settings,
    /// Driver options of new bridge networks that do not say otherwise.
    pub network_options: BTreeMap<String, String>,
    /// Registries.
    pub images: config::Images,
    /// The Kubernetes face, if there is to be one.
    pub kube: Option<config::Face>,
    /// Whether the built-in image is put into the store.
    pub demo: bool,
}

/// Why the daemon does not start.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// It is not root.
    #[error("the daemon makes namespaces, links and rules, which only root may: run it with sudo")]
    NotRoot,
    /// Another one has the run directory.
    #[error("another linkspan runs with the run directory {0}: stop it, or give another --run-dir")]
    Running(PathBuf),
    /// Another one has the network.
    #[error("another linkspan ({0}) keeps this host's network: stop it, directories of its own do not keep two apart")]
    Kept(String),
    /// The socket that was asked for is somebody else's.
    #[error("another program answers on {0}: stop it, or give another --docker-socket")]
    Answered(PathBuf),
    /// The file system refused.
    #[error("cannot {what} {path}: {source}")]
    Path {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system refused.
    #[error("cannot {0}: {1}")]
    System(&'static str, #[source] io::Error),
    /// The journal cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The image store cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The kernel cannot be spoken to.
    #[error(transparent)]
    Kernel(#[from] netstate::Fault),
    /// The Kubernetes face does not start.
    #[error(transparent)]
    Kube(#[from] kube::KubeError),
    /// The engine cannot take over.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Runs the daemon until it is told to end. Containers and their traffic go on without it.
pub fn run(setup: Setup) -> Result<(), DaemonError> {
    log(&setup.log_level);
    if !rustix::process::geteuid().is_root() {
        return Err(DaemonError::NotRoot);
    }
    raise_file_limit();
    let run_dir = setup.run_dir.clone();
    let _lock = lock::run_directory(&run_dir)?;
    directory(&setup.data_root, 0o711)?;
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| DaemonError::System("start the event loop", e))?;
    if tokio.block_on(serve(setup))? == End::Left {
        await_no_links(&run_dir);
        clear(&run_dir);
    }
    Ok(())
}

/// Why the daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// A signal: another one goes on with the containers.
    Signal,
    /// `linkspan down`: there is nothing to go on with.
    Left,
}

async fn serve(setup: Setup) -> Result<End, DaemonError> {
    let (docker, docker_path) = socket::docker(&setup)?;
    let admin = socket::bind(&admin::socket(&setup.run_dir), 0o600, None)?;
    let (store, state) = Store::open(&setup.data_root.join("state.db"))?;
    if let Some(network) = lock::network()? {
        tokio::spawn(lock::hold(socket::listener(network)?));
    }
    let images = image::Store::open(&setup.data_root)?;
    // Beside all that follows, but for what keeps two daemons apart.
    let (tell_engine, engine) = tokio::sync::oneshot::channel();
    let kube = setup.kube.as_ref().map(|face| {
        let kube = kube::Setup {
            face: face.clone(),
            data_root: setup.data_root.clone(),
            run_dir: setup.run_dir.clone(),
            images: images.clone(),
            registries: registries(&setup.images),
            engine,
        };
        tokio::spawn(kube::Kube::open(kube))
    });
    if setup.demo {
        images.assemble_demo(Path::new("/proc/self/exe")).await?;
    }
    if let Err(error) = runtime::cgroup::parents::make_room() {
        warn!(%error, "control groups are not handed on, so containers with limits will not start: run this container --privileged");
    }
    let places = Places { data_root: setup.data_root.clone(), run_dir: setup.run_dir.clone() };
    let stale = |source| DaemonError::Path { what: "clear stale namespaces from", path: setup.run_dir.clone(), source };
    kernel::namespace::sweep(&setup.run_dir).map_err(stale)?;
    let kernel = kernel::Linux::open(&setup.run_dir)?;
    let (host, seen) = (kernel.facts()?, kernel.facts()?);
    let connections = kernel.conntrack(&NetnsName::Host)?;
    let (surprise, mut surprises) = tokio::sync::mpsc::unbounded_channel();
    // The receiver lives as long as the daemon.
    let _monitor = kernel.watch(move |what| drop(surprise.send(format!("{what:?}"))))?;
    let engine = Engine::open(Parts {
        store,
        state,
        kernel: Box::new(kernel),
        world: Box::new(RealWorld::new(places.clone(), host).map_err(|e| DaemonError::System("read /dev/urandom", e))?),
        runtime: Arc::new(Runtime::new(RuntimeSettings::new(&setup.run_dir))),
        images: images.clone(),
        places,
        settings: setup.settings.clone(),
    })
    .await?;
    let _listeners = listeners::serve(&engine, connections);
    let surprised = engine.clone();
    tokio::spawn(async move {
        while let Some(what) = surprises.recv().await {
            surprised.surprise(what);
        }
    });
    let (ask, questions) = tokio::sync::mpsc::channel(16);
    tokio::spawn(admin::serve(socket::listener(admin)?, ask));
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let api = docker_api::ApiSettings {
        data_root: setup.data_root.clone(),
        run_dir: setup.run_dir.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        network_options: setup.network_options.clone(),
        registries: registries(&setup.images),
    };
    let api = docker_api::serve(engine.clone(), socket::listener(docker)?, api, async {
        // A dropped sender is the end too.
        let _ = ended.await;
    });
    let api = tokio::spawn(api);
    let mut kube = match kube.zip(setup.kube) {
        Some((kube, face)) => {
            // Without a Kubernetes face there is no node.
            let _ = tell_engine.send(engine.clone());
            opened(kube, face.listen).await?
        }
        None => {
            // Its services would be led to pods that nobody looks after.
            if engine.state().cluster.is_some() {
                engine.submit(Command::LeaveCluster).await?;
            }
            None
        }
    };
    info!(socket = %docker_path.display(), data_root = %setup.data_root.display(), "ready");
    notify("READY=1");
    let outcome = wait(View { engine, host: seen }, questions, &mut kube).await;
    notify("STOPPING=1");
    if let Some(kube) = kube.take() {
        kube.close().await;
    }
    drop(end);
    if let Err(error) = api.await {
        warn!(%error, "the Docker API ended badly");
    }
    // A socket that nobody answers would make the next daemon believe somebody does.
    let _ = fs::remove_file(&docker_path);
    outcome
}

/// The Kubernetes face, once it is open. Who did not ask for it by name is not kept from containers when it cannot be had.
async fn opened(
    kube: JoinHandle<Result<kube::Kube, kube::KubeError>>,
    listen: config::Listen,
) -> Result<Option<kube::Kube>, DaemonError> {
    // Nobody aborts it.
    let kube = kube.await.unwrap_or_else(|error| resume_unwind(error.into_panic()));
    match (kube, listen) {
        (Ok(kube), _) => {
            info!(kubeconfig = %kube.kubeconfig().display(), "the Kubernetes API is there");
            Ok(Some(kube))
        }
        (Err(error), config::Listen::Asked(_)) => Err(error.into()),
        (Err(error), config::Listen::Usual(_)) => {
            warn!(%error, "the Kubernetes API is not there, containers are: --no-kube, if it is not wanted");
            Ok(None)
        }
    }
}

fn registries(images: &config::Images) -> image::RegistrySettings {
    let usual = image::RegistrySettings::default();
    image::RegistrySettings {
        mirrors: images.mirrors.clone(),
        insecure: images.insecure_registries.clone(),
        proxies: image::Proxies::from_env(),
        stall_timeout: images.registry_stall_timeout_s.map_or(usual.stall_timeout, Duration::from_secs),
        ..usual
    }
}

/// Answers the verbs until a signal or `linkspan down`. What is to leave is not made again by the Kubernetes face: it ends first.
async fn wait(
    mut view: View,
    mut questions: tokio::sync::mpsc::Receiver<admin::Question>,
    kube: &mut Option<kube::Kube>,
) -> Result<End, DaemonError> {
    let on = |kind| signal(kind).map_err(|e| DaemonError::System("take signals", e));
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(End::Signal),
            _ = interrupt.recv() => return Ok(End::Signal),
            Some(question) = questions.recv() => {
                let down = matches!(question.ask, admin::Ask::Down);
                if let Some(kube) = kube.take_if(|_| down) {
                    kube.close().await;
                }
                let answer = view::answer(&mut view, question.ask).await;
                let done = down && answer.is_ok();
                // Whoever asked may have gone.
                let _ = question.answer.send(answer);
                if done {
                    return Ok(End::Left);
                }
            }
        }
    }
}

fn log(level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_new(level).unwrap_or_default();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false).init();
}

/// Each sandbox with names holds two sockets, and each client some: as many files as may be.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        warn!(%error, "the number of open files stays limited");
    }
}

/// The kernel takes links along with their namespace, but a moment later. Who left sees them as gone already: another look does not.
fn await_no_links(run_dir: &Path) {
    let deadline = Instant::now() + PATIENCE;
    let any = || {
        let seen = kernel::Linux::open(run_dir).and_then(|mut host| host.observe(&BTreeSet::new()));
        seen.is_ok_and(|seen| seen.objects.keys().any(|key| matches!(key, Key::Link(_))))
    };
    while any() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Removes what is empty and ours: a directory in which somebody else has something stays.
fn clear(run_dir: &Path) {
    for file in [admin::socket(run_dir), admin::lock(run_dir)] {
        let _ = fs::remove_file(file);
    }
    for dir in [run_dir.join("containers"), run_dir.join("netns"), run_dir.to_owned()] {
        let _ = fs::remove_dir(dir);
    }
}

fn directory(path: &Path, mode: u32) -> Result<(), DaemonError> {
    let failed = |what| move |source| DaemonError::Path { what, path: path.to_owned(), source };
    fs::create_dir_all(path).map_err(failed("make"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("set the mode of"))
}

/// Tells systemd, if it started us (sd_notify(3)).
fn notify(state: &str) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return };
    let told = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| socket.send_to(state.as_bytes(), path));
    if let Err(error) = told {
        warn!(%error, "systemd could not be told");
    }
}
