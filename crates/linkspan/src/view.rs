//! The answers to `map`, `diff`, `explain`, `trace`: from the engine's state, what it wants of the host, and the host's own routes.
//! Nothing is changed here, except by `down`.

mod explain;
mod labels;
mod surroundings;
mod trace;

use engine::Engine;
use netstate::map::Map;

use crate::admin::{Ask, Format};

/// What answers are made from.
pub struct View {
    /// The engine.
    pub engine: Engine,
    /// The host's own network, to be asked.
    pub host: kernel::facts::Facts,
}

/// Answers a question; the error is complete in words.
pub async fn answer(view: &mut View, ask: Ask) -> Result<String, String> {
    let engine = &view.engine;
    match ask {
        Ask::Map { format } => Ok(map(engine, format)),
        Ask::Diff => engine.compare().await.map(|plan| plan.to_string()).map_err(|e| e.to_string()),
        Ask::Explain { object } => explain::explain(&engine.state(), &object),
        Ask::Trace { source, destination, protocol } => {
            let host = surroundings::surroundings(&mut view.host).map_err(|e| e.to_string())?;
            let foreign = kernel::probe::foreign_chains().map_err(|e| e.to_string())?;
            let (host, foreign) = (&host, &foreign[..]);
            let asked = trace::Asked { source: &source, destination: &destination, protocol, host, foreign };
            trace::trace(&engine.state(), &asked)
        }
        Ask::Down => down(engine).await,
    }
}

fn map(engine: &Engine, format: Format) -> String {
    use netstate::map::{dot, json, mermaid, svg, text};
    let state = engine.state();
    let desired = plan::desired(&state);
    let map = Map::of(&desired.net, &labels::labels(&state, &desired));
    match format {
        Format::Text => text(&map),
        Format::Json => json(&map),
        Format::Dot => dot(&map),
        Format::Mermaid => mermaid(&map),
        Format::Svg => svg(&map),
    }
}

/// Stops what runs, then takes everything off the host.
async fn down(engine: &Engine) -> Result<String, String> {
    let state = engine.state();
    let live: Vec<_> = state.containers.values().filter(|c| c.is_live()).map(|c| c.id.clone()).collect();
    let count = live.len();
    let stops = live.into_iter().map(|id| {
        let engine = engine.clone();
        tokio::spawn(async move { engine.stop(&id, None, None).await })
    });
    for stop in stops.collect::<Vec<_>>() {
        match stop.await {
            Ok(Ok(()) | Err(engine::EngineError::Refused(_))) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(error) => return Err(error.to_string()),
        }
    }
    for container in engine.state().containers.keys() {
        // What the shims left; how each container ended is in the journal.
        engine.runtime().reap(container.as_str()).await.map_err(|e| e.to_string())?;
    }
    engine.leave().await.map_err(|e| e.to_string())?;
    runtime::cgroup::parents::leave().map_err(|e| e.to_string())?;
    Ok(format!("{count} containers stopped; no link, namespace or rule of linkspan is left on this host.\n"))
}
