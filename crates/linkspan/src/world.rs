//! The real world, as decisions and the engine see it.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    net::{IpAddr, TcpListener, UdpSocket},
    ops::RangeInclusive,
    time::{SystemTime, UNIX_EPOCH},
};

use engine::{Places, World};
use ipnet::IpNet;
use kernel::facts;
use model::{
    Command, ContainerId, Facts, Sandbox, SandboxId, State,
    host::{Forwarding, HostRoute, Listener},
    port::{HostPorts, PortRange, Protocol},
};
use netstate::Fault;
use plan::dns::ResolvConf;
use tracing::warn;

/// This host.
pub struct RealWorld {
    places: Places,
    host: facts::Facts,
    random: File,
}

impl RealWorld {
    /// The host whose network is asked for through `host`.
    pub fn new(places: Places, host: facts::Facts) -> io::Result<Self> {
        Ok(Self { places, host, random: File::open("/dev/urandom")? })
    }

    fn nonce(&mut self) -> u64 {
        let mut bytes = [0; 8];
        if let Err(error) = self.random.read_exact(&mut bytes) {
            // Whatever is drawn is checked against what is taken, so a poor draw costs only another choice.
            warn!(%error, "/dev/urandom cannot be read");
        }
        u64::from_le_bytes(bytes)
    }

    /// The host's routes that subnets must keep clear of, without those to subnets that are `known` to be taken, and the MTU beyond.
    fn look_at_routes(&mut self, known: &BTreeSet<IpNet>, facts: &mut Facts) {
        let foreign = |route: facts::HostRoute| {
            let beyond = route.destination.prefix_len() > 0 && !route.ours;
            beyond.then(|| HostRoute { net: route.destination, link: route.device.unwrap_or_default() })
        };
        let routes = told(self.host.routes(known)).unwrap_or_default();
        facts.default_mtu = told(self.host.default_route(&routes)).flatten().map(|route| route.mtu);
        facts.routes = routes.into_iter().filter_map(foreign).collect();
    }

    /// The host's sockets on the ports that a container wants.
    fn look_at_listeners(&mut self, state: &State, container: &ContainerId, facts: &mut Facts) {
        let sandbox = state.containers.get(container).and_then(|c| state.sandboxes.get(&c.sandbox));
        sandbox.into_iter().for_each(|sandbox| self.look_at_listeners_of(sandbox, facts));
    }

    fn look_at_listeners_of(&mut self, sandbox: &Sandbox, facts: &mut Facts) {
        if sandbox.ports.is_empty() {
            return;
        }
        let ephemeral = self.host.local_port_range();
        facts.ephemeral = Some(PortRange { first: *ephemeral.start(), last: *ephemeral.end() });
        for wish in &sandbox.ports {
            let ports = match wish.host {
                HostPorts::Any => ephemeral.clone(),
                HostPorts::Range(range) => range.first..=range.last,
            };
            facts.listeners.extend(self.listeners(wish.protocol, &ports));
        }
    }

    fn listeners(&mut self, protocol: Protocol, ports: &RangeInclusive<u16>) -> Vec<Listener> {
        if protocol == Protocol::Sctp {
            return Vec::new();
        }
        let found = told(self.host.listeners(protocol.number(), ports)).unwrap_or_default();
        let listener = |found: facts::Listener| Listener {
            protocol,
            address: found.address.ip(),
            port: found.address.port(),
            holder: found.process.map(|process| format!("{} (pid {})", process.name, process.pid)),
        };
        found.into_iter().map(listener).collect()
    }
}

impl World for RealWorld {
    fn facts(&mut self, state: &State, command: &Command) -> Facts {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let mut facts = Facts { now_ms, nonce: self.nonce(), ..Facts::default() };
        match command {
            Command::Open(_) => {
                look_at_forwarding(&mut facts);
                self.look_at_routes(&BTreeSet::new(), &mut facts);
            }
            Command::CreateNetwork(_) => {
                look_at_forwarding(&mut facts);
                self.look_at_routes(&subnets(state), &mut facts);
            }
            Command::Start(container) | Command::RestartDue(container) | Command::Recover { container, .. } => {
                self.look_at_listeners(state, container, &mut facts);
            }
            Command::CreateSandbox(new) => self.look_at_listeners_of(&new.sandbox, &mut facts),
            Command::Connect(connect) => self.look_at_listeners(state, &connect.container, &mut facts),
            Command::Disconnect { container, .. } => self.look_at_listeners(state, container, &mut facts),
            _ => {}
        }
        facts
    }

    fn name_sockets(&mut self, sandbox: &SandboxId) -> io::Result<(UdpSocket, TcpListener)> {
        kernel::socket::dns_sockets(&self.places.namespace(sandbox))
    }

    fn cluster_name_sockets(&mut self, address: IpAddr) -> io::Result<(UdpSocket, TcpListener)> {
        proxy::dns::sockets_at(address)
    }

    fn resolv_conf(&self) -> ResolvConf {
        ResolvConf::parse(&fs::read_to_string(plan::dns::PATH).unwrap_or_default())
    }
}

/// The subnets of all networks.
fn subnets(state: &State) -> BTreeSet<IpNet> {
    let bridges = state.networks.values().filter_map(|network| network.bridge());
    bridges.flat_map(|bridge| [&bridge.ipv4, &bridge.ipv6]).flatten().map(|subnet| subnet.net).collect()
}

/// Who would have the host forward, if linkspan turned it on now.
fn look_at_forwarding(facts: &mut Facts) {
    let by = |setting| match fs::read_to_string(setting) {
        Ok(value) if value.trim() == "0" => Forwarding::ByUs,
        _ => Forwarding::Before,
    };
    facts.forwarding_ipv4 = by("/proc/sys/net/ipv4/ip_forward");
    facts.forwarding_ipv6 = by("/proc/sys/net/ipv6/conf/all/forwarding");
}

/// What could be found out; what could not is told, and the decision is made without.
fn told<T>(found: Result<T, Fault>) -> Option<T> {
    found.inspect_err(|error| warn!(%error, "a decision is made without knowing")).ok()
}
