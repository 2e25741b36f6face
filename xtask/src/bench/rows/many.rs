//! Fifty containers at once.

use std::time::Instant;

use crate::bench::{
    container,
    engine::{Engine, ms_since},
    sides::Sides,
    table::{Line, Target, Unit},
};

const CONTAINERS: usize = 50;
const ROUNDS: usize = 3;

pub fn measure(engines: &mut Sides<Engine>) -> Vec<Line> {
    let [start, stop, removal] = engines.alternate(ROUNDS, |engine| {
        let began = Instant::now();
        let ids = container::run_many(engine, CONTAINERS)?;
        let start_ms = ms_since(began);
        let began = Instant::now();
        container::at_once(&ids, |id| container::stop(&engine.api, id))?;
        let stop_ms = ms_since(began);
        container::at_once(&ids, |id| container::remove(&engine.api, id))?;

        let ids = container::run_many(engine, CONTAINERS)?;
        let began = Instant::now();
        container::at_once(&ids, |id| container::remove(&engine.api, id))?;
        Ok([start_ms, stop_ms, ms_since(began)])
    });
    vec![
        Line::new("50 containers at once: create + start until all run", start, Unit::Ms, Target::OfDocker(0.2)),
        Line::new("50 at once: stop", stop, Unit::Ms, Target::OfDocker(0.2)),
        Line::new("50 at once: remove by force, running", removal, Unit::Ms, Target::OfDocker(0.2)),
    ]
}
