//! A UDP service with many flows, whose endpoints go.

use std::{
    net::{SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    time::Instant,
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
    link set nowhere up
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
    for (number, (family, clients)) in (0..).zip(CLIENTS) {
        let services = Report::Changes { puts: vec![service(number, family, Protocol::Udp)], removes: vec![] };
        side.report(ServiceReport { services, ..ServiceReport::default() })?;
        let mut serve = |endpoints| {
            let puts = vec![slice(number, family, Protocol::Udp, endpoints)];
            let slices = Report::Changes { puts, removes: vec![] };
            let start = Instant::now();
            side.report(ServiceReport { slices, ..ServiceReport::default() }).map(|_| ms(start))
        };
        for (what, left) in [("one of three endpoints", 2), ("all three endpoints", 0)] {
            serve(3)?;
            fill(clients, SocketAddr::new(service_address(number, family), 80))?;
            let before = tracked()?;
            let took = serve(left)?;
            let forgotten = before - tracked()?;
            println!("{family:?}, {what} gone, {before} flows: {forgotten} forgotten in {took:.0} ms");
        }
    }
    Ok(())
}

/// Sends one packet for each flow.
fn fill(clients: [&str; 2], service: SocketAddr) -> Outcome<()> {
    for client in clients {
        for port in (1024..).take(FLOWS / clients.len()) {
            let socket = UdpSocket::bind(SocketAddr::new(client.parse()?, port))?;
            socket.send_to(b"?", service)?;
        }
    }
    Ok(())
}

fn tracked() -> Outcome<usize> {
    Ok(std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count")?.trim().parse()?)
}
