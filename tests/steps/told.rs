//! What was decided, as lines of text.

use std::net::SocketAddr;

use model::{
    Decision, Endpoint, Network, Record, Sandbox, Service,
    container::Phase,
    decide::Task,
    network::Driver,
    sandbox::{Namespace, Up},
    service::Frontend,
};

use crate::steps::Outcome;

/// The lines of one outcome: `=` what is written, `-` what goes, `!` a refusal, then events and tasks.
pub fn lines(outcome: &Outcome) -> Vec<String> {
    let Decision { change, events, tasks } = match outcome {
        Ok(decision) => decision,
        Err(refusal) => return vec![format!("! {refusal}")],
    };
    let mut lines: Vec<String> = change.deletes.iter().map(|key| format!("- {}", key_text(key))).collect();
    lines.extend(change.puts.iter().map(|record| format!("= {}", record_text(record))));
    lines.extend(events.iter().map(|event| {
        let attributes = event
            .attributes
            .iter()
            .filter(|(name, value)| **name != "image" && **name != "driver" && !value.is_empty());
        let attributes: Vec<_> = attributes.map(|(name, value)| format!("{name}={value}")).collect();
        format!("event {:?} {} {}", event.kind, event.action, attributes.join(" "))
    }));
    lines.extend(tasks.iter().map(|task| format!("task {}", task_text(task))));
    lines
}

fn key_text(key: &model::RecordKey) -> String {
    use model::RecordKey;
    match key {
        RecordKey::Settings => "settings".to_owned(),
        RecordKey::Network(id) => id.to_string(),
        RecordKey::Sandbox(id) => id.to_string(),
        RecordKey::Endpoint(id) => id.to_string(),
        RecordKey::Container(id) => id.to_string(),
        RecordKey::Document(id) => format!("document of {id}"),
        RecordKey::Volume(name) => format!("volume:{name}"),
        RecordKey::Cluster => "cluster".to_owned(),
        RecordKey::Service(name) => format!("service:{name}"),
        RecordKey::EndpointSlice(name) => format!("endpoints:{name}"),
    }
}

fn record_text(record: &Record) -> String {
    match record {
        Record::Settings(_) => "settings".to_owned(),
        Record::Network(network) => format!("network:{} {}", network.name, network_text(network)),
        Record::Sandbox(sandbox) => format!("{} {}", sandbox.id, sandbox_text(sandbox)),
        Record::Endpoint(endpoint) => format!("{} {}", endpoint.id, endpoint_text(endpoint)),
        Record::Document { container, document } => format!("document of {container} {document:?}"),
        Record::Volume(volume) => format!("volume:{} {:?}", volume.name, volume.naming),
        Record::Cluster(_) => "cluster".to_owned(),
        Record::Service(service) => format!("service:{} {}", service.wish.name, service_text(service)),
        Record::EndpointSlice(slice) => format!("endpoints:{} {}", slice.name, slice.endpoints.len()),
        Record::Container(container) => {
            let mut text =
                format!("container:{} {} want {:?}", container.name, phase_text(&container.phase), container.want);
            if container.restarts > 0 {
                text += &format!(" restarts {}", container.restarts);
            }
            if let Some(health) = &container.health {
                text += &format!(" {:?} failing {}", health.status, health.failing);
            }
            text
        }
    }
}

/// Each frontend with how its clients are spread over whom.
fn service_text(service: &Service) -> String {
    let frontend = |frontend: &Frontend| {
        let Some((address, protocol, port)) = service.key(frontend) else { return String::new() };
        let (ends, spread) = service.at(frontend);
        let ends: Vec<_> = ends.iter().map(ToString::to_string).collect();
        let inside = service.from_inside(frontend).map_or(String::new(), |spread| format!(" (inside {spread:?})"));
        format!("{}/{protocol} {spread:?}{inside} [{}]", SocketAddr::new(address, port), ends.join(" "))
    };
    let contested = service.contested.iter().filter_map(|frontend| service.key(frontend));
    let contested =
        contested.map(|(address, protocol, port)| format!("not {}/{protocol}", SocketAddr::new(address, port)));
    service.frontends.iter().map(frontend).chain(contested).collect::<Vec<_>>().join(", ")
}

fn network_text(network: &Network) -> String {
    let Driver::Bridge(bridge) = &network.driver else { return network.driver.name().to_owned() };
    let subnets = [&bridge.ipv4, &bridge.ipv6].into_iter().flatten().map(|subnet| {
        let gateway = subnet.gateway.map_or("none".to_owned(), |gateway| gateway.to_string());
        let range = subnet.range.map_or(String::new(), |range| format!(" range {range}"));
        format!("{}{range} gateway {gateway} ({:?})", subnet.net, subnet.chosen)
    });
    format!("{} {} mtu {}", bridge.link, subnets.collect::<Vec<_>>().join(" "), bridge.mtu)
}

fn sandbox_text(sandbox: &Sandbox) -> String {
    let up = if sandbox.up == Up::Up { "up" } else { "down" };
    let host = if sandbox.namespace == Namespace::Host { " host" } else { "" };
    let ports = sandbox.published.iter();
    let ports = ports.map(|p| format!(" {}->{}/{}", spell(p.host_ip, p.host), p.inside, p.protocol));
    format!("{up}{host}{}", ports.collect::<String>())
}

fn spell(address: std::net::IpAddr, range: model::port::PortRange) -> String {
    if address.is_ipv4() { format!("{address}:{range}") } else { format!("[{address}]:{range}") }
}

fn endpoint_text(endpoint: &Endpoint) -> String {
    let Some(lease) = &endpoint.lease else { return "no lease".to_owned() };
    let addresses = [lease.ipv4.map(|net| net.to_string()), lease.ipv6.map(|net| net.to_string())];
    let addresses: Vec<_> = addresses.into_iter().flatten().collect();
    format!("{} {} {} ({})", lease.ifname, addresses.join(" "), lease.mac, lease.host_ifname)
}

fn phase_text(phase: &Phase) -> String {
    match phase {
        Phase::Created => "created".to_owned(),
        Phase::Starting => "starting".to_owned(),
        Phase::Running(_) => "running".to_owned(),
        Phase::Paused(_) => "paused".to_owned(),
        Phase::Restarting { exit, pause_ms, .. } => {
            format!("restarting in {pause_ms} ms (exit {}{})", exit.code, error(exit))
        }
        Phase::Exited(exit) => format!("exited {}{}", exit.code, error(exit)),
    }
}

fn error(exit: &model::container::Exit) -> String {
    exit.error.as_ref().map_or(String::new(), |error| format!(": {error}"))
}

fn task_text(task: &Task) -> String {
    match task {
        Task::Launch(id) => format!("launch {id}"),
        Task::Kill(id) => format!("kill {id}"),
        Task::Freeze(id) => format!("freeze {id}"),
        Task::Thaw(id) => format!("thaw {id}"),
        Task::RestartAfter { container, pause_ms } => format!("restart {container} after {pause_ms} ms"),
        Task::Limit(id) => format!("limit {id}"),
        Task::Reap(id) => format!("reap {id}"),
        Task::Release(id) => format!("release {id}"),
        Task::Fill(id) => format!("fill {id}"),
        Task::MakeVolume(name) => format!("make volume:{name}"),
        Task::DropVolume(name) => format!("drop volume:{name}"),
    }
}
