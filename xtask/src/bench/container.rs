//! The containers of the bench: one process that says it runs, and sleeps.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use serde_json::{Map, Value, json};

use super::{api::Api, engine::Engine};
use crate::run::Result;

/// The first port that is published.
pub const FIRST_PORT: u16 = 20_000;

/// How many there were, so that each has a name of its own.
static CREATED: AtomicUsize = AtomicUsize::new(0);

/// What a container is to have.
pub struct Wanted<'a> {
    /// Its network.
    pub network: &'a str,
    /// How many ports, from 20000 on, are published at the same of the host.
    pub ports: u16,
    /// Its names on the network.
    pub aliases: Vec<String>,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Self { network: "bridge", ports: 0, aliases: Vec::new() }
    }
}

/// What a client sends to have it.
pub struct Request(String);

/// Writes it. A client's own work, which takes long for many ports and is no part of what the engine takes.
pub fn request(engine: &Engine, wanted: &Wanted) -> Request {
    Request(body(engine, wanted).to_string())
}

/// Creates and starts one, and waits until its process runs.
pub fn run(engine: &Engine, wanted: &Wanted) -> Result<String> {
    send(engine, &request(engine, wanted))
}

/// The same for what was written before.
pub fn send(engine: &Engine, request: &Request) -> Result<String> {
    let id = create_and_start(engine, request)?;
    engine.started.wait(1)?;
    Ok(id)
}

/// The same for many at once.
pub fn run_many(engine: &Engine, number: usize) -> Result<Vec<String>> {
    let indices: Vec<_> = (0..number).collect();
    let request = request(engine, &Wanted::default());
    let ids = at_once(&indices, |_| create_and_start(engine, &request))?;
    engine.started.wait(number)?;
    Ok(ids)
}

/// Stops it.
pub fn stop(api: &Api, id: &str) -> Result<()> {
    api.tell("POST", &format!("/containers/{id}/stop"), None)
}

/// Removes it, running or not.
pub fn remove(api: &Api, id: &str) -> Result<()> {
    api.tell("DELETE", &format!("/containers/{id}?force=1&v=1"), None)
}

/// Removes all there are.
pub fn remove_all(api: &Api) -> Result<()> {
    let list = api.ask("GET", "/containers/json?all=1", None)?;
    let ids: Vec<_> = list.as_array().into_iter().flatten().filter_map(|container| container["Id"].as_str()).collect();
    at_once(&ids, |id| remove(api, id)).map(drop)
}

/// The address of a running container on its network, and its process.
pub fn place(api: &Api, id: &str, network: &str) -> Result<(String, u32)> {
    let said = api.ask("GET", &format!("/containers/{id}/json"), None)?;
    let address = said["NetworkSettings"]["Networks"][network]["IPAddress"].as_str().filter(|text| !text.is_empty());
    let pid = said["State"]["Pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
    match (address, pid) {
        (Some(address), Some(pid)) => Ok((address.to_owned(), pid)),
        _ => Err(format!("container {id} has no address on {network} or no process")),
    }
}

/// Does something with each, all at once.
pub fn at_once<T: Sync, U: Send>(things: &[T], action: impl Fn(&T) -> Result<U> + Sync) -> Result<Vec<U>> {
    let action = &action;
    thread::scope(|scope| {
        let threads: Vec<_> = things.iter().map(|thing| scope.spawn(move || action(thing))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())))
            .collect()
    })
}

fn create_and_start(engine: &Engine, Request(body): &Request) -> Result<String> {
    let path = format!("/containers/create?name=bench{}", CREATED.fetch_add(1, Ordering::Relaxed));
    let said = engine.api.ask("POST", &path, Some(body))?;
    let id = said["Id"].as_str().ok_or("a container was created without an id")?.to_owned();
    engine.api.tell("POST", &format!("/containers/{id}/start"), None)?;
    Ok(id)
}

fn body(engine: &Engine, wanted: &Wanted) -> Value {
    let ports = (FIRST_PORT..).take(wanted.ports.into());
    let published: Map<_, _> =
        ports.map(|port| (format!("{port}/tcp"), json!([{ "HostPort": port.to_string() }]))).collect();
    let exposed: Map<_, _> = published.keys().map(|port| (port.clone(), json!({}))).collect();
    let endpoints = match wanted.aliases.as_slice() {
        [] => json!({}),
        aliases => json!({ wanted.network: { "Aliases": aliases } }),
    };
    json!({
        "Image": "busybox",
        "Cmd": ["sh", "-c", "echo > /bench/started; exec sleep 1000000"],
        // A process 1 without a handler ignores every other signal, and ten seconds would be measured.
        "StopSignal": "SIGKILL",
        "ExposedPorts": exposed,
        "HostConfig": {
            "NetworkMode": wanted.network,
            "Binds": [format!("{}:/bench", engine.started.dir().display())],
            "PortBindings": published,
        },
        "NetworkingConfig": { "EndpointsConfig": endpoints },
    })
}
