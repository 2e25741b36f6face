//! Signals to processes that are held, so that none can hit another: pidfd_send_signal(2).

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
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
