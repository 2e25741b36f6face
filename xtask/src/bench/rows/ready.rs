//! From exec of the daemon until it answers: with nothing to do, and with containers that ran on without it.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    bench::{
        api::Api,
        container,
        engine::{Engine, ms_since},
        sides::Sides,
        table::{Line, Target, Unit},
    },
    run::Result,
};

const CONTAINERS: usize = 50;
const ROUNDS: usize = 5;

/// The longest until all are seen.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn measure(engines: &mut Sides<Engine>) -> Vec<Line> {
    let [empty] = engines.alternate(ROUNDS, |engine| {
        engine.stop_daemon()?;
        Ok([engine.start_daemon()?])
    });
    let full = engines.each(|engine| container::run_many(engine, CONTAINERS).map(drop));
    let [adopting] = engines.with(full).alternate(ROUNDS, |(engine, ())| {
        engine.stop_daemon()?;
        let began = Instant::now();
        engine.start_daemon()?;
        while running(&engine.api)? < CONTAINERS {
            if began.elapsed() > PATIENCE {
                return Err(format!(
                    "{} of {CONTAINERS} containers run after the daemon came back",
                    running(&engine.api)?
                ));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok([ms_since(began)])
    });
    vec![
        Line::new("daemon ready from exec, empty", empty, Unit::Ms, Target::AtMost(100.0)),
        Line::new("daemon ready from exec, adopting 50 running containers", adopting, Unit::Ms, Target::AtMost(500.0)),
    ]
}

fn running(api: &Api) -> Result<usize> {
    let list = api.ask("GET", "/containers/json", None)?;
    Ok(list.as_array().map_or(0, Vec::len))
}
