//! The name server that containers see at 127.0.0.11, with five hundred names on one network.

use super::networks;
use crate::bench::{
    container::{self, Wanted},
    engine::{Engine, Kind},
    load::{self, From},
    sides::Sides,
    table::{Line, Target, Unit},
};

const NAMES: usize = 500;
const CONTAINERS: usize = 10;
const ROUNDS: usize = 5;
const DURATION_MS: u64 = 1000;

/// Answers a second that are promised for a core.
const PROMISED: f64 = 50_000.0;

pub fn measure(engines: &mut Sides<Engine>) -> Vec<Line> {
    let askers = engines.each(|engine| {
        if matches!(engine.kind, Kind::Podman) {
            return Err("it has no name server there".to_owned());
        }
        networks::create(&engine.api, "bench")?;
        let mut asker = String::new();
        for first in (0..CONTAINERS).map(|n| n * NAMES / CONTAINERS) {
            let aliases = (first..first + NAMES / CONTAINERS).map(|n| format!("n{n}")).collect();
            asker = container::run(engine, &Wanted { network: "bench", aliases, ..Wanted::default() })?;
        }
        container::place(&engine.api, &asker, "bench").map(|(_, pid)| pid)
    });
    let [rate, core_rate, lost, p99] = engines.with(askers).alternate(ROUNDS, |(engine, pid)| {
        let cpu_ms = engine.account.cpu_ms()?;
        let words = format!("dns {NAMES} {DURATION_MS}");
        let [answers, wall_ms, lost, _] = load::make(engine, From::Process(*pid), &words)?;
        let cpu_ms = engine.account.cpu_ms()? - cpu_ms;
        let rate = answers / wall_ms * 1e3;
        let [_, _, _, p99_us] = load::make(engine, From::Process(*pid), &format!("{words} {}", PROMISED / 2.0))?;
        Ok([rate, answers / cpu_ms * 1e3, lost, p99_us / 1e3])
    });
    vec![
        Line::new(
            "DNS at 127.0.0.11, 500 names: answers for a core of the daemon",
            core_rate,
            Unit::PerSecond,
            Target::AtLeast(PROMISED),
        ),
        Line::new("DNS: answers beside the clients on the same machine", rate, Unit::PerSecond, Target::Shown),
        Line::new("DNS: queries lost", lost, Unit::Count, Target::AtMost(0.0)),
        Line::new("DNS: p99 at half of the promised load", p99, Unit::Ms, Target::AtMost(1.0)),
    ]
}
