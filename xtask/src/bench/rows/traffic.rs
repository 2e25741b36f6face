//! Bytes and connections through a published port: from outside, from the host by 127.0.0.1, and beside them to the
//! container's own address.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use serde_json::json;

use super::networks;
use crate::{
    bench::{
        container::{self, Wanted},
        engine::Engine,
        load::{self, From},
        sides::Sides,
        table::{Line, Target, Unit},
    },
    run::Result,
};

const ROUNDS: usize = 7;
const CONNECTIONS: usize = 4000;
const DURATION_MS: u64 = 500;
const NETWORK: &str = "bench";

/// The port that is used through the host, and the one that is used at the container: the same one from the same client
/// would be two connections with one answer to the kernel. Both are published, because older engines close others.
const PUBLISHED: u16 = container::FIRST_PORT;
const DIRECT: u16 = PUBLISHED + 1;

/// A container that serves, and how to reach it.
struct Served {
    address: String,
    server: Child,
    /// Now this way is first, now that, so that none has the better part of every round.
    reverse: bool,
}

/// One way to the server: bytes, connections, and what the engine takes for a connection.
struct Way {
    gbit: f64,
    rate: f64,
    cpu_us: f64,
}

pub fn measure(engines: &mut Sides<Engine>) -> Vec<Line> {
    let served = engines.each(|engine| serve(engine));
    let [out, out_of_direct, rate, rate_of_direct, host, host_of_out, host_rate, host_rate_of_out, cpu] =
        engines.with(served).alternate(ROUNDS, |(engine, served)| {
            served.reverse = !served.reverse;
            let [direct, outside, host] = ways(engine, served)?;
            let of = |one: f64, other: f64| one / other;
            Ok([
                outside.gbit,
                of(outside.gbit, direct.gbit),
                outside.rate,
                of(outside.rate, direct.rate),
                host.gbit,
                of(host.gbit, outside.gbit),
                host.rate,
                of(host.rate, outside.rate),
                host.cpu_us / 1e3,
            ])
        });
    vec![
        Line::new("published port from outside: throughput", out, Unit::Gbit, Target::Shown),
        Line::new("the same, of direct", out_of_direct, Unit::Part, Target::AtLeast(0.95)),
        Line::new("published port from outside: connections", rate, Unit::PerSecond, Target::Shown),
        Line::new("the same, of direct", rate_of_direct, Unit::Part, Target::AtLeast(0.95)),
        Line::new("published port from the host by 127.0.0.1: throughput", host, Unit::Gbit, Target::Shown),
        Line::new("the same, of that from outside", host_of_out, Unit::Part, Target::Shown),
        Line::new("published port from the host by 127.0.0.1: connections", host_rate, Unit::PerSecond, Target::Shown),
        Line::new("the same, of those from outside", host_rate_of_out, Unit::Part, Target::AtLeast(0.95)),
        Line::new("the engine's CPU for one of them", cpu, Unit::Ms, Target::Shown),
    ]
}

/// Directly, from outside, and from the host.
fn ways(engine: &Engine, served: &Served) -> Result<[Way; 3]> {
    let mut ways = [
        (From::Outside, format!("{}:{DIRECT}", served.address)),
        (From::Outside, format!("192.0.2.1:{PUBLISHED}")),
        (From::Host, format!("127.0.0.1:{PUBLISHED}")),
    ];
    if served.reverse {
        ways.reverse();
    }
    let mut measured = ways.iter().map(|(from, address)| way(engine, *from, address)).collect::<Result<Vec<_>>>()?;
    if served.reverse {
        measured.reverse();
    }
    measured.try_into().map_err(|_| "three ways were measured, and they are not three".to_owned())
}

fn way(engine: &Engine, from: From, address: &str) -> Result<Way> {
    let [gbit] = load::make(engine, from, &format!("stream {address} {DURATION_MS}"))?;
    let cpu_ms = engine.account.cpu_ms()?;
    let [rate, _] = load::make(engine, from, &format!("connect {address} {CONNECTIONS}"))?;
    let cpu_us = (engine.account.cpu_ms()? - cpu_ms) * 1e3 / CONNECTIONS as f64;
    Ok(Way { gbit, rate, cpu_us })
}

fn serve(engine: &Engine) -> Result<Served> {
    // An engine that closes the direct way opens it for this; Debian's does not know the option, and leaves it open.
    networks::create_with(
        &engine.api,
        NETWORK,
        &json!({ "com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected" }),
    )?;
    let id = container::run(engine, &Wanted { network: NETWORK, ports: 2, ..Wanted::default() })?;
    let (address, pid) = container::place(&engine.api, &id, NETWORK)?;
    let route = engine.host.outside(&format!("ip route replace {address} via 192.0.2.1"));
    if route.code != 0 {
        return Err(format!("no route to the container: {}", route.err));
    }
    let mut command =
        load::command(engine, From::Process(pid), &format!("serve 0.0.0.0:{PUBLISHED} 0.0.0.0:{DIRECT}"))?;
    let mut server =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|e| format!("the server: {e}"))?;
    let said = server.stdout.take().and_then(|out| BufReader::new(out).lines().next()?.ok());
    if said.as_deref() == Some("ready") {
        Ok(Served { address, server, reverse: false })
    } else {
        Err("the server does not serve".to_owned())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.server.stdin = None;
        let _ = self.server.wait();
    }
}
