//! A private host whose daemon serves the Kubernetes API and is its node.

use std::{
    fs::{self, File},
    os::fd::AsFd,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use super::client::{Api, Connection, JSON};
use crate::{
    bench::{
        engine::{Engine, Kind, ms_since},
        process,
    },
    run::Result,
};

/// The longest until something is so.
const PATIENCE: Duration = Duration::from_secs(120);

/// The host and its daemon.
pub struct Cluster {
    /// They.
    pub engine: Engine,
}

impl Cluster {
    /// Starts one, and waits until the node is Ready.
    pub fn start(binary: &std::path::Path) -> Result<Self> {
        let cluster = Self { engine: Engine::start(Kind::Linkspan(binary.to_owned()))? };
        cluster.within(|| cluster.until_ready().map(drop))?;
        Ok(cluster)
    }

    /// Does something on a thread in the host's network: what it and the threads it starts connect to is there.
    pub fn within<T: Send>(&self, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        enter(self.engine.host.pid(), action)
    }

    /// Does something with the cluster on such a thread.
    pub fn measured_within<T: Send>(&mut self, action: impl FnOnce(&mut Self) -> Result<T> + Send) -> Result<T> {
        enter(self.engine.host.pid(), || action(self))
    }

    /// The admin's way to the API, once it is told.
    pub fn api(&self) -> Result<Api> {
        let path = PathBuf::from(format!("/proc/{}/root/run/linkspan/kubeconfig", self.engine.host.pid()));
        until("a kubeconfig", || Ok(fs::read_to_string(&path).ok().filter(|text| text.ends_with("}\n"))))
            .and_then(|text| Api::of_kubeconfig(&text))
    }

    /// A connection to the API, once it answers.
    pub fn connect(&self) -> Result<Connection> {
        let api = self.api()?;
        until("the Kubernetes API answers", || Ok(api.connect().ok()))
    }

    /// Waits until the node is Ready, and gives a connection.
    pub fn until_ready(&self) -> Result<Connection> {
        let mut connection = self.connect()?;
        until("the node is Ready", || {
            let nodes = json(&connection.get("/api/v1/nodes", JSON)?)?;
            let node = &nodes["items"][0];
            // Where to run pods is part of it.
            Ok((is(node, "Ready") && !node["spec"]["podCIDR"].is_null()).then_some(()))
        })?;
        until("the default service account", || {
            Ok(connection.get("/api/v1/namespaces/default/serviceaccounts/default", JSON).ok())
        })?;
        Ok(connection)
    }

    /// Resident memory of the daemon and of whatever else it takes, in megabytes; containers are not in it.
    pub fn rss_mb(&self) -> Result<f64> {
        Ok(self.engine.account.pids()?.iter().map(|pid| process::rss_bytes(*pid)).sum::<f64>() / 1e6)
    }

    /// Does something and gives the milliseconds of CPU that the daemon took meanwhile.
    pub fn cpu<T>(&self, action: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
        let before = self.engine.account.cpu_ms()?;
        let done = action()?;
        Ok((done, self.engine.account.cpu_ms()? - before))
    }

    /// Milliseconds of CPU that the engine's writer ever took: what decides, journals, plans, compares and applies.
    pub fn writer_cpu_ms(&self) -> Result<f64> {
        let pids = self.engine.account.pids()?;
        Ok(pids.into_iter().map(|pid| process::thread_cpu_ms(pid, "writer")).sum())
    }

    /// Ends the daemon, and starts it over nothing; the milliseconds from then until the Docker API answers.
    pub fn start_anew(&mut self) -> Result<f64> {
        self.engine.stop_daemon()?;
        let data_root = self.engine.host.data_root();
        fs::remove_dir_all(&data_root).map_err(|e| format!("cannot remove {}: {e}", data_root.display()))?;
        self.engine.start_daemon()
    }
}

fn enter<T: Send>(pid: u32, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let there = File::open(format!("/proc/{pid}/ns/net")).map_err(|e| format!("the host's network: {e}"))?;
    thread::scope(|scope| {
        let inside = scope.spawn(move || {
            move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|e| format!("cannot enter the host's network: {e}"))?;
            action()
        });
        inside.join().unwrap_or_else(|_| Err("the bench panicked".to_owned()))
    })
}

/// Looks until there is something, every millisecond.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("{what}: not within {:.0} s", ms_since(began) / 1e3));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// An answer, read.
pub fn json(text: &[u8]) -> Result<Value> {
    serde_json::from_slice(text).map_err(|e| format!("no JSON: {e}"))
}

/// Whether a condition of an object holds.
pub fn is(object: &Value, condition: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|one| one["type"] == condition && one["status"] == "True")
}
