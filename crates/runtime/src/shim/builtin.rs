//! Containers by libcontainer. It keeps state in process globals (working directory, OOM score, dumpable flag), so
//! it is used only here, in the single-threaded shim of one container.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    rc::Rc,
};

use kernel::seccomp::Instruction;
use libcontainer::{
    container::{Container, builder::ContainerBuilder},
    syscall::syscall::SyscallType,
};
use oci_spec::runtime::{LinuxDeviceCgroup, Mount, Process, Spec};

use crate::{
    cgroup::{Cgroup, Entrances},
    oci::{propagation, seccomp},
    shim::{
        device, diagnosis,
        entry::Entry,
        hide,
        launch::{ExecLaunch, Launch, file},
        protocol::Failure,
        refusal,
        stdio::{ConsoleSocket, Stdio, pipes},
    },
};

/// A container that libcontainer has created.
pub struct BuiltIn {
    dir: PathBuf,
    id: String,
    container: Container,
    /// How processes join the container, once one has.
    entrances: Option<Rc<Entrances>>,
    seccomp: Option<Rc<Vec<Instruction>>>,
}

impl BuiltIn {
    /// Creates the container up to the point where its process waits to be started. `launch.spec` has its root path
    /// set already. Returns the process's id and streams.
    pub fn create(dir: PathBuf, launch: &Launch, cgroup: &Cgroup, stdin: bool) -> Result<(Self, i32, Stdio), Failure> {
        let mark = diagnosis::mark(&dir);
        create(dir.clone(), launch, cgroup, stdin).map_err(|error| {
            refusal::failure(
                attempt("create", launch.spec.process().as_ref()),
                error.as_ref(),
                &diagnosis::since(&dir, mark),
            )
        })
    }

    /// Lets the process run.
    pub fn start(&mut self) -> Result<(), Failure> {
        let mark = diagnosis::mark(&self.dir);
        let started = self.container.start();
        started.map_err(|error| refusal::failure(attempt("start", None), &error, &diagnosis::since(&self.dir, mark)))
    }

    /// Runs one more process in the container, whose control group may be reached by another path afterwards.
    pub fn exec(&mut self, exec: &ExecLaunch, cgroup: &mut Cgroup) -> Result<(i32, Stdio), Failure> {
        let mark = diagnosis::mark(&self.dir);
        let made = self.open_entrances(cgroup).map_err(Into::into).and_then(|()| self.try_exec(exec, cgroup));
        made.map_err(|error| {
            refusal::failure(attempt("exec", Some(&exec.process)), error.as_ref(), &diagnosis::since(&self.dir, mark))
        })
    }

    fn open_entrances(&mut self, cgroup: &mut Cgroup) -> io::Result<()> {
        if self.entrances.is_none()
            && let Some(entrances) = cgroup.entrances()?
        {
            let launch = Launch::read(&self.dir)?;
            self.entrances = Some(Rc::new(entrances));
            // Those that are left are joined twice, which is only slow.
            let hidden = hide::hierarchies(&self.dir);
            *cgroup = launch.cgroup()?;
            if let Err(error) = hidden {
                eprintln!("processes join the container slowly: {error}");
            }
        }
        Ok(())
    }

    fn try_exec(&self, exec: &ExecLaunch, cgroup: &Cgroup) -> Result<(i32, Stdio), Box<dyn Error>> {
        let (process, capabilities) = without_capabilities(&exec.process);
        let path = self.dir.join("process.json");
        fs::write(&path, serde_json::to_vec(&process)?)?;
        let seccomp = self.seccomp.clone().filter(|_| !exec.unconfined);
        let init = self.container.pid().and_then(|pid| u32::try_from(pid.as_raw()).ok());
        let group = init.and_then(|pid| cgroup.beside(pid)).map(|below| below.to_string_lossy().into_owned());
        let builder = ContainerBuilder::new(self.id.clone(), SyscallType::default())
            .with_root_path(self.dir.join("oci"))?
            .with_executor(Entry { entrances: self.entrances.clone(), capabilities, seccomp, propagation: Vec::new() });
        if exec.process.terminal() == Some(true) {
            let console = ConsoleSocket::bind(&self.dir)?;
            let builder = builder.with_console_socket(Some(console.path()));
            let pid = builder.as_tenant().with_detach(true).with_process(Some(path)).with_sub_cgroup(group).build()?;
            Ok((pid.as_raw(), console.receive()?))
        } else {
            let (stdio, ends) = pipes(exec.stdin)?;
            let builder = builder.with_stdin(ends.stdin).with_stdout(ends.stdout).with_stderr(ends.stderr);
            let pid = builder.as_tenant().with_detach(true).with_process(Some(path)).with_sub_cgroup(group).build()?;
            Ok((pid.as_raw(), stdio))
        }
    }
}

fn create(
    dir: PathBuf,
    launch: &Launch,
    cgroup: &Cgroup,
    stdin: bool,
) -> Result<(BuiltIn, i32, Stdio), Box<dyn Error>> {
    let mut spec = launch.spec.clone();
    let process = spec.process().clone().unwrap_or_default();
    let terminal = process.terminal() == Some(true);
    let (process, capabilities) = without_capabilities(&process);
    spec.set_process(Some(process));
    let profile = launch.spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let seccomp = profile.map(seccomp::compile).transpose()?.map(Rc::new);
    let sealed = sealed_cgroups(&spec);
    if let Some(linux) = spec.linux_mut() {
        linux.set_seccomp(None);
        let read_only = linux.readonly_paths().iter().flatten().cloned().chain(sealed).collect();
        linux.set_readonly_paths(Some(read_only));
    }
    let own = own_limits(&mut spec, cgroup);
    device::bind_elsewhere(&mut spec, &dir)?;
    fs::write(dir.join(file::CONFIG), serde_json::to_vec(&spec)?)?;

    let builder = ContainerBuilder::new(launch.id.clone(), SyscallType::default())
        .with_root_path(dir.join("oci"))?
        .with_executor(Entry {
            entrances: None,
            capabilities,
            seccomp: seccomp.clone(),
            propagation: propagation::of_mounts(&spec),
        });
    let (container, stdio) = if terminal {
        let console = ConsoleSocket::bind(&dir)?;
        let builder = builder.with_console_socket(Some(console.path()));
        let container = builder.as_init(&dir).with_systemd(false).build()?;
        (container, console.receive()?)
    } else {
        let (stdio, ends) = pipes(stdin)?;
        let builder = builder.with_stdin(ends.stdin).with_stdout(ends.stdout).with_stderr(ends.stderr);
        (builder.as_init(&dir).with_systemd(false).build()?, stdio)
    };
    // Nothing of the container runs yet.
    own.set(cgroup)?;
    let pid = container.pid().ok_or("libcontainer reports no process")?.as_raw();
    let made = BuiltIn { dir, id: launch.id.clone(), container, entrances: None, seccomp };
    Ok((made, pid, stdio))
}

/// Limits of control groups of version 2 that libcontainer does not set, or wrongly.
struct OwnLimits {
    /// It wants a C library for these.
    devices: Vec<LinuxDeviceCgroup>,
    /// It computes with too few bits.
    block_weight: Option<u16>,
}

/// Takes them out of the specification. With version 1 there are none.
fn own_limits(spec: &mut Spec, cgroup: &Cgroup) -> OwnLimits {
    let mut own = OwnLimits { devices: Vec::new(), block_weight: None };
    let resources = spec.linux_mut().as_mut().and_then(|linux| linux.resources_mut().as_mut());
    let (Cgroup::V2(_), Some(resources)) = (cgroup, resources) else { return own };
    own.devices = resources.devices().clone().unwrap_or_default();
    if let Some(block_io) = resources.block_io_mut() {
        own.block_weight = block_io.weight();
        block_io.set_weight(None);
    }
    own
}

impl OwnLimits {
    fn set(self, cgroup: &Cgroup) -> Result<(), Box<dyn Error>> {
        if let Some(weight) = self.block_weight {
            cgroup.set_block_weight(weight)?;
        }
        Ok(cgroup.restrict_devices(&self.devices)?)
    }
}

/// libcontainer leaves the trees of cgroup v1 writable even when their mount is asked to be read-only.
fn sealed_cgroups(spec: &Spec) -> Vec<String> {
    const ROOT: &str = "/sys/fs/cgroup";
    let read_only = |mount: &Mount| mount.options().iter().flatten().any(|option| option == "ro");
    let asked = spec.mounts().iter().flatten().any(|mount| mount.destination().starts_with(ROOT) && read_only(mount));
    if !asked || Path::new(ROOT).join("cgroup.controllers").exists() {
        return Vec::new();
    }
    let trees =
        fs::read_dir(ROOT).into_iter().flatten().filter_map(|tree| Some(tree.ok()?.path().to_str()?.to_owned()));
    std::iter::once(ROOT.to_owned()).chain(trees).collect()
}

/// See [`Entry`] for why libcontainer must not see them.
fn without_capabilities(process: &Process) -> (Process, Option<oci_spec::runtime::LinuxCapabilities>) {
    let mut process = process.clone();
    let capabilities = process.capabilities().clone();
    process.set_capabilities(None);
    (process, capabilities)
}

fn attempt<'a>(verb: &'a str, process: Option<&'a Process>) -> refusal::Attempt<'a> {
    refusal::Attempt { verb, cwd: process.and_then(|process| process.cwd().to_str()).unwrap_or("/") }
}
