//! What the host has besides ours, for choices made above: routes that address pools must not overlap, the MTU and link of the way out,
//! ports that something listens on.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs::{self, File},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::Path,
};

use ipnet::IpNet;
use netlink_packet_route::{
    address::AddressMessage,
    route::{RouteMessage, RouteProtocol},
};
use netstate::{Fault, netns::NetnsName, route::MAIN};

use crate::{
    fault::Refusal,
    linux::Linux,
    mark::PROTOCOL,
    netlink::{Protocol, Socket, link::LinkFacts, route},
    observe::{self, route::RouteFacts},
};

/// The host's namespace, to be asked. It holds sockets of its own and may be used on any thread.
#[derive(Debug)]
pub struct Facts {
    route: Socket,
    diag: Socket,
    /// The file of a setting shows that of the namespace it was opened in.
    port_range: Option<File>,
}

/// A unicast route of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRoute {
    /// Destination; a default route has prefix length 0.
    pub destination: IpNet,
    /// Routing table number.
    pub table: u32,
    /// Priority: the lower wins.
    pub metric: u32,
    /// The link it leaves by; none for one with several next hops.
    pub device: Option<String>,
    /// The next hop.
    pub via: Option<IpAddr>,
    /// The route's own MTU.
    pub mtu: Option<u32>,
    /// Whether linkspan made it, or the kernel for a link of linkspan's.
    pub ours: bool,
}

/// An address of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAddr {
    /// The link that has it.
    pub link: String,
    /// The address with its prefix length.
    pub address: IpNet,
    /// Whether the link is linkspan's.
    pub ours: bool,
}

/// The way out of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// The link.
    pub device: String,
    /// The next hop.
    pub via: Option<IpAddr>,
    /// The route's MTU, or else the link's, in bytes.
    pub mtu: u32,
}

/// A socket that takes connections or datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it is bound; an unspecified address stands for all.
    pub address: SocketAddr,
    /// Who has it, where `/proc` tells.
    pub process: Option<Process>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its name (`/proc/PID/comm`).
    pub name: String,
}

impl Linux {
    /// The host's namespace, to be asked.
    pub fn facts(&self) -> Result<Facts, Fault> {
        let open = || {
            let port_range = File::open("/proc/sys/net/ipv4/ip_local_port_range").ok();
            Ok(Facts { route: Socket::open(Protocol::Route)?, diag: Socket::open(Protocol::SockDiag)?, port_range })
        };
        let facts = self.inside(&NetnsName::Host, open).and_then(|opened: Result<Facts, Refusal>| opened);
        facts.map_err(|refusal| refusal.fault("ask for the host's network"))
    }
}

/// The kernel's own (ip(7)).
const DEFAULT_PORT_RANGE: RangeInclusive<u16> = 32768..=60999;

impl Facts {
    /// The unicast routes of all tables, without those of local addresses, and without those to destinations that are `known`: nothing
    /// is asked about their links.
    pub fn routes(&mut self, known: &BTreeSet<IpNet>) -> Result<Vec<HostRoute>, Fault> {
        self.list_routes(known).map_err(|refusal| refusal.fault("list the host's routes"))
    }

    /// The addresses of all links.
    pub fn addresses(&mut self) -> Result<Vec<HostAddr>, Fault> {
        self.list_addresses().map_err(|refusal| refusal.fault("list the host's addresses"))
    }

    /// The default route of lowest metric among these, IPv4 before IPv6; none on a host without one.
    pub fn default_route(&mut self, routes: &[HostRoute]) -> Result<Option<DefaultRoute>, Fault> {
        self.find_default_route(routes).map_err(|refusal| refusal.fault("find the host's default route"))
    }

    /// The ports the host gives to sockets that ask for none (`net.ipv4.ip_local_port_range`).
    pub fn local_port_range(&self) -> RangeInclusive<u16> {
        let mut text = [0; 32];
        let read = self.port_range.as_ref().and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or_default();
        parse_port_range(&String::from_utf8_lossy(&text[..read])).unwrap_or(DEFAULT_PORT_RANGE)
    }

    /// The sockets that listen on one of these ports of TCP (6) or are bound to one of UDP (17), with their processes.
    pub fn listeners(&mut self, protocol: u8, ports: &RangeInclusive<u16>) -> Result<Vec<Listener>, Fault> {
        let found = self.find_listeners(protocol, ports);
        let found = found.map_err(|refusal| refusal.fault(format!("find who listens on ports {ports:?}")))?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let processes = socket_owners(Path::new("/proc"), &found.iter().map(|(_, inode)| *inode).collect());
        let listener = |(address, inode)| Listener { address, process: processes.get(&inode).cloned() };
        Ok(found.into_iter().map(listener).collect())
    }

    fn list_routes(&mut self, known: &BTreeSet<IpNet>) -> Result<Vec<HostRoute>, Refusal> {
        let messages = observe::route::list(&mut self.route, RouteProtocol::Unspec)?;
        let found = messages.iter().filter_map(|message| Some((message, observe::route::facts(message)?)));
        let found: Vec<_> = found.filter(|(_, facts)| !known.contains(&facts.destination)).collect();
        let links = self.links_of(&found.iter().filter_map(|(_, facts)| facts.device).collect())?;
        let route = |(message, facts): (&RouteMessage, RouteFacts)| {
            let device = facts.device.and_then(|index| links.get(&index));
            let ours =
                message.header.protocol == RouteProtocol::Other(PROTOCOL) || device.is_some_and(LinkFacts::is_ours);
            HostRoute {
                destination: facts.destination,
                table: facts.table,
                metric: facts.metric,
                device: device.map(|link| link.name.clone()),
                via: facts.via,
                mtu: facts.mtu,
                ours,
            }
        };
        Ok(found.into_iter().map(route).collect())
    }

    fn list_addresses(&mut self) -> Result<Vec<HostAddr>, Refusal> {
        let links = self.links()?;
        let messages: Vec<AddressMessage> =
            route::dump(&mut self.route, libc::RTM_GETADDR, &AddressMessage::default())?;
        let address = |message: &AddressMessage| {
            let link = links.get(&message.header.index)?;
            Some(HostAddr { link: link.name.clone(), address: observe::addr::address(message)?, ours: link.is_ours() })
        };
        Ok(messages.iter().filter_map(address).collect())
    }

    fn find_default_route(&mut self, routes: &[HostRoute]) -> Result<Option<DefaultRoute>, Refusal> {
        let is_default = |r: &&HostRoute| r.destination.prefix_len() == 0 && r.table == MAIN && r.device.is_some();
        let best = routes.iter().filter(is_default).min_by_key(|r| (r.destination.addr().is_ipv6(), r.metric));
        let Some((route, device)) = best.and_then(|route| Some((route, route.device.clone()?))) else {
            return Ok(None);
        };
        let Some(link) = route::link_by_name(&mut self.route, &device)? else { return Ok(None) };
        let mtu = route.mtu.unwrap_or(link.mtu);
        Ok(Some(DefaultRoute { device, via: route.via, mtu }))
    }

    /// These links by index, as far as they are there; asked for one by one while they are few.
    fn links_of(&mut self, indexes: &BTreeSet<u32>) -> Result<BTreeMap<u32, LinkFacts>, Refusal> {
        const FEW: usize = 16;
        if indexes.len() > FEW {
            return self.links();
        }
        let mut links = BTreeMap::new();
        for index in indexes {
            if let Some(link) = route::link_by_index(&mut self.route, *index)? {
                links.insert(*index, link);
            }
        }
        Ok(links)
    }

    fn links(&mut self) -> Result<BTreeMap<u32, LinkFacts>, Refusal> {
        route::links(&mut self.route)
    }

    fn find_listeners(&mut self, protocol: u8, ports: &RangeInclusive<u16>) -> Result<Vec<(SocketAddr, u64)>, Refusal> {
        const SOCK_DIAG_BY_FAMILY: u16 = 20;
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let sockets = std::cell::RefCell::new(Vec::new());
            let ask = diag_request(family as u8, protocol);
            self.diag.dump(
                SOCK_DIAG_BY_FAMILY,
                &ask,
                || sockets.borrow_mut().clear(),
                |message| {
                    sockets
                        .borrow_mut()
                        .extend(parse_diag(message.body).filter(|(address, _)| ports.contains(&address.port())))
                },
            )?;
            found.extend(sockets.into_inner());
        }
        Ok(found)
    }
}

/// `struct inet_diag_req_v2` (sock_diag(7)): TCP sockets that listen, UDP sockets that are not connected.
fn diag_request(family: u8, protocol: u8) -> Vec<u8> {
    const TCP_CLOSE: u32 = 7; // and UDP sockets without a peer
    const TCP_LISTEN: u32 = 10;
    const ID_LEN: usize = 48;
    let states: u32 = if protocol == libc::IPPROTO_TCP as u8 { 1 << TCP_LISTEN } else { 1 << TCP_CLOSE };
    let mut body = vec![family, protocol, 0, 0];
    body.extend_from_slice(&states.to_ne_bytes());
    body.extend_from_slice(&[0; ID_LEN]);
    body
}

/// The local address and the inode of a `struct inet_diag_msg`.
pub(crate) fn parse_diag(body: &[u8]) -> Option<(SocketAddr, u64)> {
    const PORT_AT: usize = 4;
    const ADDRESS_AT: usize = 8;
    const INODE_AT: usize = 68;
    let port = u16::from_be_bytes(body.get(PORT_AT..PORT_AT + 2)?.try_into().ok()?);
    let ip: IpAddr = if i32::from(*body.first()?) == libc::AF_INET {
        Ipv4Addr::from(<[u8; 4]>::try_from(body.get(ADDRESS_AT..ADDRESS_AT + 4)?).ok()?).into()
    } else {
        Ipv6Addr::from(<[u8; 16]>::try_from(body.get(ADDRESS_AT..ADDRESS_AT + 16)?).ok()?).into()
    };
    let inode = u32::from_ne_bytes(body.get(INODE_AT..INODE_AT + 4)?.try_into().ok()?);
    Some((SocketAddr::new(ip, port), inode.into()))
}

/// The processes that have these sockets, by inode, from the links `/proc/PID/fd/N`. Processes that may not be looked into are left out.
fn socket_owners(proc: &Path, inodes: &HashSet<u64>) -> HashMap<u64, Process> {
    let mut owners = HashMap::new();
    for process in fs::read_dir(proc).into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        for fd in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let inode = fs::read_link(fd.path()).ok().and_then(|target| socket_inode(target.as_os_str().as_bytes()));
            if let Some(inode) = inode.filter(|inode| inodes.contains(inode))
                && let Ok(name) = fs::read_to_string(process.path().join("comm"))
            {
                owners.entry(inode).or_insert(Process { pid, name: name.trim_end().to_owned() });
            }
        }
    }
    owners
}

fn socket_inode(target: &[u8]) -> Option<u64> {
    let number = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

fn parse_port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once(char::is_whitespace)?;
    Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_port_ranges() {
        for (text, expected) in [("32768\t60999\n", Some(32768..=60999)), ("", None), ("1 x", None), ("1 70000", None)]
        {
            assert_eq!(parse_port_range(text), expected, "{text:?}");
        }
    }

    #[test]
    fn reads_socket_links() {
        for (text, expected) in
            [("socket:[12]", Some(12)), ("pipe:[12]", None), ("socket:[x]", None), ("socket:[]", None)]
        {
            assert_eq!(socket_inode(text.as_bytes()), expected, "{text:?}");
        }
    }
}
