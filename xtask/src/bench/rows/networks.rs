//! A network, from its creation to its removal.

use std::time::Instant;

use serde_json::json;

use crate::{
    bench::{
        api::Api,
        container::{self, Wanted},
        engine::{Engine, ms_since},
        sides::Sides,
        table::{Line, Target, Unit},
    },
    run::Result,
};

const ROUNDS: usize = 11;

pub fn measure(engines: &mut Sides<Engine>) -> Vec<Line> {
    let containers = engines.each(|engine| container::run(engine, &Wanted::default()));
    let walls = engines.with(containers).alternate(ROUNDS, |(engine, id)| {
        let api = &engine.api;
        Ok([
            timed(|| create(api, "bench"))?,
            timed(|| connect(api, "bench", id))?,
            timed(|| disconnect(api, "bench", id))?,
            timed(|| remove(api, "bench"))?,
        ])
    });
    let steps = ["network create", "network connect", "network disconnect", "network rm"];
    steps.into_iter().zip(walls).map(|(step, wall)| Line::new(step, wall, Unit::Ms, Target::OfDocker(0.1))).collect()
}

/// Creates a bridge network.
pub fn create(api: &Api, name: &str) -> Result<()> {
    create_with(api, name, &json!({}))
}

/// Creates a bridge network with options of the driver.
pub fn create_with(api: &Api, name: &str, options: &serde_json::Value) -> Result<()> {
    let wanted = json!({ "Name": name, "Driver": "bridge", "CheckDuplicate": true, "Options": options });
    api.tell("POST", "/networks/create", Some(&wanted))
}

/// Connects a container to it.
pub fn connect(api: &Api, name: &str, container: &str) -> Result<()> {
    api.tell("POST", &format!("/networks/{name}/connect"), Some(&json!({ "Container": container })))
}

/// Disconnects a container from it.
pub fn disconnect(api: &Api, name: &str, container: &str) -> Result<()> {
    api.tell("POST", &format!("/networks/{name}/disconnect"), Some(&json!({ "Container": container })))
}

fn remove(api: &Api, name: &str) -> Result<()> {
    api.tell("DELETE", &format!("/networks/{name}"), None)
}

fn timed(action: impl FnOnce() -> Result<()>) -> Result<f64> {
    let began = Instant::now();
    action()?;
    Ok(ms_since(began))
}
