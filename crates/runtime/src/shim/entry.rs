//! The last steps before a container's process is itself: find the program, confine, drop capabilities, execute.
//! Runs inside the container, in a process that libcontainer has cloned from the shim.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
};

use caps::{CapSet, Capability, CapsHashSet};
use kernel::seccomp::{self, Instruction};
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use nix::sys::signal::SigSet;
use oci_spec::runtime::{Capabilities, LinuxCapabilities, Process, Spec};
use rustix::{
    fs::{Access, access},
    io::Errno,
    mount::mount_change,
    termios::{Winsize, tcsetwinsize},
};

use crate::{
    cgroup::Entrances,
    oci::{process::INIT, propagation::Propagation},
    words::plain,
};

/// How to become the container's process.
///
/// libcontainer is given a process without capabilities, so that it leaves all of them in place: a filter can then
/// be installed without no_new_privs, which would break `sudo` in containers.
#[derive(Clone, Debug)]
pub struct Entry {
    /// How it joins the container's control groups; none where libcontainer lets it in.
    pub entrances: Option<Rc<Entrances>>,
    /// The capabilities to keep; none keeps all.
    pub capabilities: Option<LinuxCapabilities>,
    /// The seccomp program to install.
    pub seccomp: Option<Rc<Vec<Instruction>>>,
    /// How mounts are to follow the host's: libcontainer knows only one way for all of them.
    pub propagation: Vec<Propagation>,
}

impl Executor for Entry {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let process = spec.process().as_ref().ok_or(ExecutorError::InvalidArg)?;
        let args = process.args().as_deref().unwrap_or_default();
        let name = args.first().ok_or(ExecutorError::InvalidArg)?;
        let env = process.env().as_deref().unwrap_or_default();
        let variables = env.iter().filter_map(|variable| variable.split_once('='));
        let program = find_program(name, env).map_err(ExecutorError::Other)?;
        let mut command = Command::new(&program);
        command.arg0(name).args(&args[1..]).env_clear().envs(variables);
        size_terminal(process);
        self.confine(process.no_new_privileges() == Some(true))
            .map_err(|error| ExecutorError::Other(format!("cannot confine the process: {error}")))?;
        // The shim blocks all signals, and the program must not inherit that. Our init wants it so: what is sent to it before it runs
        // waits for it.
        let is_init = args.starts_with(&INIT.map(str::to_owned));
        let unblocked = if is_init { Ok(()) } else { SigSet::empty().thread_set_mask() };
        let error = match unblocked {
            Ok(()) => command.exec(),
            Err(errno) => errno.into(),
        };
        // Too late to refuse the start: like runc, say it where the program would have spoken.
        eprintln!("exec {}: {}", program.display(), plain(&error));
        Err(ExecutorError::Execution(Box::new(error)))
    }

    /// The last moment in which a start can be refused: all is mounted, and nothing given up.
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        self.join().and_then(|()| self.propagate()).map_err(ExecutorValidationError::ArgValidationError)?;
        let process = spec.process().as_ref();
        let args = process.and_then(|process| process.args().as_deref()).unwrap_or_default();
        let env = process.and_then(|process| process.env().as_deref()).unwrap_or_default();
        let name =
            args.first().ok_or_else(|| ExecutorValidationError::ArgValidationError("no command specified".into()))?;
        find_program(name, env).map(|_| ()).map_err(ExecutorValidationError::ArgValidationError)
    }

    fn setup_envs(&self, _envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        // The environment is given to execve whole; changing this process's own would only cost time.
        Ok(())
    }
}

impl Entry {
    fn join(&self) -> Result<(), String> {
        let entered = self.entrances.as_ref().map_or(Ok(()), |entrances| entrances.enter());
        entered.map_err(|error| format!("unable to join the container's control groups: {}", plain(&error)))
    }

    fn propagate(&self) -> Result<(), String> {
        for (place, kind) in &self.propagation {
            match mount_change(place, *kind) {
                // It lies under another mount, where nobody sees it.
                Ok(()) | Err(Errno::INVAL) => {}
                Err(errno) => {
                    let reason = plain(&errno.into());
                    return Err(format!("error changing the propagation of the mount at {place:?}: {reason}"));
                }
            }
        }
        Ok(())
    }

    fn confine(&self, no_new_privileges: bool) -> Result<(), Box<dyn std::error::Error>> {
        // With no_new_privs anyone may install a filter, so it comes last and may forbid capset; without, it needs
        // the capabilities that are about to go.
        if !no_new_privileges {
            self.install_filter()?;
        }
        if let Some(capabilities) = &self.capabilities {
            keep_capabilities(capabilities)?;
        }
        if no_new_privileges {
            self.install_filter()?;
        }
        Ok(())
    }

    fn install_filter(&self) -> io::Result<()> {
        self.seccomp.as_ref().map_or(Ok(()), |program| seccomp::load(program))
    }
}

/// Gives the process's terminal the size it asks for, before anybody can look at it.
fn size_terminal(process: &Process) {
    let Some(size) = process.console_size().filter(|_| process.terminal() == Some(true)) else { return };
    let characters = |count: u64| u16::try_from(count).unwrap_or(u16::MAX);
    let size =
        Winsize { ws_row: characters(size.height()), ws_col: characters(size.width()), ws_xpixel: 0, ws_ypixel: 0 };
    // A terminal of a wrong size is better than none.
    let _ = tcsetwinsize(io::stdin(), size);
}

fn keep_capabilities(kept: &LinuxCapabilities) -> Result<(), caps::errors::CapsError> {
    let bounding = to_caps(kept.bounding());
    for capability in caps::read(None, CapSet::Bounding)?.difference(&bounding) {
        caps::drop(None, CapSet::Bounding, *capability)?;
    }
    // Inheritable before permitted shrinks, ambient last: it must be within both.
    caps::set(None, CapSet::Inheritable, &to_caps(kept.inheritable()))?;
    caps::set(None, CapSet::Effective, &to_caps(kept.effective()))?;
    caps::set(None, CapSet::Permitted, &to_caps(kept.permitted()))?;
    caps::set(None, CapSet::Ambient, &to_caps(kept.ambient()))
}

fn to_caps(set: &Option<Capabilities>) -> CapsHashSet {
    let names = set.iter().flatten();
    names
        .filter_map(|name| format!("CAP_{}", name.to_string().trim_start_matches("CAP_")).parse::<Capability>().ok())
        .collect()
}

/// Finds the program that `name` means, as a shell does. The error is one sentence in runc's words.
fn find_program(name: &str, env: &[String]) -> Result<PathBuf, String> {
    if name.contains('/') {
        return executable(Path::new(name)).map(|()| PathBuf::from(name)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                format!("exec: {name:?}: stat {name}: {}: unknown", plain(&error))
            }
            _ => format!("exec: {name:?}: {}: unknown", plain(&error)),
        });
    }
    let path = env.iter().rev().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or_default();
    let mut denied = None;
    for directory in path.split(':') {
        let candidate = Path::new(if directory.is_empty() { "." } else { directory }).join(name);
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => denied = Some(error),
            Err(_) => {}
        }
    }
    Err(match denied {
        Some(error) => format!("exec: {name:?}: {}: unknown", plain(&error)),
        None => format!("exec: {name:?}: executable file not found in $PATH: unknown"),
    })
}

fn executable(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(access(path, Access::EXEC_OK)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_runc_does() {
        let env = ["PATH=/nowhere:/usr/bin:/bin".to_owned()];
        for (name, expected) in [
            ("nosuchprogram", r#"exec: "nosuchprogram": executable file not found in $PATH: unknown"#),
            ("/nope/x", r#"exec: "/nope/x": stat /nope/x: no such file or directory: unknown"#),
            ("/etc/passwd/x", r#"exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory: unknown"#),
            ("/etc", r#"exec: "/etc": is a directory: unknown"#),
            ("/etc/passwd", r#"exec: "/etc/passwd": permission denied: unknown"#),
        ] {
            assert_eq!(find_program(name, &env).unwrap_err(), expected);
        }
        assert!(find_program("sh", &env).is_ok());
    }
}
