//! What a person at a terminal waits for; the docker command's own time is in it.

use std::time::Instant;

use crate::{
    bench::{
        engine::{Engine, ms_since},
        sides::Sides,
        table::{Line, Target, Unit},
    },
    run::output,
};

const ROUNDS: usize = 15;

pub fn measure(engines: &mut Sides<Engine>) -> Vec<Line> {
    let [wall] = engines.alternate(ROUNDS, |engine| {
        let began = Instant::now();
        output(engine.docker().args(["run", "--rm", "busybox", "true"]))?;
        Ok([ms_since(began)])
    });
    vec![Line::new("`docker run --rm IMAGE true`", wall, Unit::Ms, Target::OfDocker(0.5))]
}
