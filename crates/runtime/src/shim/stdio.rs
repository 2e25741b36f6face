//! The standard streams of a process: pipes, or a terminal that the OCI runtime opens inside the container and hands
//! over by a socket.

use std::{
    fs::{self, File},
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    pipe::{PipeFlags, pipe_with},
};

use crate::shim::protocol::Stream;

/// The shim's ends of a process's standard streams; none of them blocks.
#[derive(Debug)]
pub struct Stdio {
    /// Where input is written; none when the process reads `/dev/null`. With a terminal this is its master.
    pub stdin: Option<OwnedFd>,
    /// Where output is read. With a terminal its master, as standard output.
    pub outputs: Vec<(Stream, OwnedFd)>,
    /// The streams are a terminal.
    pub terminal: bool,
}

/// The process's ends of pipes.
#[derive(Debug)]
pub struct ProcessEnds {
    /// File descriptor 0.
    pub stdin: OwnedFd,
    /// File descriptor 1.
    pub stdout: OwnedFd,
    /// File descriptor 2.
    pub stderr: OwnedFd,
}

/// Makes three pipes; without `stdin` the process reads `/dev/null`.
pub fn pipes(stdin: bool) -> io::Result<(Stdio, ProcessEnds)> {
    let (stdout_read, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr_read, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stdin, stdin_write) = if stdin {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        (read, Some(write))
    } else {
        (File::open("/dev/null")?.into(), None)
    };
    for fd in [Some(&stdout_read), Some(&stderr_read), stdin_write.as_ref()].into_iter().flatten() {
        set_nonblocking(fd)?;
    }
    let outputs = vec![(Stream::Stdout, stdout_read), (Stream::Stderr, stderr_read)];
    Ok((Stdio { stdin: stdin_write, outputs, terminal: false }, ProcessEnds { stdin, stdout, stderr }))
}

/// A socket on which an OCI runtime delivers the master of the terminal it opened (runc's `--console-socket`).
#[derive(Debug)]
pub struct ConsoleSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ConsoleSocket {
    /// Listens in `dir`.
    pub fn bind(dir: &Path) -> io::Result<Self> {
        let path = dir.join("console");
        let _ = fs::remove_file(&path);
        Ok(Self { listener: crate::socket::bind(&path)?, path })
    }

    /// The path to tell the runtime.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the master. To be called after the runtime has returned, when it has been sent already.
    pub fn receive(&self) -> io::Result<Stdio> {
        self.listener.set_nonblocking(true)?;
        let (connection, _) = self.listener.accept()?;
        let mut byte = [0u8; 64];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        recvmsg(&connection, &mut [io::IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let master = ancillary
            .drain()
            .find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
                _ => None,
            })
            .ok_or_else(|| io::Error::other("the OCI runtime sent no terminal"))?;
        set_nonblocking(&master)?;
        let output = master.try_clone()?;
        Ok(Stdio { stdin: Some(master), outputs: vec![(Stream::Stdout, output)], terminal: true })
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = fcntl_getfl(&fd)?;
    Ok(fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?)
}
