//! The shim: one small single-threaded process per container that makes it, holds its process, streams, log and
//! exit code, and outlives the daemon. The daemon executes its own binary again as `shim DIR`, with the listening
//! socket of the container as standard input; [`main`] must run before any thread exists.

mod builtin;
mod connection;
mod device;
mod diagnosis;
mod entry;
mod hide;
pub mod launch;
pub mod mount;
mod process;
mod program;
pub mod protocol;
mod refusal;
mod stdio;
mod supervise;

use std::{
    error::Error,
    ffi::OsString,
    fs::File,
    io,
    os::{fd::AsFd, unix::net::UnixListener},
    path::{Path, PathBuf},
    process::ExitCode,
};

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Spec};
use rustix::{
    process::{set_child_subreaper, setsid},
    stdio::dup2_stdin,
};

use crate::{
    cgroup::Cgroup,
    shim::{
        builtin::BuiltIn,
        launch::{ExecLaunch, Launch, OciRuntime, ProcessName, State, Stdin, file},
        mount::MountError,
        process::Process,
        program::Program,
        protocol::Failure,
        stdio::Stdio,
        supervise::Shim,
    },
    words::sentence,
};

/// The first argument that makes the binary a shim.
pub const VERB: &str = "shim";

/// The whole life of a shim. `args` are those after [`VERB`]: the container's run directory.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(dir) = args.into_iter().next().map(PathBuf::from) else {
        eprintln!("{VERB}: the run directory is missing; this command is for linkspan's own use");
        return ExitCode::from(2);
    };
    match run(&dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{VERB} {}: {error}", dir.display());
            ExitCode::FAILURE
        }
    }
}

fn run(dir: &Path) -> io::Result<()> {
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    dup2_stdin(File::open("/dev/null")?)?;
    // The daemon's terminal and its signals are not ours.
    setsid()?;
    set_child_subreaper(rustix::process::Pid::from_raw(1))?;
    diagnosis::begin()?;
    let signals = supervise::block_signals()?;

    let launch = Launch::read(dir)?;
    let cgroup = launch.cgroup()?;
    let mut state = State { shim: ProcessName::of(std::process::id())?, process: None, started_ms: None, exit: None };
    state.write(dir)?;
    let outcome = create(dir, &launch, &cgroup);
    let stdin = launch.stdin;
    let log = supervise::open_log(&launch.log);
    // A specification is large and not needed again.
    drop(launch);
    let (oci, made) = match outcome {
        Ok((oci, pid, stdio)) => {
            state.process = Some(ProcessName::of(pid.unsigned_abs())?);
            state.write(dir)?;
            (Some(oci), Ok(Process::new(pid, stdio)))
        }
        Err(failure) => (None, Err(failure)),
    };
    Shim::new(supervise::Parts { dir: dir.to_owned(), listener, signals, state, stdin, log, oci, cgroup }).run(made)
}

/// The program that made the container, ready for the next verb.
enum Oci {
    BuiltIn(Box<BuiltIn>),
    Program(Program),
}

impl Oci {
    fn start(&mut self) -> Result<(), Failure> {
        match self {
            Self::BuiltIn(container) => container.start(),
            Self::Program(container) => container.start(),
        }
    }

    fn exec(&mut self, exec: &ExecLaunch, cgroup: &mut Cgroup) -> Result<(i32, Stdio), Failure> {
        match self {
            Self::BuiltIn(container) => container.exec(exec, cgroup),
            Self::Program(container) => container.exec(exec),
        }
    }

    fn delete(&self) {
        match self {
            // Its state is files in the run directory and the control group, which go anyway.
            Self::BuiltIn(_) => {}
            Self::Program(container) => container.delete(),
        }
    }
}

fn create(dir: &Path, launch: &Launch, cgroup: &Cgroup) -> Result<(Oci, i32, Stdio), Failure> {
    let refused = |error: &(dyn Error + 'static)| {
        let message = sentence(error);
        Failure { code: refusal::exit_code(&message), message }
    };
    let rootfs = dir.join(file::ROOTFS);
    cgroup.make().map_err(|error| refused(&error))?;
    mount::enter_private_namespace(dir)
        .and_then(|()| mount::mount_root(&launch.rootfs, &rootfs))
        .map_err(|error| refused(&error))?;
    for filesystem in &launch.filesystems {
        mount::mount_filesystem(filesystem, dir).map_err(|error| refused(&error))?;
    }
    if let Some(pid) = launch.shm_of {
        mount::mount_shm_of(pid, &dir.join(file::SHM)).map_err(|error| refused(&error))?;
    }
    let mut launch = launch.clone();
    crate::oci::enter(&mut launch, &rootfs).map_err(|error| refused(&error))?;
    let _namespace = hide_namespaces(dir, &mut launch.spec).map_err(|error| refused(&error))?;
    let stdin = launch.stdin != Stdin::Null;
    match &launch.runtime {
        OciRuntime::BuiltIn => {
            let (container, pid, stdio) = BuiltIn::create(dir.to_owned(), &launch, cgroup, stdin)?;
            Ok((Oci::BuiltIn(Box::new(container)), pid, stdio))
        }
        OciRuntime::Program(program) => {
            let (container, pid, stdio) = Program::create(program.clone(), dir.to_owned(), &launch, stdin)?;
            Ok((Oci::Program(container), pid, stdio))
        }
    }
}

/// Hides the network namespaces of the others, and leads to the container's own through the file that is returned.
fn hide_namespaces(dir: &Path, spec: &mut Spec) -> Result<Option<File>, MountError> {
    let sources = spec.mounts().iter().flatten().filter_map(|mount| mount.source().clone()).collect::<Vec<_>>();
    let namespaces = spec.linux_mut().as_mut().and_then(|linux| linux.namespaces_mut().as_mut());
    let is_network = |namespace: &&mut LinuxNamespace| namespace.typ() == LinuxNamespaceType::Network;
    let Some(network) = namespaces.into_iter().flatten().find(is_network) else { return Ok(None) };
    let Some(own) = network.path().clone() else { return Ok(None) };
    let hidden = hide::namespaces(dir, &own, &sources)?;
    Ok(hidden.map(|(path, file)| {
        network.set_path(Some(path));
        file
    }))
}

pub(crate) fn now_ms() -> u64 {
    // A clock before 1970 is not worth an error.
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}
