//! What one endpoint costs the engine: attached to a running container, and as the part of a start that is its network.

use super::networks;
use crate::bench::{
    container::{self, Wanted},
    engine::Engine,
    sides::Sides,
    table::{Line, Target, Unit},
};

const ROUNDS: usize = 15;

pub fn measure(engines: &mut Sides<Engine>) -> Vec<Line> {
    let containers = engines.each(|engine| {
        networks::create(&engine.api, "bench")?;
        container::run(engine, &Wanted::default())
    });
    let mut pairs = engines.with(containers);
    let [attach] = pairs.alternate(ROUNDS, |(engine, id)| {
        let [_, cpu_ms] = engine.cost(|| networks::connect(&engine.api, "bench", id))?;
        networks::disconnect(&engine.api, "bench", id)?;
        Ok([cpu_ms])
    });
    let [share] = engines.alternate(ROUNDS, |engine| {
        let cpu_ms = |network| {
            let wanted = Wanted { network, ..Wanted::default() };
            engine.cost(|| container::run(engine, &wanted).map(drop))
        };
        Ok([cpu_ms("bridge")?[1] - cpu_ms("none")?[1]])
    });
    vec![
        Line::new("attaching an endpoint to a running container, CPU", attach, Unit::Ms, Target::AtMost(3.0)),
        Line::new("create + start on bridge, more CPU than on none", share, Unit::Ms, Target::AtMost(3.0)),
    ]
}
