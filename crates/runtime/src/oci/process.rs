//! Processes in the OCI's words: a container's first and those executed in it later.

use std::{collections::BTreeSet, io, path::Path};

use model::container::{Container, Init, Stdin, Terminal, Ulimit};
use oci_spec::runtime::{Box as Size, Process};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    OciError, capabilities,
    user::{self, Identity},
};
use crate::{
    init,
    rootfs::tree::Root,
    shim::launch::{ExecLaunch, Launch},
};

/// Where the small init is bound in a container that has one.
pub const INIT_PATH: &str = "/sbin/docker-init";

/// How the small init is called, before the program and its arguments.
pub const INIT: [&str; 3] = [INIT_PATH, init::VERB, "--"];

/// A process to run in a running container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecWish {
    /// The program and its arguments; never empty.
    pub args: Vec<String>,
    /// `NAME=value`, on top of the container's own.
    pub env: Vec<String>,
    /// Working directory; none for the container's.
    pub cwd: Option<String>,
    /// `user[:group]`; none for the container's.
    pub user: Option<String>,
    /// With a terminal of this size, if any.
    pub terminal: Option<TerminalWish>,
    /// Standard input comes from the attacher; otherwise it is empty.
    pub stdin: bool,
    /// With all capabilities and without a system call filter.
    pub privileged: bool,
}

/// A terminal for a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalWish {
    /// Lines; 0 when not known yet.
    pub rows: u16,
    /// Characters in a line; 0 when not known yet.
    pub columns: u16,
}

/// A container's first process. Its user is only known inside its root filesystem: see [`enter`].
pub fn first(container: &Container, kept: &BTreeSet<String>) -> Result<Process, OciError> {
    let process = &container.process;
    let args = match process.init {
        Init::Program => process.args.clone(),
        Init::Init => INIT.into_iter().map(str::to_owned).chain(process.args.iter().cloned()).collect(),
    };
    let mut value = json!({
        "user": {"uid": 0, "gid": 0},
        "args": args,
        "env": process.env,
        "cwd": if process.cwd.is_empty() { "/" } else { &process.cwd },
        "capabilities": capability_sets(kept),
        "oomScoreAdj": container.security.oom_score_adj,
        "rlimits": container.resources.ulimits.iter().map(rlimit).collect::<Vec<Value>>(),
    });
    if let Terminal::Pty { height, width } = process.terminal {
        value["terminal"] = true.into();
        value["consoleSize"] = json!({"height": height, "width": width});
    }
    // "false" is not the same as absent for some runtimes: they then treat the filter differently.
    if container.security.no_new_privileges {
        value["noNewPrivileges"] = true.into();
    }
    Ok(serde_json::from_value(value)?)
}

/// A process for a container that was started with `launch`.
pub fn exec(launch: &Launch, wish: &ExecWish) -> Result<ExecLaunch, OciError> {
    let mut process = launch.spec.process().clone().unwrap_or_default();
    let mut env = process.env().clone().unwrap_or_default();
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let given: BTreeSet<String> = wish.env.iter().map(|variable| name(variable)).collect();
    env.retain(|variable| !given.contains(&name(variable)));
    env.extend(wish.env.iter().cloned());
    if wish.terminal.is_some() && !env.iter().any(|variable| variable.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    process.set_args(Some(wish.args.clone())).set_env(Some(env)).set_oom_score_adj(None);
    process.set_terminal(Some(wish.terminal.is_some())).set_console_size(None);
    if let Some(TerminalWish { rows, columns }) = wish.terminal.filter(|size| size.rows > 0) {
        let size: Size = serde_json::from_value(json!({"height": rows, "width": columns}))?;
        process.set_console_size(Some(size));
    }
    if let Some(cwd) = &wish.cwd {
        process.set_cwd(cwd.into());
    }
    if wish.privileged {
        process.set_capabilities(serde_json::from_value(capability_sets(&capabilities::available()))?);
    }
    let identity = match &wish.user {
        Some(user) if !user.is_empty() => Identity { user: user.clone(), ..Identity::default() },
        _ => launch.identity.clone(),
    };
    Ok(ExecLaunch { process, identity, stdin: wish.stdin, unconfined: wish.privileged })
}

/// Completes a process with what only its root filesystem can tell: user and home.
pub fn enter(process: &mut Process, identity: &Identity, rootfs: &Path) -> Result<(), OciError> {
    let user = user::resolve(identity, rootfs)?;
    let value = json!({"uid": user.uid, "gid": user.gid, "additionalGids": user.groups});
    process.set_user(serde_json::from_value(value)?);
    let mut env = process.env().clone().unwrap_or_default();
    if !env.iter().any(|variable| variable.starts_with("HOME=")) {
        env.push(format!("HOME={}", user.home));
        process.set_env(Some(env));
    }
    if user.uid != 0 {
        drop_on_exec(process);
    }
    Ok(())
}

/// Makes the working directory of a container's first process.
pub fn make_cwd(process: &Process, rootfs: &Path) -> Result<(), OciError> {
    Root::open(rootfs).and_then(|root| root.make_directories(process.cwd())).map_err(|source| match source.kind() {
        io::ErrorKind::NotADirectory => OciError::NotDirectory(process.cwd().clone()),
        _ => OciError::Cwd { path: process.cwd().clone(), source },
    })
}

/// A user other than root starts without effective capabilities, as after execve(2).
fn drop_on_exec(process: &mut Process) {
    if let Some(mut sets) = process.capabilities().clone() {
        sets.set_effective(Some(Default::default())).set_permitted(Some(Default::default()));
        process.set_capabilities(Some(sets));
    }
}

fn capability_sets(kept: &BTreeSet<String>) -> Value {
    json!({"bounding": kept, "effective": kept, "permitted": kept, "inheritable": [], "ambient": []})
}

fn rlimit(ulimit: &Ulimit) -> Value {
    let value = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
    json!({"type": format!("RLIMIT_{}", ulimit.name.to_uppercase()), "soft": value(ulimit.soft), "hard": value(ulimit.hard)})
}

/// What feeds a container's standard input, for its shim.
pub fn stdin(stdin: Stdin) -> crate::shim::launch::Stdin {
    match stdin {
        Stdin::Closed => crate::shim::launch::Stdin::Null,
        Stdin::Open => crate::shim::launch::Stdin::Open,
        Stdin::Once => crate::shim::launch::Stdin::Once,
    }
}
