//! A second process in a container, from its start until it is known how it ended.

use std::time::Instant;

use serde_json::json;

use crate::{
    bench::{
        container::{self, Wanted},
        engine::{Engine, ms_since},
        sides::Sides,
        table::{Line, Target, Unit},
    },
    run::Result,
};

const ROUNDS: usize = 15;

pub fn measure(engines: &mut Sides<Engine>) -> Vec<Line> {
    let containers = engines.each(|engine| container::run(engine, &Wanted::default()));
    let [wall] = engines.with(containers).alternate(ROUNDS, |(engine, id)| {
        let began = Instant::now();
        exec(engine, id)?;
        Ok([ms_since(began)])
    });
    vec![Line::new("exec start to exit", wall, Unit::Ms, Target::OfDocker(1.0 / 3.0))]
}

fn exec(engine: &Engine, container: &str) -> Result<()> {
    let wanted = json!({ "AttachStdout": true, "AttachStderr": true, "Cmd": ["true"] });
    let said = engine.api.ask("POST", &format!("/containers/{container}/exec"), Some(&wanted))?;
    let id = said["Id"].as_str().ok_or("an exec without an id")?;
    engine.api.exchange("POST", &format!("/exec/{id}/start"), Some(&json!({ "Detach": false, "Tty": false })))?;
    let said = engine.api.ask("GET", &format!("/exec/{id}/json"), None)?;
    if said["ExitCode"] == 0 { Ok(()) } else { Err(format!("exec of true: {said}")) }
}
