//! From a container of a pod to a container of the engine. Pure: what must be looked up comes in.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};
use model::{
    Container as EngineContainer, ContainerId, Document,
    command::{ContainerWish, SandboxWish},
    container::{
        Access, AfterExit, Image, Init, Log, Missing, Mount, MountSource, Namespaces, Phase, Process, ReadOnly,
        Restart, Share, Stdin, Stop, Terminal, Want,
    },
};
use runtime::image::Config;

use super::{
    env::{self, ConfigError, Objects, Place},
    resources, security, spec,
    volume::{self, Directories},
};
use crate::identity::{self, label};

/// What a container is made from besides the pod.
pub struct Made<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The container of the pod.
    pub container: &'a Container,
    /// The restart count.
    pub number: u32,
    /// The pause before it, seconds.
    pub pause_s: i64,
    /// The image's id.
    pub image_id: String,
    /// What the image says.
    pub image: &'a Config,
    /// What the pod names.
    pub objects: &'a Objects,
    /// Where the pod is.
    pub place: &'a Place,
    /// Its host name.
    pub hostname: String,
    /// The text of the system call filter of the node that it names.
    pub profile: Option<String>,
    /// The pod's directories.
    pub directories: &'a Directories,
    /// Where each volume is.
    pub volumes: &'a BTreeMap<String, PathBuf>,
    /// The container whose processes it sees: what somebody looks at who debugs.
    pub target: Option<ContainerId>,
    /// Milliseconds since 1970 UTC.
    pub now_ms: i64,
}

/// A container's log is rotated at this size, bytes, and so many files are kept: kubelet's own numbers.
const LOG_MAX_BYTES: u64 = 10 << 20;
const LOG_FILES: u32 = 5;
const SIGTERM: i32 = 15;
/// Where a container leaves its last words unless the pod says.
const LAST_WORDS: &str = "/dev/termination-log";

/// What is asked of the engine.
pub fn wish(made: &Made<'_>) -> Result<ContainerWish, ConfigError> {
    let Made { pod, container, number, .. } = *made;
    let (name, namespace, uid) = spec::names(pod);
    let pod_spec = spec::of(pod);
    let variables = env::variables(pod, container, made.objects, made.place)?;
    let who = security::who(pod, container, &made.image.user)?;
    let oom_score_adj = resources::oom_score(&pod_spec, container, made.place.capacity).max(made.place.oom_score_min);
    let stdin = match (container.stdin, container.stdin_once) {
        (Some(true), Some(true)) => Stdin::Once,
        (Some(true), _) => Stdin::Open,
        _ => Stdin::Closed,
    };
    let wanted = EngineContainer {
        id: identity::container(&uid, &container.name, number),
        name: format!("k8s_{}_{name}_{namespace}_{uid}_{number}", container.name),
        created_ms: made.now_ms,
        image: Image { id: made.image_id.clone(), name: container.image.clone().unwrap_or_default() },
        sandbox: identity::sandbox(&uid),
        process: Process {
            args: args(container, made.image, &variables)?,
            env: environment(made.image, &variables, &made.hostname),
            cwd: working_directory(container, made.image),
            user: who.user,
            groups: who.groups,
            memberships: who.memberships,
            terminal: if container.tty == Some(true) { Terminal::Pty { height: 0, width: 0 } } else { Terminal::None },
            stdin,
            init: Init::Program,
        },
        mounts: mounts(made, &variables)?,
        resources: resources::limits(container),
        security: security::security(pod, container, oom_score_adj, made.profile.as_deref())?,
        namespaces: namespaces(pod, made.target.clone()),
        restart: Restart::No,
        stop: Stop {
            signal: stop_signal(container, made.image),
            timeout_s: pod_spec.termination_grace_period_seconds.unwrap_or(30),
        },
        health_check: None,
        log: Log::JsonFile { max_size: Some(LOG_MAX_BYTES), max_file: LOG_FILES, attributes: BTreeMap::new() },
        after_exit: AfterExit::Keep,
        external_runtime: None,
        labels: labels(made),
        annotations: BTreeMap::new(),
        want: Want::Stopped,
        phase: Phase::Created,
        restarts: 0,
        backoff_ms: 0,
        health: None,
    };
    let sandbox = SandboxWish::In(identity::sandbox(&uid));
    Ok(ContainerWish { container: wanted, sandbox, volumes: Vec::new(), face: Document::default() })
}

fn labels(made: &Made<'_>) -> BTreeMap<String, String> {
    let (name, namespace, uid) = spec::names(made.pod);
    let labels = [
        (label::POD, name),
        (label::NAMESPACE, namespace),
        (label::UID, uid),
        (label::CONTAINER, made.container.name.clone()),
        (label::NUMBER, made.number.to_string()),
        (label::PAUSE, made.pause_s.to_string()),
    ];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn namespaces(pod: &Pod, target: Option<ContainerId>) -> Namespaces {
    let spec = spec::of(pod);
    let host_or = |wanted: Option<bool>, other| if wanted == Some(true) { Share::Host } else { other };
    Namespaces {
        pid: match spec.share_process_namespace {
            Some(true) => Share::Sandbox,
            _ => host_or(spec.host_pid, target.map_or(Share::Own, Share::Container)),
        },
        ipc: host_or(spec.host_ipc, Share::Sandbox),
        uts: host_or(spec.host_network, Share::Sandbox),
        cgroup: Share::Own,
    }
}

/// A command takes the place of the image's entrypoint and of its command; arguments take the place of the image's command alone.
fn args(container: &Container, image: &Config, variables: &[(String, String)]) -> Result<Vec<String>, ConfigError> {
    let known: HashMap<&str, &String> = variables.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let lookup = |name: &str| known.get(name).map(|value| (*value).clone());
    let mut total = 0;
    let mut expand = |word: &String| {
        let word = env::expand(word, lookup)?;
        total += word.len();
        if total > env::TEXTS_MAX {
            return Err(ConfigError::Invalid(format!("the arguments are larger than {} bytes", env::TEXTS_MAX)));
        }
        Ok(word)
    };
    let mut expanded = |words: &Option<Vec<String>>| -> Result<Option<Vec<String>>, ConfigError> {
        let words = words.as_ref().filter(|words| !words.is_empty());
        words.map(|words| words.iter().map(&mut expand).collect()).transpose()
    };
    let (command, arguments) = (expanded(&container.command)?, expanded(&container.args)?);
    let of_image = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
    let args: Vec<String> = match (command, arguments) {
        (Some(command), arguments) => command.into_iter().chain(arguments.unwrap_or_default()).collect(),
        (None, Some(arguments)) => of_image(&image.entrypoint).into_iter().chain(arguments).collect(),
        (None, None) => of_image(&image.entrypoint).into_iter().chain(of_image(&image.cmd)).collect(),
    };
    match args.is_empty() {
        true => Err(ConfigError::Invalid("no command specified".to_owned())),
        false => Ok(args),
    }
}

/// The image's variables with the pod's over them, and the host name.
fn environment(image: &Config, variables: &[(String, String)], hostname: &str) -> Vec<String> {
    let said = |name: &str| variables.iter().any(|(known, _)| known == name);
    let of_image = image.env.iter().filter(|variable| !said(variable.split('=').next().unwrap_or_default()));
    let mut environment: Vec<String> = of_image.cloned().collect();
    if !said("PATH") && !environment.iter().any(|variable| variable.starts_with("PATH=")) {
        environment.push("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    }
    if !said("HOSTNAME") {
        environment.push(format!("HOSTNAME={hostname}"));
    }
    environment.extend(variables.iter().map(|(name, value)| format!("{name}={value}")));
    environment
}

fn working_directory(container: &Container, image: &Config) -> String {
    let said = container.working_dir.clone().filter(|dir| !dir.is_empty());
    said.or_else(|| Some(image.working_dir.clone()).filter(|dir| !dir.is_empty())).unwrap_or_else(|| "/".to_owned())
}

fn stop_signal(container: &Container, image: &Config) -> i32 {
    let said = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.as_deref());
    let name = said.or(image.stop_signal.as_deref()).unwrap_or("SIGTERM");
    const NAMES: [(&str, i32); 8] =
        [("HUP", 1), ("INT", 2), ("QUIT", 3), ("KILL", 9), ("USR1", 10), ("USR2", 12), ("TERM", 15), ("WINCH", 28)];
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    let known = NAMES.iter().find(|(known, _)| *known == bare).map(|(_, number)| *number);
    known.or_else(|| bare.parse().ok()).unwrap_or(SIGTERM)
}

fn mounts(made: &Made<'_>, variables: &[(String, String)]) -> Result<Vec<Mount>, ConfigError> {
    let mut mounts = Vec::new();
    for mount in made.container.volume_mounts.iter().flatten() {
        let root = made.volumes.get(&mount.name);
        let root = root.ok_or_else(|| ConfigError::Invalid(format!("volume {} not found", mount.name)))?;
        let mut wanted = volume_mount(mount, root, variables)?;
        if volume::is_filled(made.pod, &mount.name) {
            wanted.access = Access::ReadOnly;
        }
        mounts.push(wanted);
    }
    let last_words = made.directories.last_words(&made.container.name, made.number);
    let at = made.container.termination_message_path.clone().filter(|path| !path.is_empty());
    mounts.push(bind(last_words, at.unwrap_or_else(|| LAST_WORDS.to_owned()), Access::ReadWrite));
    for (file, at) in [(made.directories.hosts(), "/etc/hosts"), (made.directories.resolv_conf(), "/etc/resolv.conf")] {
        // Who mounts something there wants that.
        if !mounts.iter().any(|mount| mount.target == at) {
            mounts.push(bind(file, at.to_owned(), Access::ReadWrite));
        }
    }
    Ok(mounts)
}

fn volume_mount(
    mount: &VolumeMount,
    root: &std::path::Path,
    variables: &[(String, String)],
) -> Result<Mount, ConfigError> {
    let source = match sub_path(mount, variables)? {
        Some(below) => root.join(below),
        None => root.to_owned(),
    };
    let access = if mount.read_only == Some(true) { Access::ReadOnly } else { Access::ReadWrite };
    let propagation = match mount.mount_propagation.as_deref() {
        Some("HostToContainer") => "rslave",
        Some("Bidirectional") => "rshared",
        _ => "rprivate",
    };
    let recursive_read_only = matches!(mount.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible"));
    let source = MountSource::Bind {
        path: source,
        propagation: propagation.to_owned(),
        missing: Missing::Refuse,
        recursive: true,
        read_only: if recursive_read_only { ReadOnly::WithThoseBelow } else { ReadOnly::Itself },
    };
    let target =
        if mount.mount_path.starts_with('/') { mount.mount_path.clone() } else { format!("/{}", mount.mount_path) };
    Ok(Mount { target, source, access })
}

/// The part of a volume that is mounted; it must not lead out of the volume.
pub fn sub_path(mount: &VolumeMount, variables: &[(String, String)]) -> Result<Option<String>, ConfigError> {
    let lookup = |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let said = mount.sub_path.clone().filter(|path| !path.is_empty());
    let path = match (said, mount.sub_path_expr.as_deref().filter(|path| !path.is_empty())) {
        (Some(path), _) => path,
        (None, Some(expression)) => env::expand(expression, lookup)?,
        (None, None) => return Ok(None),
    };
    let leads_out = path.starts_with('/') || path.split('/').any(|part| part == "..");
    match leads_out {
        true => Err(ConfigError::Invalid(format!("subPath {path:?} must be relative and must not contain '..'"))),
        false => Ok(Some(path)),
    }
}

fn bind(path: PathBuf, target: String, access: Access) -> Mount {
    let source = MountSource::Bind {
        path,
        propagation: "rprivate".to_owned(),
        missing: Missing::Refuse,
        recursive: true,
        read_only: ReadOnly::WithThoseBelow,
    };
    Mount { target, source, access }
}
