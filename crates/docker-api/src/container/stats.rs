//! `GET /containers/{id}/stats`: what a container uses, once or every second.

use std::{fs, sync::Arc, time::Duration};

use bytes::Bytes;
use model::{ContainerId, State};
use runtime::cgroup::Stats;
use serde_json::{Map, Value, json};

use crate::{
    Api, ApiError,
    answer::{self, Answer},
    find,
    query::Query,
    time,
};

const EVERY: Duration = Duration::from_secs(1);
/// `/proc/stat` counts in USER_HZ, which is 100 on every Linux.
const TICK_NS: u64 = 10_000_000;

/// One look at a container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Milliseconds since 1970 UTC; 0 if it did not run.
    at_ms: i64,
    stats: Stats,
    /// Processor time of the whole host.
    host_ns: u64,
    cpus: usize,
    host_memory_bytes: u64,
    networks: Map<String, Value>,
}

pub(super) async fn stats(api: &Arc<Api>, name: &str, query: &Query) -> Result<Answer, ApiError> {
    let state = api.engine.state();
    let container = find::container(&state, name)?;
    let id = container.id.clone();
    let streams = query.flag_or("stream", true);
    let one_shot = query.flag("one-shot");
    if streams && one_shot {
        return Err(ApiError::invalid("cannot have stream=true and one-shot=true"));
    }
    if !streams {
        let mut before = Sample::default();
        if !one_shot && container.run().is_some() {
            before = sample(api, &state, &id).await;
            tokio::time::sleep(EVERY).await;
        }
        let now = sample(api, &api.engine.state(), &id).await;
        return answer::ok(&document(&id, &container.name, &now, &before));
    }
    let (sender, answer) = answer::pipe("application/json");
    let api = Arc::clone(api);
    tokio::spawn(async move {
        let mut before = Sample::default();
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            ticks.tick().await;
            let state = api.engine.state();
            let Some(container) = state.containers.get(&id) else { return };
            let now = sample(&api, &state, &id).await;
            let line = format!("{}\n", document(&id, &container.name, &now, &before));
            if sender.send(Ok(Bytes::from(line))).await.is_err() {
                return;
            }
            before = now;
        }
    });
    Ok(answer)
}

/// Looks at a container; one that does not run uses nothing.
async fn sample(api: &Api, state: &State, id: &ContainerId) -> Sample {
    let Some(run) = state.containers.get(id).and_then(|container| container.run()) else { return Sample::default() };
    let Ok(stats) = api.engine.runtime().stats(id.as_str()).await else { return Sample::default() };
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let shares_host = find::sandbox(state, &state.containers[id])
        .is_some_and(|sandbox| sandbox.namespace == model::sandbox::Namespace::Host);
    Sample {
        at_ms: time::now_ms(),
        stats,
        host_ns: host_ns(&read("/proc/stat")),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        host_memory_bytes: memory_bytes(&read("/proc/meminfo")),
        networks: if shares_host { Map::new() } else { networks(&read(&format!("/proc/{}/net/dev", run.pid))) },
    }
}

fn host_ns(stat: &str) -> u64 {
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // The first eight are disjoint (proc_stat(5)); guest time is in them already.
    fields.take(8).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>().saturating_mul(TICK_NS)
}

fn memory_bytes(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: Option<u64> = total.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) << 10
}

/// Reads `/proc/PID/net/dev`, without loopback.
fn networks(dev: &str) -> Map<String, Value> {
    const FIELDS: [(&str, usize); 8] = [
        ("rx_bytes", 0),
        ("rx_packets", 1),
        ("rx_errors", 2),
        ("rx_dropped", 3),
        ("tx_bytes", 8),
        ("tx_packets", 9),
        ("tx_errors", 10),
        ("tx_dropped", 11),
    ];
    let links = dev.lines().filter_map(|line| line.split_once(':'));
    let counted = links.map(|(link, rest)| {
        let numbers: Vec<u64> = rest.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        let counters: Map<String, Value> = FIELDS
            .iter()
            .map(|(name, at)| ((*name).to_owned(), json!(numbers.get(*at).copied().unwrap_or(0))))
            .collect();
        (link.trim().to_owned(), Value::Object(counters))
    });
    counted.filter(|(link, _)| link != "lo").collect()
}

/// The document about a sample and the one before it.
pub(crate) fn document(id: &ContainerId, name: &str, now: &Sample, before: &Sample) -> Value {
    let mut document = json!({
        "name": format!("/{name}"),
        "id": id.as_str(),
        "read": time::rfc3339(now.at_ms),
        "preread": time::rfc3339(before.at_ms),
        "num_procs": 0,
        "pids_stats": {},
        "blkio_stats": block_io(&now.stats),
        "storage_stats": {},
        "cpu_stats": cpu(now),
        "precpu_stats": cpu(before),
        "memory_stats": {},
    });
    if now.at_ms == 0 {
        return document;
    }
    let Stats { memory, pids, .. } = &now.stats;
    document["pids_stats"] = json!({ "current": pids.current, "limit": pids.limit.unwrap_or(u64::MAX) });
    document["memory_stats"] = json!({
        "usage": memory.usage_bytes,
        "limit": memory.limit_bytes.unwrap_or(now.host_memory_bytes),
        "failcnt": memory.failures,
        "stats": memory.breakdown.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<Map<_, _>>(),
    });
    if let Some(most) = memory.max_usage_bytes {
        document["memory_stats"]["max_usage"] = json!(most);
    }
    if !now.networks.is_empty() {
        document["networks"] = Value::Object(now.networks.clone());
    }
    document
}

fn cpu(sample: &Sample) -> Value {
    let cpu = &sample.stats.cpu;
    let mut document = json!({
        "cpu_usage": {
            "total_usage": cpu.total_ns,
            "usage_in_kernelmode": cpu.system_ns,
            "usage_in_usermode": cpu.user_ns,
        },
        "throttling_data": {
            "periods": cpu.periods,
            "throttled_periods": cpu.throttled_periods,
            "throttled_time": cpu.throttled_ns,
        },
    });
    if !cpu.per_cpu_ns.is_empty() {
        document["cpu_usage"]["percpu_usage"] = json!(cpu.per_cpu_ns);
    }
    if sample.at_ms != 0 {
        document["system_cpu_usage"] = json!(sample.host_ns);
        document["online_cpus"] = json!(sample.cpus);
    }
    document
}

fn block_io(stats: &Stats) -> Value {
    let entry = |device: &runtime::cgroup::BlockIo, op: &str, value: u64| json!({ "major": device.major, "minor": device.minor, "op": op, "value": value });
    let list = |values: &dyn Fn(&runtime::cgroup::BlockIo) -> [u64; 2]| -> Vec<Value> {
        let pair = |device| {
            let [read, write] = values(device);
            [entry(device, "read", read), entry(device, "write", write)]
        };
        stats.block_io.iter().flat_map(pair).collect()
    };
    json!({
        "io_service_bytes_recursive": list(&|device| [device.read_bytes, device.write_bytes]),
        "io_serviced_recursive": list(&|device| [device.reads, device.writes]),
        "io_queue_recursive": null,
        "io_service_time_recursive": null,
        "io_wait_time_recursive": null,
        "io_merged_recursive": null,
        "io_time_recursive": null,
        "sectors_recursive": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_proc() {
        assert_eq!(host_ns("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\n"), 36 * TICK_NS);
        assert_eq!(memory_bytes("MemTotal:  1024 kB\nMemFree: 1 kB\n"), 1 << 20);
        let dev = "Inter-|   Receive\n face |bytes packets\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 0 1 0 0 0 0 20 4 0 3 0 0 0 0\n";
        let found = networks(dev);
        assert_eq!(found.len(), 1);
        assert_eq!(found["eth0"]["tx_bytes"], 20);
        assert_eq!(found["eth0"]["rx_dropped"], 1);
        assert_eq!(found["eth0"]["tx_dropped"], 3);
    }
}
