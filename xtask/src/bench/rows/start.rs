//! One container, created and started through the API until its process runs.

use crate::bench::{
    container::{self, Wanted},
    engine::Engine,
    sides::Sides,
    table::{Line, Target, Unit},
};

const ROUNDS: usize = 15;

pub fn measure(engines: &mut Sides<Engine>) -> Vec<Line> {
    let [wall, cpu, removal] = engines.alternate(ROUNDS, |engine| {
        let mut id = String::new();
        let [wall_ms, cpu_ms] = engine.cost(|| {
            id = container::run(engine, &Wanted::default())?;
            Ok(())
        })?;
        let [removal_ms, _] = engine.cost(|| container::remove(&engine.api, &id))?;
        Ok([wall_ms, cpu_ms, removal_ms])
    });
    vec![
        Line::new("create + start until the process runs, bridge network", wall, Unit::Ms, Target::OfDocker(0.2)),
        Line::new("CPU of all daemons for it", cpu, Unit::Ms, Target::OfDocker(0.2)),
        Line::new("its removal by force", removal, Unit::Ms, Target::Shown),
    ]
}
