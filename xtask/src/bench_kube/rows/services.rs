//! 10,000 services with three endpoints each, in the API and in the kernel: loading them, changing one endpoint, changing a hundred each
//! second, and starting again. A change is in the kernel when the kernel announces it.

use std::{
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use crate::{
    bench::{
        engine::ms_since,
        sides::median,
        table::{Target, Unit},
    },
    bench_kube::{
        client::Connection,
        cluster::Cluster,
        heard::{self, Heard},
        objects::{CHANGED, ENDPOINT, address, endpoints, path, service, slice},
        pace::{at_rate, flat_out, percentile},
        table::Line,
    },
    run::Result,
};

const SERVICES: usize = 10_000;
/// Changes one after the other.
const CHANGES: usize = 100;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(20);
/// Starts over what is there.
const RESTARTS: usize = 5;
/// Changes a second, and for how many seconds.
const RATE: f64 = 100.0;
const RATE_S: usize = 8;

pub fn measure(cluster: &mut Cluster) -> Result<Vec<Line>> {
    let before = cluster.rss_mb()?;
    let (load_ms, load_cpu_ms) = load(cluster)?;
    thread::sleep(Duration::from_secs(3));
    let rss = cluster.rss_mb()?;
    let mut lines = vec![
        Line::new("load of 10,000 services x 3 endpoints, through the API", load_ms, Unit::Ms, Target::Shown)
            .beside("16-28 s, kube-proxy alone"),
        Line::new("CPU of the daemon for it", load_cpu_ms, Unit::Ms, Target::Shown),
        Line::new("RSS with them, API and node", rss, Unit::Megabytes, Target::Shown).beside("976 MiB + 350 MiB"),
        Line::new("RSS, more than without them", rss - before, Unit::Megabytes, Target::Shown),
    ];
    let heard = Heard::listen(CHANGED)?;
    lines.extend(alone(cluster, &heard)?);
    lines.extend(busy(cluster, &heard)?);
    lines.extend(restart(cluster)?);
    Ok(lines)
}

/// Changes one after the other.
fn alone(cluster: &Cluster, heard: &Heard) -> Result<Vec<Line>> {
    let (mut connection, mut walls_ms) = (cluster.connect()?, Vec::new());
    let writer_ms = cluster.writer_cpu_ms()?;
    let ((), cpu_ms) = cluster.cpu(|| {
        for change in 0..CHANGES {
            let acknowledged = change_one(&mut connection, change)?;
            walls_ms.push(heard::after(heard.when(address(CHANGED, change))?, acknowledged));
            thread::sleep(PAUSE);
        }
        Ok(())
    })?;
    let writer_ms = cluster.writer_cpu_ms()? - writer_ms;
    let what = "one endpoint changed: acknowledged until in the kernel, p50";
    Ok(vec![
        Line::new(what, percentile(&mut walls_ms, 50), Unit::Ms, Target::AtMost(5.0)).beside("4,277 ms"),
        Line::new("the slowest of 100", percentile(&mut walls_ms, 100), Unit::Ms, Target::AtMost(20.0))
            .beside("6,067 ms"),
        Line::new("CPU for one: plan and apply", writer_ms / CHANGES as f64, Unit::Ms, Target::AtMost(1.0))
            .beside("3,651 ms"),
        Line::new("CPU for one: API, controllers and node", cpu_ms / CHANGES as f64, Unit::Ms, Target::Shown),
    ])
}

/// Changes at a rate.
fn busy(cluster: &Cluster, heard: &Heard) -> Result<Vec<Line>> {
    let writer_ms = cluster.writer_cpu_ms()?;
    let (mut walls_ms, cpu_ms) = cluster.cpu(|| many(cluster, heard))?;
    let writer_ms = cluster.writer_cpu_ms()? - writer_ms;
    let each_second = |ms: f64| ms / RATE_S as f64;
    Ok(vec![
        Line::new("100 changes/s: p99", percentile(&mut walls_ms, 99), Unit::Ms, Target::AtMost(50.0))
            .beside("seconds"),
        Line::new(
            "100 changes/s: CPU, plan and apply",
            each_second(writer_ms),
            Unit::MsPerSecond,
            Target::AtMost(100.0),
        )
        .beside("a whole core"),
        Line::new(
            "100 changes/s: CPU, API, controllers and node",
            each_second(cpu_ms),
            Unit::MsPerSecond,
            Target::Shown,
        ),
    ])
}

/// Makes them all; the milliseconds until the kernel has all, and those of the daemon's CPU.
fn load(cluster: &Cluster) -> Result<(f64, f64)> {
    let (api, heard) = (cluster.api()?, Heard::listen(ENDPOINT)?);
    let (services, slices) = (path("", "services"), path("discovery.k8s.io", "endpointslices"));
    let began = Instant::now();
    cluster.cpu(|| {
        flat_out(&api, SERVICES, |connection, n| {
            connection.create(&services, &service(n))?;
            connection.create(&slices, &slice(n, &endpoints(n)))
        })?;
        let mut last = began;
        for address in (0..SERVICES).flat_map(endpoints) {
            last = last.max(heard.when(address)?);
        }
        Ok((last - began).as_secs_f64() * 1e3)
    })
}

/// Gives a service another first endpoint; when that was acknowledged.
fn change_one(connection: &mut Connection, change: usize) -> Result<Instant> {
    let number = change * 7 % SERVICES;
    let [_, second, third] = endpoints(number);
    let name = format!("{}/s{number}", path("discovery.k8s.io", "endpointslices"));
    connection.replace(&name, &slice(number, &[address(CHANGED, change), second, third]))?;
    Ok(Instant::now())
}

/// Changes at a rate; the milliseconds of each.
fn many(cluster: &Cluster, heard: &Heard) -> Result<Vec<f64>> {
    let (api, acknowledged) = (cluster.api()?, Mutex::new(Vec::new()));
    let count = RATE as usize * RATE_S;
    at_rate(&api, RATE, count, |connection, n| {
        let change = CHANGES + n;
        let at = change_one(connection, change)?;
        acknowledged.lock().map_err(|e| e.to_string())?.push((change, at));
        Ok(())
    })?;
    let acknowledged = acknowledged.into_inner().map_err(|e| e.to_string())?;
    acknowledged.into_iter().map(|(change, at)| Ok(heard::after(heard.when(address(CHANGED, change))?, at))).collect()
}

/// Starts the daemon again, and changes one at once; several times, for each is over soon.
fn restart(cluster: &mut Cluster) -> Result<Vec<Line>> {
    let first = CHANGES + RATE as usize * RATE_S;
    let (mut effective_ms, mut effective_cpu_ms, mut ready_ms) = (Vec::new(), Vec::new(), Vec::new());
    for change in first..first + RESTARTS {
        cluster.engine.stop_daemon()?;
        let (heard, cpu_ms) = (Heard::listen(CHANGED)?, cluster.engine.account.cpu_ms()?);
        let began = Instant::now();
        cluster.engine.start_daemon()?;
        let mut connection = cluster.connect()?;
        change_one(&mut connection, change)?;
        effective_ms.push((heard.when(address(CHANGED, change))? - began).as_secs_f64() * 1e3);
        effective_cpu_ms.push(cluster.engine.account.cpu_ms()? - cpu_ms);
        cluster.until_ready()?;
        ready_ms.push(ms_since(began));
        // What it has still to do does not count for the next one.
        thread::sleep(Duration::from_secs(3));
    }
    let median = |figures: Vec<f64>| median(figures.into_iter());
    let what = "restart: exec until a first change is in the kernel";
    Ok(vec![
        Line::new(what, median(effective_ms), Unit::Ms, Target::AtMost(500.0)).beside("8.2 s with 5,000"),
        Line::new("restart: CPU until then", median(effective_cpu_ms), Unit::Ms, Target::Shown),
        Line::new("restart: exec until the node is Ready again", median(ready_ms), Unit::Ms, Target::Shown),
    ])
}
