//! What ports cost: one, a thousand, ten thousand.

use std::time::Instant;

use crate::{
    bench::{
        container::{self, Wanted},
        engine::{Engine, Kind, ms_since},
        process,
        sides::{Sides, median},
        table::{Line, Target, Unit},
    },
    run::Result,
};

const ROUNDS: usize = 7;
const MANY: u16 = 1000;
const MORE: u16 = 10_000;

/// What publishing so many ports took.
struct Cost {
    start_ms: f64,
    removal_ms: f64,
    processes: f64,
    rss_bytes: f64,
}

pub fn measure(engines: &mut Sides<Engine>) -> Vec<Line> {
    let [start, removal] = engines.alternate(ROUNDS, |engine| {
        let one = publish(engine, 1)?;
        Ok([one.start_ms, one.removal_ms])
    });
    let many = engines.each(|engine| median_cost(engine, MANY));
    let more = engines.each(|engine| match engine.kind {
        Kind::Linkspan(_) | Kind::DockerAlone(_) => median_cost(engine, MORE),
        Kind::Docker | Kind::Podman => Err("1,000 ports took long enough".to_owned()),
    });
    let beyond = |costs: &Sides<Cost>, one: &Sides<f64>, part: fn(&Cost) -> f64| {
        costs.look(|cost| Ok(part(cost))).zip(one.look(|ms| Ok(*ms)), |many, one| many - one)
    };
    vec![
        Line::new(
            "publish 1,000 ports: start, more than one port",
            beyond(&many, &start, |c| c.start_ms),
            Unit::Ms,
            Target::AtMost(20.0),
        ),
        Line::new(
            "1,000 ports: remove, more than one port",
            beyond(&many, &removal, |c| c.removal_ms),
            Unit::Ms,
            Target::AtMost(20.0),
        ),
        Line::new("1,000 ports: processes", many.look(|c| Ok(c.processes)), Unit::Count, Target::AtMost(0.0)),
        Line::new(
            "1,000 ports: RSS of them",
            many.look(|c| Ok(c.rss_bytes / 1e6)),
            Unit::Megabytes,
            Target::AtMost(0.0),
        ),
        Line::new(
            "publish 10,000 ports: start, more than one port",
            beyond(&more, &start, |c| c.start_ms),
            Unit::Ms,
            Target::AtMost(50.0),
        ),
        Line::new(
            "10,000 ports: remove, more than one port",
            beyond(&more, &removal, |c| c.removal_ms),
            Unit::Ms,
            Target::Shown,
        ),
        Line::new("1 port: start until the process runs", start, Unit::Ms, Target::Shown),
        Line::new("1 port: remove by force", removal, Unit::Ms, Target::Shown),
    ]
}

fn median_cost(engine: &mut Engine, ports: u16) -> Result<Cost> {
    // The others may take minutes for a thousand, so a single time must do there.
    let rounds = if matches!(engine.kind, Kind::Linkspan(_)) { ROUNDS } else { 1 };
    let costs = (0..rounds).map(|_| publish(engine, ports)).collect::<Result<Vec<_>>>()?;
    let of = |part: fn(&Cost) -> f64| median(costs.iter().map(part));
    Ok(Cost {
        start_ms: of(|c| c.start_ms),
        removal_ms: of(|c| c.removal_ms),
        processes: of(|c| c.processes),
        rss_bytes: of(|c| c.rss_bytes),
    })
}

fn publish(engine: &mut Engine, ports: u16) -> Result<Cost> {
    let before = engine.account.pids()?;
    let request = container::request(engine, &Wanted { ports, ..Wanted::default() });
    let began = Instant::now();
    let id = container::send(engine, &request)?;
    let start_ms = ms_since(began);
    let shims = engine.shims()?;
    let processes: Vec<_> =
        engine.account.pids()?.into_iter().filter(|pid| !before.contains(pid) && !shims.contains(pid)).collect();
    let rss_bytes = processes.iter().map(|pid| process::rss_bytes(*pid)).sum();
    let began = Instant::now();
    container::remove(&engine.api, &id)?;
    Ok(Cost { start_ms, removal_ms: ms_since(began), processes: processes.len() as f64, rss_bytes })
}
