//! Datagrams together with the local address they came to or shall come from (ip(7) IP_PKTINFO, ipv6(7) IPV6_PKTINFO).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{self, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg, sendmsg,
    setsockopt, sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A socket that knows the local address of each datagram.
#[derive(Debug)]
pub struct Socket {
    socket: UdpSocket,
    port: u16,
}

/// One received datagram; its bytes are in the buffer.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    pub length: usize,
    pub client: SocketAddr,
    pub local: Local,
}

/// Where a datagram arrived, and so where its reply must come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    pub address: SocketAddr,
    /// The link, for addresses that mean something on one link only; else 0.
    link: u32,
}

impl Socket {
    /// Asks the kernel for local addresses. Must be called on a runtime.
    pub fn new(socket: net::UdpSocket) -> io::Result<Self> {
        let bound = socket.local_addr()?;
        match bound {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
        }
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, port: bound.port() })
    }

    /// Waits for a datagram.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Takes a datagram if there is one.
    pub fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.socket.try_io(Interest::READABLE, || {
            let mut control = nix::cmsg_space!(libc::in6_pktinfo);
            let mut parts = [IoSliceMut::new(buffer)];
            let fd = self.socket.as_raw_fd();
            let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), MsgFlags::empty())?;
            let client = message.address.as_ref().and_then(socket_address).ok_or(io::ErrorKind::InvalidData)?;
            let local = message.cmsgs()?.find_map(|control| self.local(&control)).ok_or(io::ErrorKind::InvalidData)?;
            Ok(Received { length: message.bytes, client, local })
        })
    }

    /// Sends a datagram from a local address, if there is room.
    pub fn try_send(&self, datagram: &[u8], client: SocketAddr, local: Local) -> io::Result<()> {
        self.socket.try_io(Interest::WRITABLE, || {
            let (parts, fd, flags) = ([IoSlice::new(datagram)], self.socket.as_raw_fd(), MsgFlags::empty());
            match (local.address.ip(), client) {
                (IpAddr::V4(from), SocketAddr::V4(client)) => {
                    let info = ipv4_info(from);
                    sendmsg(
                        fd,
                        &parts,
                        &[ControlMessage::Ipv4PacketInfo(&info)],
                        flags,
                        Some(&SockaddrIn::from(client)),
                    )
                }
                (IpAddr::V6(from), SocketAddr::V6(client)) => {
                    let info = libc::in6_pktinfo { ipi6_addr: ipv6_raw(from), ipi6_ifindex: local.link };
                    sendmsg(
                        fd,
                        &parts,
                        &[ControlMessage::Ipv6PacketInfo(&info)],
                        flags,
                        Some(&SockaddrIn6::from(client)),
                    )
                }
                _ => return Err(io::ErrorKind::InvalidInput.into()),
            }?;
            Ok(())
        })
    }

    fn local(&self, control: &ControlMessageOwned) -> Option<Local> {
        let (ip, link) = match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                (IpAddr::from(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr))), 0)
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                (ip.into(), if ip.is_unicast_link_local() { info.ipi6_ifindex } else { 0 })
            }
            _ => return None,
        };
        Some(Local { address: SocketAddr::new(ip, self.port), link })
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
}

fn ipv4_info(from: Ipv4Addr) -> libc::in_pktinfo {
    let from = libc::in_addr { s_addr: u32::from(from).to_be() };
    libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: from, ipi_addr: libc::in_addr { s_addr: 0 } }
}

fn ipv6_raw(address: Ipv6Addr) -> libc::in6_addr {
    libc::in6_addr { s6_addr: address.octets() }
}
