//! A blocking netlink socket. The kernel works a request off while it is being sent, so its answers are there when `send` returns.

use std::{
    cell::RefCell,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    thread::{self, JoinHandle},
    time::Duration,
};

use libc::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, getsockname,
    netlink::{self, SocketAddrNetlink},
    socket_with, sockopt,
};

use super::attr::attributes;
use crate::fault::Refusal;

const HEADER_LEN: usize = 16;
const DONE: u16 = libc::NLMSG_DONE as u16;
const ERROR: u16 = libc::NLMSG_ERROR as u16;
/// Room for one transaction of a few hundred thousand set elements.
const SEND_BUFFER_BYTES: usize = 64 << 20;
/// Room for an error for each message of a large transaction.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// The kernel hands out at most 32 KiB of a dump at a time (`netlink_dump`).
const READ_BYTES: usize = 64 << 10;
/// A dump that is cut off by changes is begun again this often.
const DUMP_ATTEMPTS: usize = 20;
/// The kernel answers at once; this only bounds the wait for a bug.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Which part of the kernel is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// rtnetlink(7)
    Route,
    /// nf_tables and conntrack
    Netfilter,
    /// sock_diag(7)
    SockDiag,
}

/// A message without its header.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// `nlmsg_type`
    pub kind: u16,
    /// `nlmsg_flags` besides NLM_F_REQUEST
    pub flags: u16,
    /// What follows the header.
    pub body: Vec<u8>,
}

impl Request {
    /// A message that is acknowledged.
    pub fn new(kind: u16, flags: i32, body: Vec<u8>) -> Self {
        Self { kind, flags: flags as u16, body }
    }
}

/// A message from the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub portid: u32,
    pub body: &'a [u8],
}

/// A socket, forever in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    portid: u32,
    sequence: u32,
}

impl Socket {
    /// A socket in the calling thread's network namespace.
    pub fn open(protocol: Protocol) -> io::Result<Self> {
        let family = match protocol {
            Protocol::Route => None,
            Protocol::Netfilter => Some(netlink::NETFILTER),
            Protocol::SockDiag => Some(netlink::SOCK_DIAG),
        };
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, family)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        let portid = SocketAddrNetlink::try_from(getsockname(&fd)?)?.pid();
        // Without CAP_NET_ADMIN in the first user namespace the buffers stay within net.core.{w,r}mem_max.
        if sockopt::set_socket_send_buffer_size_force(&fd, SEND_BUFFER_BYTES).is_err() {
            sockopt::set_socket_send_buffer_size(&fd, SEND_BUFFER_BYTES)?;
        }
        if sockopt::set_socket_recv_buffer_size_force(&fd, RECEIVE_BUFFER_BYTES).is_err() {
            sockopt::set_socket_recv_buffer_size(&fd, RECEIVE_BUFFER_BYTES)?;
        }
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(ANSWER_TIMEOUT))?;
        for option in [libc::NETLINK_CAP_ACK, libc::NETLINK_EXT_ACK] {
            set_option(&fd, option, 1)?;
        }
        if protocol == Protocol::Route {
            // Lets the kernel filter routes by protocol. Absent before Linux 4.20, where the filter below is ours alone.
            let _ = set_option(&fd, libc::NETLINK_GET_STRICT_CHK, 1);
        }
        Ok(Self { fd, portid, sequence: 0 })
    }

    /// A socket whose first request is answered with this datagram and no other; the second is the kernel's end.
    #[cfg(any(test, fuzzing))]
    pub fn answered(datagram: &[u8]) -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (fd, kernel) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        rustix::net::send(&kernel, datagram, SendFlags::empty())?;
        Ok((Self { fd, portid: 0, sequence: 0 }, kernel))
    }

    /// The address the kernel knows this socket by; notifications of changes it made carry it.
    pub fn portid(&self) -> u32 {
        self.portid
    }

    /// Subscribes to a multicast group.
    pub fn join(&self, group: u32) -> io::Result<()> {
        set_option(&self.fd, libc::NETLINK_ADD_MEMBERSHIP, group)
    }

    /// Unsubscribes from a multicast group.
    pub fn leave(&self, group: u32) -> io::Result<()> {
        set_option(&self.fd, libc::NETLINK_DROP_MEMBERSHIP, group)
    }

    /// Sends one message and waits for its acknowledgement.
    pub fn ask(&mut self, request: Request) -> Result<(), Refusal> {
        let request = Request { flags: request.flags | NLM_F_ACK as u16, ..request };
        match self.exchange(&[&request], |_| ())?.into_iter().next() {
            Some((_, refusal)) => Err(refusal),
            None => Ok(()),
        }
    }

    /// Sends messages that are not answered. The kernel has worked them off when this returns.
    pub fn tell(&mut self, requests: &[&Request]) -> io::Result<()> {
        let (_, bytes) = self.encode(requests);
        send(&self.fd, &bytes)
    }

    /// Sends one message from a thread of its own, which ends when the kernel has worked it off; gives the message's number with it.
    pub fn ask_elsewhere(&mut self, request: Request) -> io::Result<(u32, JoinHandle<()>)> {
        let request = Request { flags: request.flags | NLM_F_ACK as u16, ..request };
        let (number, bytes) = self.encode(&[&request]);
        let fd = self.fd.try_clone()?;
        // Should it not be sent, whoever waits for the answer finds that none comes.
        let thread = thread::Builder::new().name("netlink".into()).spawn(move || drop(send(&fd, &bytes)))?;
        Ok((number, thread))
    }

    /// Gives what comes to `enough` until that is content, or the message of this number is acknowledged.
    pub fn answer(&mut self, number: u32, mut enough: impl FnMut(Message<'_>) -> bool) -> Result<(), Refusal> {
        loop {
            let Some(read) = self.receive(RecvFlags::empty())? else { return Err(no_answer()) };
            for message in Messages(&read.0) {
                if message.kind == ERROR && message.sequence == number {
                    return refusal(message).map_or(Ok(()), Err);
                }
                if enough(message) {
                    return Ok(());
                }
            }
        }
    }

    /// Sends messages in one go, and gives the refusals by the index of the message. The last message must ask for an
    /// acknowledgement. What else the kernel answers goes to `each`.
    pub fn exchange(
        &mut self,
        requests: &[&Request],
        mut each: impl FnMut(Message<'_>),
    ) -> Result<Vec<(usize, Refusal)>, Refusal> {
        let (first, bytes) = self.encode(requests);
        send(&self.fd, &bytes)?;
        let mut refusals = Vec::new();
        let mut answered = false;
        while let Some(read) = self.receive(RecvFlags::DONTWAIT)? {
            for message in Messages(&read.0) {
                let index = message.sequence.wrapping_sub(first) as usize;
                if index >= requests.len() {
                    continue;
                }
                if message.kind != ERROR {
                    each(message);
                    continue;
                }
                answered = true;
                if let Some(refusal) = refusal(message) {
                    refusals.push((index, refusal));
                }
            }
            if answered && requests.len() == 1 {
                break;
            }
        }
        if answered { Ok(refusals) } else { Err(no_answer()) }
    }

    /// Reads a whole list. A list that changes while it is read is read again, after `begin`.
    pub fn dump(
        &mut self,
        kind: u16,
        body: &[u8],
        mut begin: impl FnMut(),
        mut each: impl FnMut(Message<'_>),
    ) -> Result<(), Refusal> {
        for _ in 0..DUMP_ATTEMPTS {
            begin();
            let (first, bytes) = self.encode(&[&Request::new(kind, NLM_F_DUMP, body.to_vec())]);
            send(&self.fd, &bytes)?;
            match self.read_dump(first, &mut each) {
                Ok(Whole::Yes) => return Ok(()),
                Ok(Whole::Interrupted) => {}
                Err(refusal) if refusal.errno == libc::EINTR => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Refusal::new(libc::EAGAIN).because("the list changed each time it was read"))
    }

    /// Reads whatever comes next, waiting no longer than the socket's timeout; `None` when nothing came.
    pub fn read(&self, each: &mut dyn FnMut(Message<'_>)) -> Result<bool, Refusal> {
        let Some(read) = self.receive(RecvFlags::DONTWAIT)? else { return Ok(false) };
        Messages(&read.0).for_each(each);
        Ok(true)
    }

    fn read_dump(&mut self, sequence: u32, each: &mut impl FnMut(Message<'_>)) -> Result<Whole, Refusal> {
        let mut whole = Whole::Yes;
        loop {
            let Some(read) = self.receive(RecvFlags::empty())? else { return Err(no_answer()) };
            for message in Messages(&read.0).filter(|m| m.sequence == sequence) {
                if i32::from(message.flags) & libc::NLM_F_DUMP_INTR != 0 {
                    whole = Whole::Interrupted;
                }
                match message.kind {
                    DONE | ERROR => match refusal(message) {
                        Some(refusal) => return Err(refusal),
                        None => return Ok(whole),
                    },
                    _ => each(message),
                }
            }
        }
    }

    /// The bytes of the messages, and the number of the first.
    fn encode(&mut self, requests: &[&Request]) -> (u32, Vec<u8>) {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(requests.iter().map(|r| HEADER_LEN + r.body.len() + 3).sum());
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            let len = (HEADER_LEN + request.body.len()) as u32;
            bytes.extend_from_slice(&len.to_ne_bytes());
            bytes.extend_from_slice(&request.kind.to_ne_bytes());
            bytes.extend_from_slice(&(request.flags | NLM_F_REQUEST as u16).to_ne_bytes());
            bytes.extend_from_slice(&self.sequence.to_ne_bytes());
            bytes.extend_from_slice(&0_u32.to_ne_bytes());
            bytes.extend_from_slice(&request.body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        (first, bytes)
    }

    fn receive(&self, flags: RecvFlags) -> Result<Option<Read>, Refusal> {
        let mut read = Read(BUFFER.take());
        read.0.reserve(READ_BYTES);
        loop {
            match rustix::net::recv(&self.fd, rustix::buffer::spare_capacity(&mut read.0), flags) {
                Ok(_) => return Ok(Some(read)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

thread_local! {
    /// What the next answer is read into: to map and unmap that much memory for each costs more than the answer.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What was read. Its memory is used again.
struct Read(Vec<u8>);

impl Drop for Read {
    fn drop(&mut self) {
        self.0.clear();
        BUFFER.replace(std::mem::take(&mut self.0));
    }
}

fn send(fd: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(|| rustix::net::send(fd, bytes, SendFlags::empty())).map(drop)?)
}

fn no_answer() -> Refusal {
    Refusal::new(libc::EIO).because("the kernel did not answer")
}

enum Whole {
    Yes,
    Interrupted,
}

struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let word = |at: usize| Some(u32::from_ne_bytes(self.0.get(at..at + 4)?.try_into().ok()?));
        let half = |at: usize| Some(u16::from_ne_bytes(self.0.get(at..at + 2)?.try_into().ok()?));
        let len = word(0)? as usize;
        let message = Message {
            kind: half(4)?,
            flags: half(6)?,
            sequence: word(8)?,
            portid: word(12)?,
            body: self.0.get(HEADER_LEN..len)?,
        };
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

/// What a message of type NLMSG_ERROR or NLMSG_DONE refuses, with the text of the extended acknowledgement.
fn refusal(message: Message<'_>) -> Option<Refusal> {
    const ERROR_TEXT: u16 = 1; // NLMSGERR_ATTR_MSG
    let errno = i32::from_ne_bytes(message.body.get(..4)?.try_into().ok()?).saturating_neg();
    if errno == 0 {
        return None;
    }
    let flags = i32::from(message.flags);
    let quoted = match message.body.get(4..8) {
        _ if message.kind == DONE => 4,
        Some(len) if flags & libc::NLM_F_CAPPED == 0 => 4 + u32::from_ne_bytes(len.try_into().ok()?) as usize,
        _ => 4 + HEADER_LEN,
    };
    let text = if flags & libc::NLM_F_ACK_TLVS == 0 {
        None
    } else {
        attributes(message.body.get(quoted.next_multiple_of(4)..).unwrap_or_default()).text(ERROR_TEXT)
    };
    Some(Refusal { text, ..Refusal::new(errno) })
}

fn set_option(fd: &OwnedFd, option: i32, value: u32) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_NETLINK, option, (&raw const value).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_replies_end_the_reading() {
        for bad in
            [vec![], vec![1; 15], vec![0; 16], vec![255; 64], vec![17, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]
        {
            assert_eq!(Messages(&bad).count(), 0, "{bad:?}");
        }
    }

    #[test]
    fn reads_the_text_of_an_extended_acknowledgement() {
        let mut body = (-libc::EINVAL).to_ne_bytes().to_vec();
        body.extend_from_slice(&[0; 16]);
        let mut text = crate::netlink::Writer::default();
        text.text(1, "no such thing");
        body.extend_from_slice(&text.0);
        let flags = (libc::NLM_F_CAPPED | libc::NLM_F_ACK_TLVS) as u16;
        let message = Message { kind: ERROR, flags, sequence: 1, portid: 0, body: &body };
        let refusal = refusal(message).expect("a refusal");
        assert_eq!((refusal.errno, refusal.text.as_deref()), (libc::EINVAL, Some("no such thing")));
    }

    #[test]
    fn a_list_that_changes_while_it_is_read_is_read_again() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return;
        }
        let ip = |words: &str| {
            assert!(std::process::Command::new("ip").args(words.split(' ')).status().unwrap().success(), "ip {words}");
        };
        crate::socket::in_private_namespaces(|| {
            let mut socket = Socket::open(Protocol::Route).unwrap();
            let ask = [0; 16];
            let mut usual = 0;
            socket.dump(libc::RTM_GETLINK, &ask, || {}, |_| usual += 1).unwrap();
            // More than fits into one answer, so that some is yet to be listed when the first links are read.
            (0..60).for_each(|n| ip(&format!("link add b{n} type bridge")));
            let (begun, links) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
            let mut changed = false;
            let begin = || {
                begun.set(begun.get() + 1);
                links.set(0);
            };
            let each = |_: Message<'_>| {
                links.set(links.get() + 1);
                if !std::mem::replace(&mut changed, true) {
                    ip("link add late type bridge");
                }
            };
            socket.dump(libc::RTM_GETLINK, &ask, begin, each).unwrap();
            assert_eq!((begun.get(), links.get()), (2, usual + 61));
        })
        .unwrap();
    }
}
