//! Published ports: `PortBindings` to wishes, where ports that stand in a row become one range.

use std::net::IpAddr;

use model::port::{ExposedPorts, HostPorts, PortRange, PortWish, Protocol};

use crate::{
    ApiError,
    wire::{self, config::Config, host_config::HostConfig, port::PortBinding},
};

/// What is asked to be published, in order.
pub(super) fn ports(config: &Config, host: &HostConfig) -> Result<Vec<PortWish>, ApiError> {
    let mut wishes = Vec::new();
    for row in host.port_bindings.rows() {
        for binding in row.first.list() {
            let first = wish(row.protocol, PortRange::single(row.inside.first), &binding)?;
            wishes.push(of_all(row.inside, first));
        }
    }
    for (port, bindings) in host.port_bindings.others() {
        let (inside, protocol) = inside(port)?;
        let bindings = bindings.list();
        // Up to API 1.51 a port without a binding gets one without words.
        let nothing = [PortBinding::default()];
        for binding in if bindings.is_empty() { nothing.as_slice() } else { &bindings } {
            wishes.push(wish(protocol, inside, binding)?);
        }
    }
    if host.publish_all_ports {
        for (port, _) in config.exposed_ports.singly().filter(|(port, _)| !host.port_bindings.contains(port)) {
            let (inside, protocol) = inside(&port.to_string())?;
            wishes.extend(single(inside).map(|inside| PortWish {
                protocol,
                inside,
                host_ip: None,
                host: HostPorts::Any,
            }));
        }
    }
    Ok(in_rows(wishes))
}

/// What programs are said to listen at, where ports that stand in a row become one range.
pub(super) fn exposed(config: &Config) -> Result<Vec<ExposedPorts>, ApiError> {
    let mut all = exposed_ranges(&config.exposed_ports).collect::<Result<Vec<_>, _>>()?;
    all.sort_by_key(|(ports, protocol)| (*protocol, *ports));
    let mut rows: Vec<ExposedPorts> = Vec::new();
    for (ports, protocol) in all {
        match rows.last_mut() {
            Some(row) if row.protocol == protocol && u32::from(ports.first) <= u32::from(row.ports.last) + 1 => {
                row.ports.last = row.ports.last.max(ports.last);
            }
            _ => rows.push(ExposedPorts { protocol, ports }),
        }
    }
    Ok(rows)
}

/// The ports that are exposed, in no order.
pub(crate) fn exposed_ranges(
    exposed: &wire::port::ExposedPorts,
) -> impl Iterator<Item = Result<(PortRange, Protocol), ApiError>> {
    let rows = exposed.rows().iter().map(|row| Ok((row.inside, row.protocol)));
    rows.chain(exposed.others().keys().map(|name| inside(name)))
}

/// Reads `80/tcp`, `53/udp`, `8000-8010`.
pub(crate) fn inside(text: &str) -> Result<(PortRange, Protocol), ApiError> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" | "" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return Err(ApiError::invalid(format!("invalid port specification: {text:?}"))),
    };
    let range = range(ports).filter(|range| range.first > 0);
    range
        .map(|range| (range, protocol))
        .ok_or_else(|| ApiError::invalid(format!("invalid port specification: {ports:?}")))
}

fn range(text: &str) -> Option<PortRange> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(PortRange { first, last })
}

fn wish(protocol: Protocol, inside: PortRange, binding: &PortBinding) -> Result<PortWish, ApiError> {
    let host_ip = match binding.host_ip.trim_start_matches('[').trim_end_matches(']') {
        "" => None,
        text => {
            let address: IpAddr = text.parse().map_err(|_| ApiError::invalid(format!("invalid IP address: {text}")))?;
            Some(address)
        }
    };
    let host_port = binding.host_port.split('/').next().unwrap_or_default();
    let host = match host_port {
        "" | "0" => HostPorts::Any,
        text => {
            let bad = || ApiError::invalid(format!("invalid port specification: {:?}", binding.host_port));
            let range = range(text).filter(|range| range.first > 0).ok_or_else(bad)?;
            if inside.len() > 1 && range.len() != inside.len() {
                return Err(bad());
            }
            HostPorts::Range(range)
        }
    };
    Ok(PortWish { protocol, inside, host_ip, host })
}

/// What is asked for the first of these ports, for all of them.
fn of_all(inside: PortRange, mut first: PortWish) -> PortWish {
    if let HostPorts::Range(host) = &mut first.host {
        host.last = host.first.saturating_add(inside.last - inside.first);
    }
    PortWish { inside, ..first }
}

fn single(range: PortRange) -> impl Iterator<Item = PortRange> {
    (range.first..=range.last).map(PortRange::single)
}

/// Joins what clients take apart: `-p 8000-8999:8000-8999` arrives as a thousand bindings.
fn in_rows(mut wishes: Vec<PortWish>) -> Vec<PortWish> {
    wishes.sort_by_key(|wish| (wish.protocol, wish.host_ip, wish.inside));
    let mut rows: Vec<PortWish> = Vec::new();
    for wish in wishes {
        if let Some(row) = rows.last_mut()
            && follows(row, &wish)
        {
            row.inside.last = wish.inside.last;
            if let (HostPorts::Range(all), HostPorts::Range(more)) = (&mut row.host, wish.host) {
                all.last = more.last;
            }
        } else {
            rows.push(wish);
        }
    }
    rows
}

fn follows(row: &PortWish, next: &PortWish) -> bool {
    let (HostPorts::Range(all), HostPorts::Range(more)) = (row.host, next.host) else { return false };
    let alike = row.protocol == next.protocol && row.host_ip == next.host_ip;
    let one_to_one = all.len() == row.inside.len() && more.len() == next.inside.len();
    alike
        && one_to_one
        && u32::from(row.inside.last) + 1 == u32::from(next.inside.first)
        && u32::from(all.last) + 1 == u32::from(more.first)
}
