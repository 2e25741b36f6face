//! Signals to processes that are held, so that none can hit another: pidfd_send_signal(2). And programs that are to be hit by all,
//! although who starts them blocks some.

use std::{
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command},
    ptr,
};

/// Sends a signal by its number, those of real-time included (32 to 64), which the usual wrappers leave out. EINVAL: there is none
/// with this number; ESRCH: the process was waited for.
pub fn signal(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let info = ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open for as long as it is borrowed, and without information the kernel makes what kill(2) makes.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, info, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Starts a program with no signal blocked, whatever this thread blocks (execve(2) keeps the mask).
pub fn spawn_unblocked(command: &mut Command) -> io::Result<Child> {
    let unblock = || {
        let mut none = MaybeUninit::uninit();
        // SAFETY: the first call fills in the set that the second reads, and only then.
        let errno = unsafe {
            libc::sigemptyset(none.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut())
        };
        if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
    };
    // SAFETY: between fork and exec it allocates nothing and takes no lock: both calls are among signal-safety(7)'s.
    unsafe { command.pre_exec(unblock) }.spawn()
}

#[cfg(test)]
mod tests {
    use std::{
        os::{
            fd::{AsFd, FromRawFd, OwnedFd},
            unix::process::ExitStatusExt,
        },
        process::Command,
    };

    use super::*;

    #[test]
    fn nothing_is_blocked_in_what_is_spawned() {
        let blocked = std::thread::spawn(|| {
            let mut all = MaybeUninit::uninit();
            // SAFETY: the first call fills in the set that the second reads. The thread ends soon.
            unsafe {
                libc::sigfillset(all.as_mut_ptr());
                libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), ptr::null_mut());
            }
            let mut grep = Command::new("grep");
            let child =
                spawn_unblocked(grep.args(["SigBlk", "/proc/self/status"]).stdout(std::process::Stdio::piped()));
            child.unwrap().wait_with_output().unwrap().stdout
        });
        assert_eq!(String::from_utf8(blocked.join().unwrap()).unwrap().trim(), format!("SigBlk:\t{:016}", 0));
    }

    #[test]
    fn every_signal_arrives() {
        for number in [15, 34, 37, 64] {
            let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
            let id = libc::pid_t::try_from(child.id()).unwrap();
            // SAFETY: the descriptor is new and nobody else's.
            let held = unsafe { OwnedFd::from_raw_fd(libc::syscall(libc::SYS_pidfd_open, id, 0).try_into().unwrap()) };
            assert_eq!(signal(held.as_fd(), 65).unwrap_err().raw_os_error(), Some(libc::EINVAL));
            signal(held.as_fd(), number).unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(number));
            assert_eq!(signal(held.as_fd(), number).unwrap_err().raw_os_error(), Some(libc::ESRCH));
        }
    }
}
