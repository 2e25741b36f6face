//! What the daemon takes when nobody asks it anything: with both faces, and with Docker's alone.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    bench::{
        engine::{Engine, Kind, ms_since},
        table::{Target, Unit},
    },
    bench_kube::{cluster::Cluster, table::Line},
    run::Result,
};

/// How long what was begun may go on.
const SETTLE: Duration = Duration::from_secs(5);
/// How long idle CPU is watched: three renewals of the node's lease.
const WATCH: Duration = Duration::from_secs(30);

pub fn measure(cluster: &mut Cluster) -> Result<Vec<Line>> {
    cluster.engine.stop_daemon()?;
    cluster.engine.start_daemon()?;
    cluster.until_ready()?;
    let [rss, cpu] = at_rest(cluster)?;
    let Kind::Linkspan(binary) = cluster.engine.kind.clone() else { return Err("not a cluster".to_owned()) };
    let alone = Cluster { engine: Engine::start(Kind::DockerAlone(binary))? };
    let [alone_rss, alone_cpu] = at_rest(&alone)?;
    Ok(vec![
        Line::new("RSS at rest, both faces", rss, Unit::Megabytes, Target::AtMost(100.0))
            .beside("508 MB, without a node"),
        Line::new("RSS at rest, Docker's face alone", alone_rss, Unit::Megabytes, Target::AtMost(25.0)),
        Line::new("idle CPU, both faces", cpu, Unit::MsPerSecond, Target::AtMost(0.5)),
        Line::new("idle CPU, Docker's face alone", alone_cpu, Unit::MsPerSecond, Target::AtMost(0.5)),
    ])
}

fn at_rest(cluster: &Cluster) -> Result<[f64; 2]> {
    thread::sleep(SETTLE);
    let began = Instant::now();
    let ((), cpu_ms) = cluster.cpu(|| {
        thread::sleep(WATCH);
        Ok(())
    })?;
    let cpu = cpu_ms / (ms_since(began) / 1e3);
    Ok([cluster.rss_mb()?, cpu])
}
