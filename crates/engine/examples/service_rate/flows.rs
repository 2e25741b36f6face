//! A UDP service with many flows, whose endpoints go.

use std::{
    net::{SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use model::{
    address::Family,
    port::Protocol,
    service::{Report, ServiceReport},
};

use crate::{
    Outcome, ms,
    side::{Side, service, service_address, slice},
};

const FLOWS: usize = 90_000;
/// A link that leads nowhere: what is sent there is tracked all the same.
const LINK: &str = "
    link set lo up
    link add nowhere type bridge
    link set nowhere up arp off
    addr add 192.0.2.1/24 dev nowhere
    addr add 192.0.2.2/24 dev nowhere
    addr add 2001:db8::1/64 dev nowhere nodad
    addr add 2001:db8::2/64 dev nowhere nodad
    route add default dev nowhere
    -6 route add default dev nowhere
";
const CLIENTS: [(Family, [&str; 2]); 2] =
    [(Family::V4, ["192.0.2.1", "192.0.2.2"]), (Family::V6, ["2001:db8::1", "2001:db8::2"])];

pub fn measure(directory: &Path) -> Outcome<()> {
    for words in LINK.lines().map(str::trim).filter(|words| !words.is_empty()) {
        if !Command::new("ip").args(words.split(' ')).status()?.success() {
            return Err(format!("ip {words} failed").into());
        }
    }
    let mut side = Side::open(directory)?;
    for (turn, (family, clients)) in (0..).zip(CLIENTS) {
        let (busy, idle) = (turn * 2, turn * 2 + 1);
        for number in [busy, idle] {
            let services = Report::Changes { puts: vec![service(number, family, Protocol::Udp)], removes: vec![] };
            side.report(ServiceReport { services, ..ServiceReport::default() })?;
        }
        let mut serve = |number, endpoints| {
            let puts = vec![slice(number, family, Protocol::Udp, endpoints)];
            let slices = Report::Changes { puts, removes: vec![] };
            let start = Instant::now();
            side.report(ServiceReport { slices, ..ServiceReport::default() }).map(|parts| (ms(start), parts))
        };
        let address = |number| SocketAddr::new(service_address(number, family), 80);
        for (what, number, left) in [
            ("the one endpoint of another service", idle, 0),
            ("one of three endpoints", busy, 2),
            ("all three endpoints", busy, 0),
        ] {
            serve(busy, 3)?;
            serve(idle, 1)?;
            fill(&clients, FLOWS, address(busy))?;
            fill(&clients[..1], 1, address(idle))?;
            let before = tracked()?;
            let (took, parts) = serve(number, left)?;
            // The kernel counts them until nobody looks at them any more.
            std::thread::sleep(Duration::from_millis(100));
            let forgotten = before.saturating_sub(tracked()?);
            println!("{family:?}, {what} gone, {before} flows: {forgotten} forgotten in {took:.1} ms ({parts})");
        }
    }
    Ok(())
}

/// Sends one packet for each of so many flows.
fn fill(clients: &[&str], flows: usize, service: SocketAddr) -> Outcome<()> {
    for client in clients {
        for port in (1024..).take(flows / clients.len()) {
            let socket = UdpSocket::bind(SocketAddr::new(client.parse()?, port))?;
            socket.send_to(b"?", service)?;
        }
    }
    Ok(())
}

fn tracked() -> Outcome<usize> {
    Ok(std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count")?.trim().parse()?)
}
