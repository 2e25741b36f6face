//! Process 1 of the processes that the containers of a sandbox share, where they do: a process namespace lives as long as its first
//! process (pid_namespaces(7)), so somebody has to be it, and the containers come and go. It waits for orphans and does nothing else.
//!
//! Whoever is in the namespace sees it, so it has nothing to give away: no capabilities, no root but an empty directory with this
//! program in it, read-only, and no namespaces but those of the sandbox. It lives until the sandbox is released, whatever becomes of the
//! daemon.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use caps::CapSet;
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sched::{CloneFlags, setns, unshare},
    sys::signal::{SigSet, Signal::SIGCHLD},
    unistd::pivot_root,
};
use rustix::{
    fs::CWD,
    mount::{
        MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind,
        mount_change, mount_remount, move_mount, open_tree, unmount,
    },
    process::{DumpableBehavior, Pid, Signal, WaitOptions, kill_process, set_dumpable_behavior, setsid, wait},
    stdio::{dup2_stderr, dup2_stdout, stdin},
    thread::set_no_new_privs,
};

use super::{ipc, is_namespace, uts};
use crate::shim::launch::ProcessName;

/// The first argument that makes the binary a reaper.
pub const VERB: &str = "reaper";
/// What it is told besides: to make the namespace, to give up all it has, to wait.
const MAKE: &str = "make";
const ENTER: &str = "enter";
const WAIT: &str = "wait";
/// The last of the standard streams.
const STDERR: i32 = 2;
/// What it says once it can do no harm.
const READY: &[u8] = b"ready";

/// The file of the process namespace in a sandbox's directory.
pub fn processes(dir: &Path) -> PathBuf {
    dir.join("pid")
}

/// Makes the process namespace that the containers of a sandbox share, unless it is there; `exe` is this binary, and `network` the file of
/// the sandbox's network namespace, if it has one of its own. What else they share has to be there.
pub fn keep(exe: &Path, dir: &Path, network: Option<&Path>) -> io::Result<()> {
    if is_namespace(&processes(dir)) && name(dir).is_ok_and(|reaper| reaper.lives()) {
        return Ok(());
    }
    release(dir)?;
    let mut command = Command::new(exe);
    command.args([VERB, MAKE]).arg(dir).args(network);
    let made = command.stdin(Stdio::null()).stdout(Stdio::null()).env_clear().current_dir("/").output()?;
    match made.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&made.stderr).trim().to_owned())),
    }
}

/// Ends the process namespace of a sandbox, and all processes in it.
pub fn release(dir: &Path) -> io::Result<()> {
    if let Ok(reaper) = name(dir)
        && reaper.lives()
        && let Some(pid) = i32::try_from(reaper.pid).ok().and_then(Pid::from_raw)
    {
        // It may be ending at this moment.
        let _ = kill_process(pid, Signal::KILL);
    }
    // Whatever is no mount, or is not there, is let go of already.
    let _ = unmount(processes(dir), UnmountFlags::DETACH);
    Ok(())
}

/// Runs one of the reaper's steps. `args` are those after [`VERB`].
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let words: Vec<&OsStr> = args.iter().map(OsString::as_os_str).collect();
    let done = match words.as_slice() {
        [step, dir, network @ ..] if *step == MAKE => make(Path::new(dir), network.first().map(Path::new)),
        [step, dir] if *step == ENTER => enter(Path::new(dir)),
        [step] if *step == WAIT => wait_for_orphans(),
        _ => Err(io::Error::other("this command is for linkspan's own use")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot make a process namespace: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the reaper in a namespace of its own, and keeps that in a file.
fn make(dir: &Path, network: Option<&Path>) -> io::Result<()> {
    setsid()?;
    close_on_exec()?;
    for (file, kind) in [(ipc(dir), CloneFlags::CLONE_NEWIPC), (uts(dir), CloneFlags::CLONE_NEWUTS)] {
        setns(File::open(file)?.as_fd(), kind)?;
    }
    if let Some(file) = network {
        setns(File::open(file)?.as_fd(), CloneFlags::CLONE_NEWNET)?;
    }
    // The next child is its first process.
    unshare(CloneFlags::CLONE_NEWPID)?;
    let mut command = Command::new("/proc/self/exe");
    command.args([VERB, ENTER]).arg(dir).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut said = Vec::new();
    child.stdout.take().map(|mut output| output.read_to_end(&mut said)).transpose()?;
    if said != READY {
        child.wait()?;
        return Err(io::Error::other("its first process has ended"));
    }
    fs::write(reaper(dir), serde_json::to_vec(&ProcessName::of(child.id())?)?)?;
    File::create(processes(dir))?;
    Ok(mount_bind(format!("/proc/{}/ns/pid", child.id()), processes(dir))?)
}

/// What files whoever started the daemon had left open are none of the reaper's.
fn close_on_exec() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_string_lossy().parse::<i32>().unwrap_or_default();
        if number > STDERR {
            // The directory itself is among them, and closed by then.
            let _ = fcntl(number, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        }
    }
    Ok(())
}

/// Leaves the host's files behind.
fn enter(dir: &Path) -> io::Result<()> {
    let root = dir.join("root");
    let program = root.join(VERB);
    // From another mount namespace it could not be bound any more.
    let exe = open_tree(CWD, "/proc/self/exe", OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    fs::create_dir_all(&root)?;
    mount("tmpfs", &root, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=755,size=4k")?;
    File::create(&program)?;
    move_mount(exe, "", CWD, &program, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    // Who reaches this program by /proc/1/exe must not be able to write to it.
    let read_only = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_remount(&program, read_only, c"")?;
    mount_remount(&root, read_only, c"")?;
    std::env::set_current_dir(&root)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")?;
    Err(Command::new(Path::new("/").join(VERB)).arg0("linkspan").args([VERB, WAIT]).env_clear().exec())
}

/// Gives up what is left to give up, says so, and waits for orphans for ever.
fn wait_for_orphans() -> io::Result<()> {
    let mut ends = SigSet::empty();
    ends.add(SIGCHLD);
    // Blocked, it waits to be asked for.
    ends.thread_set_mask()?;
    set_no_new_privs(true)?;
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).map_err(io::Error::other)?;
    }
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    io::stdout().write_all(READY)?;
    io::stdout().flush()?;
    // Nobody listens any more: what it has left is the null device.
    dup2_stdout(stdin())?;
    dup2_stderr(stdin())?;
    loop {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        ends.wait()?;
    }
}

fn reaper(dir: &Path) -> PathBuf {
    dir.join("reaper.json")
}

fn name(dir: &Path) -> io::Result<ProcessName> {
    Ok(serde_json::from_slice(&fs::read(reaper(dir))?)?)
}
