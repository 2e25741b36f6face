//! What services cost, in a network namespace of its own: `cargo run --release -p engine --example service_rate [SERVICES]`. Each has
//! three endpoints. Needs root; nothing outside the namespace is touched.

use std::{error::Error, time::Instant};

use engine::Host;
use kernel::Linux;
use model::{
    Change, Cluster, Command, EndpointSlice, Facts, NamespacedName, State, decide,
    host::Settings,
    port::Protocol,
    service::{Backend, Report, ServicePort, ServiceReport, ServiceWish, SlicePort},
};
use store::Store;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How many single endpoints come and go.
const CHANGES: u32 = 400;

fn main() -> Outcome<()> {
    let services = std::env::args().nth(1).map_or(Ok(10_000), |number| number.parse())?;
    let directory = std::env::temp_dir().join(format!("service-rate-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let measured = kernel::socket::in_private_namespaces(|| measure(services, &directory));
    std::fs::remove_dir_all(&directory)?;
    measured?
}

struct Side {
    state: State,
    host: Host,
    store: Store,
}

fn measure(services: u32, directory: &std::path::Path) -> Outcome<()> {
    let (store, _) = Store::open(&directory.join("journal"))?;
    let host = Host::new(Box::new(Linux::open(directory)?));
    let mut side = Side { state: State::default(), host, store };
    side.commit(Command::Open(Box::new(settings()?)))?;
    side.host.converge(&side.state)?;
    let cluster = Cluster { service_ranges: vec!["10.96.0.0/12".parse()?], ..Cluster::default() };
    side.commit(Command::SetCluster(Box::new(cluster)))?;
    println!("{services} services, 3 endpoints each");
    println!("empty: {} MiB", rss_mib()?);

    let report = ServiceReport {
        services: Report::All((0..services).map(service).collect()),
        slices: Report::All((0..services).map(|number| slice(number, 3)).collect()),
    };
    let start = Instant::now();
    let parts = side.commit(Command::ReportServices(Box::new(report)))?;
    println!("all in one batch: {:.0} ms ({parts})", ms(start));
    println!("loaded: {} MiB", rss_mib()?);

    let mut took = Vec::new();
    let cpu = cpu_ms()?;
    for turn in 0..CHANGES {
        // One goes, one comes.
        let puts = vec![slice((turn / 2) * 37 % services, if turn % 2 == 0 { 2 } else { 3 })];
        let slices = Report::Changes { puts, removes: vec![] };
        let start = Instant::now();
        side.commit(Command::ReportServices(Box::new(ServiceReport { slices, ..ServiceReport::default() })))?;
        took.push(ms(start));
    }
    let cpu = (cpu_ms()? - cpu) / f64::from(CHANGES);
    took.sort_by(f64::total_cmp);
    let (middle, last) = (took[took.len() / 2], took[took.len() - 1]);
    println!("one endpoint: {middle:.2} ms in the middle, {last:.2} ms at most, {cpu:.2} ms of CPU each");

    let start = Instant::now();
    let mut again = Host::new(Box::new(Linux::open(directory)?));
    let drift = again.converge(&side.state)?;
    println!("restart over what is there: {:.0} ms, {} changes", ms(start), drift.repairs.len());
    Ok(())
}

impl Side {
    /// As the engine does; how long the parts took is told.
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
        self.apply(&after, &decision.change)?;
        Ok(format!("decided {decided:.0}, journalled {journalled:.0}, planned and applied {:.0} ms", ms(start)))
    }

    fn apply(&mut self, after: &State, change: &Change) -> Outcome<()> {
        self.host.change(&self.state, after, change)?;
        self.state = after.clone();
        Ok(())
    }
}

fn settings() -> Outcome<Settings> {
    let pools = vec![model::address::Pool { base: "172.17.0.0/16".parse()?, size: 16 }];
    Ok(Settings { pools, ..Settings::default() })
}

fn name(number: u32) -> NamespacedName {
    NamespacedName::new("default", &format!("service-{number}"))
}

fn service(number: u32) -> ServiceWish {
    let address = std::net::Ipv4Addr::from(0x0a60_0100 + number);
    ServiceWish {
        name: name(number),
        cluster_addresses: vec![address.into()],
        external_addresses: vec![],
        balancer_addresses: vec![],
        balancer_sources: vec![],
        ports: vec![ServicePort { name: String::new(), protocol: Protocol::Tcp, port: 80, node_port: None }],
        affinity: Default::default(),
        internal: Default::default(),
        external: Default::default(),
        health_check_port: None,
        unready: Default::default(),
        external_name: None,
    }
}

fn slice(number: u32, endpoints: u32) -> EndpointSlice {
    let backend = |n: u32| {
        let (condition, place, meant) = Default::default();
        let address = std::net::Ipv4Addr::from(0x0b00_0000 + number * 4 + n);
        Backend { address: address.into(), condition, place, meant, hostname: None }
    };
    EndpointSlice {
        name: name(number),
        service: name(number),
        ports: vec![SlicePort { name: String::new(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints: (0..endpoints).map(backend).collect(),
    }
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Milliseconds of CPU of this thread, the kernel's work for it too.
fn cpu_ms() -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().ok_or("empty")?.parse::<f64>()? / 1e6)
}

/// Resident memory of this process.
fn rss_mib() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse::<u64>()? / 1024)
}
