//! What an engine takes when nobody asks it anything.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    bench::{
        container,
        engine::{Engine, ms_since},
        process,
        sides::Sides,
        table::{Line, Target, Unit},
    },
    run::Result,
};

const CONTAINERS: usize = 50;

/// How long what was begun may go on.
const SETTLE: Duration = Duration::from_secs(3);

/// How long idle CPU is watched.
const WATCH: Duration = Duration::from_secs(10);

pub fn measure(engines: &mut Sides<Engine>) -> Vec<Line> {
    let fresh = engines.each(|engine| {
        engine.stop_daemon()?;
        engine.start_daemon()
    });
    thread::sleep(SETTLE);
    let empty = engines.with(fresh).each(|(engine, _)| rss(&engine.account.pids()?));
    let full = engines.each(|engine| container::run_many(engine, CONTAINERS).map(drop));
    thread::sleep(SETTLE);
    let mut full = engines.with(full);
    let before = full.each(|(engine, ())| engine.account.cpu_ms());
    let began = Instant::now();
    thread::sleep(WATCH);
    let seconds = ms_since(began) / 1e3;
    let after = full.each(|(engine, ())| engine.account.cpu_ms());
    let idle = after.zip(before, |after, before| (after - before) / seconds);
    let all = full.each(|(engine, ())| rss(&engine.account.pids()?));
    let shim = full.each(|(engine, ())| average(&engine.shims()?, process::rss_bytes));
    let private = full.each(|(engine, ())| average(&engine.shims()?, process::private_bytes));
    vec![
        Line::new("RSS at rest of the daemons", empty, Unit::Megabytes, Target::AtMost(25.0)),
        Line::new("RSS of daemons and shims with 50 containers", all, Unit::Megabytes, Target::Shown),
        Line::new("a shim: RSS", shim, Unit::Megabytes, Target::AtMost(8.0)),
        Line::new("a shim: private memory", private, Unit::Megabytes, Target::AtMost(1.0)),
        Line::new("idle CPU with 50 containers", idle, Unit::MsPerSecond, Target::AtMost(0.5)),
    ]
}

/// Megabytes of all of them.
fn rss(pids: &[u32]) -> Result<f64> {
    Ok(pids.iter().map(|pid| process::rss_bytes(*pid)).sum::<f64>() / 1e6)
}

/// Megabytes of one of them.
fn average(pids: &[u32], bytes: fn(u32) -> f64) -> Result<f64> {
    if pids.is_empty() {
        return Err("there are no shims".to_owned());
    }
    Ok(pids.iter().map(|pid| bytes(*pid)).sum::<f64>() / 1e6 / pids.len() as f64)
}
