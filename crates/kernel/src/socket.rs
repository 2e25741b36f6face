//! Work inside another network namespace, and what the kernel knows of a socket. Only threads that do nothing else ever change their
//! namespace; a socket made there stays there.

use std::{
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    panic::resume_unwind,
    path::Path,
    sync::{Arc, OnceLock, mpsc},
    thread,
};

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// Where the DNS server of a sandbox listens, inside it. Port 53 of 127.0.0.11 is led here by a rule, so that the containers' own port
/// 53 stays free.
pub const DNS_ADDRESS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 11), 41053);

/// Runs `f` on a thread inside the network namespace that the file at `path` stands for, and gives its value.
///
/// Fails with ENOENT when there is no such namespace and with EPERM without CAP_SYS_ADMIN.
pub fn in_namespace<T: Send>(path: &Path, f: impl FnOnce() -> T + Send) -> io::Result<T> {
    let file = File::open(path)?;
    in_namespace_fd(&file, f)
}

/// The sockets of a sandbox's DNS server at [`DNS_ADDRESS`], inside the namespace at `path`, for UDP and TCP.
pub fn dns_sockets(path: &Path) -> io::Result<(UdpSocket, TcpListener)> {
    in_namespace(path, || Ok((UdpSocket::bind(DNS_ADDRESS)?, TcpListener::bind(DNS_ADDRESS)?)))?
}

/// How much of what was sent through a unix socket its peer has not read yet: 0 or more, in the kernel's memory for it (unix(7), SIOCOUTQ).
pub fn unread_bytes(socket: impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as it is borrowed, and this request writes one int, which outlives the call.
    let code = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(usize::try_from(bytes).unwrap_or(0)) }
}

/// linux/sockios.h
const SIOCGSKNS: libc::Ioctl = 0x894C;

/// The network namespace that a socket is in. Needs CAP_NET_ADMIN there.
pub fn namespace_of(socket: impl AsFd) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is open for as long as it is borrowed, and this request takes no memory of ours.
    let fd = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCGSKNS) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes sockets inside other network namespaces, on one thread that begins with the first wish and does nothing else: a thread for
/// each socket would cost more than the socket.
#[derive(Debug, Default)]
pub struct SocketThread(OnceLock<mpsc::Sender<SocketWish>>);

/// A socket that is wanted.
pub struct SocketWish {
    /// The network namespace.
    pub namespace: Arc<OwnedFd>,
    /// IPv4 or IPv6.
    pub family: AddressFamily,
    /// Datagrams or a stream.
    pub kind: SocketType,
    /// Is given the socket, which is not bound and does not block. It is called on the thread that makes all sockets: it must be short.
    pub done: Box<dyn FnOnce(io::Result<OwnedFd>) + Send>,
}

impl SocketThread {
    /// Has a socket made.
    pub fn make(&self, wish: SocketWish) {
        if let Err(mpsc::SendError(wish)) = self.0.get_or_init(begin).send(wish) {
            (wish.done)(Err(io::Error::other("the thread that makes sockets in namespaces could not be started")));
        }
    }
}

fn begin() -> mpsc::Sender<SocketWish> {
    let (sender, receiver) = mpsc::channel::<SocketWish>();
    let work = move || {
        for SocketWish { namespace, family, kind, done } in receiver {
            let moved = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            done(moved.and_then(|()| socket_with(family, kind, flags, None)).map_err(io::Error::from));
        }
    };
    // Without a thread the receiver is gone, which whoever sends is told.
    drop(thread::Builder::new().name("netns-sockets".into()).spawn(work));
    sender
}

/// As [`in_namespace`], for a namespace that is open.
pub(crate) fn in_namespace_fd<T: Send>(namespace: impl AsFd + Sync, f: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_throwaway_thread(|| {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(f())
    })?
}

/// Runs `f` on a thread in a network and a mount namespace of its own, which go when it and its threads end. For probes and tests: what
/// they do to links, rules and mounts touches nothing else. Needs CAP_SYS_ADMIN.
pub fn in_private_namespaces<T: Send>(f: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_throwaway_thread(|| {
        // SAFETY: only the namespaces and the working directory of this thread are replaced; no file table or memory is unshared.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        Ok(f())
    })?
}

/// Runs `f` on a thread inside a network namespace that nothing else is in.
pub(crate) fn in_new_namespace<T: Send>(f: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_throwaway_thread(|| {
        // SAFETY: only the network namespace of this thread is replaced; no file table or memory is unshared.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
        Ok(f())
    })?
}

/// Runs `f` on a thread of its own, whose panic becomes the caller's.
pub(crate) fn on_throwaway_thread<T: Send>(f: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".into()).spawn_scoped(scope, f)?;
        thread.join().map_or_else(|panic| resume_unwind(panic), Ok)
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    use super::unread_bytes;

    #[test]
    fn what_a_peer_has_not_read() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        assert_eq!(unread_bytes(&here).unwrap(), 0);
        here.write_all(b"hello").unwrap();
        assert!(unread_bytes(&here).unwrap() > 0);
        there.read_exact(&mut [0; 5]).unwrap();
        assert_eq!(unread_bytes(&here).unwrap(), 0);
    }
}
