//! Queries per second that one sandbox's DNS answers on one core, with 500 names, and what a sandbox costs in memory:
//! `cargo run --release -p proxy --example dns_rate`.

use std::net::{IpAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{NetworkId, SandboxId};
use plan::dns::{Attached, DnsView, EndpointNames, Forward, NetworkNames, Unqualified};
use proxy::dns::{Limits, Server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut server = Server::new(runtime.handle().clone(), Limits::default());
    let network = NetworkId::from_bytes([1; 32]);
    let mut names = NetworkNames::new("back");
    for n in 0..500u16 {
        let [high, low] = n.to_be_bytes();
        names.insert(&EndpointNames {
            names: vec![format!("container-{n}"), format!("{n:012x}")],
            addresses: vec![IpAddr::from([10, 0, high, low])],
        });
    }
    server.set_names(&network, Arc::new(names));
    let view = Arc::new(DnsView {
        networks: vec![Attached { network, links: Default::default() }],
        forward: Forward::Refuse,
        unqualified: Unqualified::Forward,
    });

    let before_kib = rss_kib()?;
    let mut first = None;
    for n in 0..250 {
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        first.get_or_insert(udp.local_addr()?);
        server.serve(SandboxId::from_bytes([n; 32]), udp, tcp, view.clone())?;
    }
    println!("250 sandboxes take {} KiB", rss_kib()? - before_kib);

    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.connect(first.ok_or("no sandbox")?)?;
    client.set_read_timeout(Some(Duration::from_secs(1)))?;
    let (mut sent, mut buffer) = (0u32, [0; 512]);
    let (start, cpu_before) = (Instant::now(), server_cpu()?);
    while start.elapsed() < Duration::from_secs(3) {
        // A window of queries keeps the server busy without loss.
        for n in 0..32 {
            client.send(&query(&format!("container-{}", (sent + n) % 500)))?;
        }
        for _ in 0..32 {
            client.recv(&mut buffer)?;
        }
        sent += 32;
    }
    let cpu = server_cpu()? - cpu_before;
    let wall = start.elapsed().as_secs_f64();
    println!("{:.0} queries/s, {:.1} us of the server's CPU each", f64::from(sent) / wall, cpu * 1e6 / f64::from(sent));
    Ok(())
}

fn query(name: &str) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() as u8];
    packet.extend_from_slice(name.as_bytes());
    packet.extend_from_slice(&[0, 0, 1, 0, 1]);
    packet
}

/// Resident memory of this process.
fn rss_kib() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
}

/// Seconds of CPU of all threads but this one: the runtime's.
fn server_cpu() -> Result<f64, Box<dyn std::error::Error>> {
    let seconds = |path: &str| -> Result<f64, Box<dyn std::error::Error>> {
        let schedstat = std::fs::read_to_string(path)?;
        Ok(schedstat.split_whitespace().next().ok_or("empty")?.parse::<f64>()? / 1e9)
    };
    let mut total = 0.0;
    for task in std::fs::read_dir("/proc/self/task")? {
        total += seconds(&format!("{}/schedstat", task?.path().display()))?;
    }
    Ok(total - seconds("/proc/thread-self/schedstat")?)
}
