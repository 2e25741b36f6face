//! How many networks there can be when nobody says their subnets, and whether many make the next one dear.

use std::time::{Duration, Instant};

use super::networks;
use crate::{
    bench::{
        engine::{Engine, ms_since},
        sides::{Sides, median},
        table::{Line, Target, Unit},
    },
    run::Result,
};

/// Nobody needs more.
const ENOUGH: usize = 2000;

/// The bench ends some day.
const PATIENCE: Duration = Duration::from_secs(120);

/// The thousands that are promised.
const PROMISED: f64 = 2000.0;

pub fn measure(engines: &mut Sides<Engine>) -> Vec<Line> {
    let all = engines.each(|engine| create_all(engine));
    let number = all.look(|walls| Ok(walls.len() as f64));
    let last = all.look(|walls| Ok(median(walls.iter().rev().take(10).copied())));
    vec![
        Line::new(
            format!("networks until refused (at most {ENOUGH} asked for, in {} s)", PATIENCE.as_secs()),
            number,
            Unit::Count,
            Target::AtLeast(PROMISED),
        ),
        Line::new("network create with all the others there", last, Unit::Ms, Target::Shown),
    ]
}

/// Creates networks until one is refused or there is no more time; the milliseconds that each took.
fn create_all(engine: &Engine) -> Result<Vec<f64>> {
    let (mut walls, all) = (Vec::new(), Instant::now());
    while walls.len() < ENOUGH && all.elapsed() < PATIENCE {
        let began = Instant::now();
        match networks::create(&engine.api, &format!("bench{}", walls.len())) {
            Ok(()) => walls.push(ms_since(began)),
            Err(_) if !walls.is_empty() => break,
            Err(why) => return Err(why),
        }
    }
    Ok(walls)
}
