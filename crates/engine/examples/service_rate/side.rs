//! One side that is told of services, and brings about what it is told as the engine does.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use engine::Host;
use kernel::{Linux, Monitor};
use model::{
    Cluster, Command, EndpointSlice, Facts, NamespacedName, State,
    address::Family,
    decide,
    host::Settings,
    port::Protocol,
    service::{Backend, ServicePort, ServiceReport, ServiceWish, SlicePort},
};
use store::Store;

use crate::{Outcome, ms};

pub struct Side {
    pub state: State,
    host: Host,
    store: Store,
    /// How often others are said to have changed something.
    pub surprises: Arc<AtomicUsize>,
    _monitor: Monitor,
}

impl Side {
    pub fn open(directory: &Path) -> Outcome<Self> {
        let (store, _) = Store::open(&directory.join("journal"))?;
        let linux = Linux::open(directory)?;
        let surprises = Arc::new(AtomicUsize::new(0));
        let told = surprises.clone();
        let monitor = linux.watch(move |_| {
            told.fetch_add(1, Relaxed);
        })?;
        let host = Host::new(Box::new(linux));
        let mut side = Self { state: State::default(), host, store, surprises, _monitor: monitor };
        let pools = vec![model::address::Pool { base: "172.17.0.0/16".parse()?, size: 16 }];
        side.commit(Command::Open(Box::new(Settings { pools, ..Settings::default() })))?;
        side.host.converge(&side.state)?;
        let service_ranges = vec!["10.96.0.0/12".parse()?, "fd00:10:96::/108".parse()?];
        side.commit(Command::SetCluster(Box::new(Cluster { service_ranges, ..Cluster::default() })))?;
        Ok(side)
    }

    /// How long the parts took is told.
    pub fn report(&mut self, report: ServiceReport) -> Outcome<String> {
        self.commit(Command::ReportServices(Box::new(report)))
    }

    fn commit(&mut self, command: Command) -> Outcome<String> {
        let start = Instant::now();
        let facts = Facts { now_ms: 1, nonce: self.state.revision, ..Facts::default() };
        let decision = decide(&self.state, &facts, command)?;
        let after = self.state.with(&decision.change);
        let decided = ms(start);
        let start = Instant::now();
        self.store.append(&decision.change, after.revision)?;
        let journalled = ms(start);
        let start = Instant::now();
        self.host.change(&self.state, &after, &decision.change)?;
        self.state = after;
        Ok(format!("decided {decided:.0}, journalled {journalled:.0}, planned and applied {:.0} ms", ms(start)))
    }
}

/// The number of a service decides its name and address.
pub fn service(number: u32, family: Family, protocol: Protocol) -> ServiceWish {
    ServiceWish {
        name: name(number),
        cluster_addresses: vec![service_address(number, family)],
        external_addresses: vec![],
        balancer_addresses: vec![],
        balancer_sources: vec![],
        ports: vec![ServicePort { name: String::new(), protocol, port: 80, node_port: None }],
        affinity: Default::default(),
        internal: Default::default(),
        external: Default::default(),
        health_check_port: None,
        unready: Default::default(),
        external_name: None,
    }
}

/// So many endpoints of a service.
pub fn slice(number: u32, family: Family, protocol: Protocol, endpoints: u32) -> EndpointSlice {
    let backend = |n: u32| {
        let (condition, place, meant) = Default::default();
        let address = match family {
            Family::V4 => Ipv4Addr::from(0x0b00_0000 + number * 4 + n).into(),
            Family::V6 => Ipv6Addr::from(0xfd0b << 112 | u128::from(number * 4 + n)).into(),
        };
        Backend { address, condition, place, meant, hostname: None }
    };
    EndpointSlice {
        name: name(number),
        service: name(number),
        ports: vec![SlicePort { name: String::new(), protocol, port: 8080 }],
        endpoints: (0..endpoints).map(backend).collect(),
    }
}

pub fn service_address(number: u32, family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from(0x0a60_0100 + number).into(),
        Family::V6 => Ipv6Addr::from(0xfd00_0010_0096 << 80 | u128::from(number + 0x100)).into(),
    }
}

fn name(number: u32) -> NamespacedName {
    NamespacedName::new("default", &format!("service-{number}"))
}
