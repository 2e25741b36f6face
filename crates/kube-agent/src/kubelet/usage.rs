//! What the node and its pods use: `GET /stats/summary`, and `GET /metrics/resource` in the text format of Prometheus, from which
//! metrics-server makes what `kubectl top` shows.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::Desk;
use crate::{
    identity::{self, label},
    pod::spec,
};

/// `/proc/stat` counts in USER_HZ, which is 100 on every Linux.
const TICK_NS: u64 = 10_000_000;

/// What somebody has used of the processors, and uses of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Used {
    cpu_ns: u64,
    usage_bytes: u64,
    /// Without page cache that was not touched lately.
    working_set_bytes: u64,
    rss_bytes: u64,
}

/// A running container of a pod.
struct Measured {
    container: String,
    started: Timestamp,
    used: Used,
}

/// `GET /stats/summary`
pub async fn summary(desk: &Desk) -> Value {
    let (now, node) = (Timestamp::now(), node());
    let mut pods = Vec::new();
    for pod in desk.known.all() {
        let containers = measure(desk, &pod).await;
        let (name, namespace, uid) = spec::names(&pod);
        let all: Vec<_> = containers
            .iter()
            .map(|one| json!({ "name": one.container, "startTime": one.started, "cpu": cpu(one.used, now), "memory": memory(one.used, now) }))
            .collect();
        let whole = sum(&containers);
        pods.push(json!({
            "podRef": { "name": name, "namespace": namespace, "uid": uid },
            "startTime": pod.status.as_ref().and_then(|status| status.start_time.clone()),
            "containers": all,
            "cpu": cpu(whole, now),
            "memory": memory(whole, now),
        }));
    }
    json!({
        "node": { "nodeName": desk.shared.node.name, "cpu": cpu(node, now), "memory": memory(node, now) },
        "pods": pods,
    })
}

/// `GET /metrics/resource`
pub async fn metrics(desk: &Desk) -> String {
    let mut rows: BTreeMap<&'static str, Vec<(String, f64)>> = BTreeMap::new();
    let mut add = |name, labels: String, value| rows.entry(name).or_default().push((labels, value));
    for pod in desk.known.all() {
        let containers = measure(desk, &pod).await;
        let (name, namespace, _) = spec::names(&pod);
        let of_pod = format!("namespace=\"{namespace}\",pod=\"{name}\"");
        for one in &containers {
            let labels = format!("{{container=\"{}\",{of_pod}}}", one.container);
            add("container_cpu_usage_seconds_total", labels.clone(), seconds(one.used.cpu_ns));
            add("container_memory_working_set_bytes", labels.clone(), one.used.working_set_bytes as f64);
            add("container_start_time_seconds", labels, one.started.as_millisecond() as f64 / 1e3);
        }
        if !containers.is_empty() {
            let whole = sum(&containers);
            add("pod_cpu_usage_seconds_total", format!("{{{of_pod}}}"), seconds(whole.cpu_ns));
            add("pod_memory_working_set_bytes", format!("{{{of_pod}}}"), whole.working_set_bytes as f64);
        }
    }
    let node = node();
    add("node_cpu_usage_seconds_total", String::new(), seconds(node.cpu_ns));
    add("node_memory_working_set_bytes", String::new(), node.working_set_bytes as f64);
    add("resource_scrape_error", String::new(), 0.0);
    spell(&rows)
}

/// The text of metrics; those that are named `_total` only grow.
fn spell(rows: &BTreeMap<&'static str, Vec<(String, f64)>>) -> String {
    let mut text = String::new();
    for (name, values) in rows {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "# TYPE {name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    }
    text
}

async fn measure(desk: &Desk, pod: &Pod) -> Vec<Measured> {
    let (_, _, uid) = spec::names(pod);
    let state = desk.shared.engine.state();
    let mut measured = Vec::new();
    for container in state.residents_of(&identity::sandbox(&uid)) {
        let Some(run) = container.run() else { continue };
        // One that has just ended uses nothing.
        let Ok(stats) = desk.shared.engine.runtime().stats(container.id.as_str()).await else { continue };
        let rss = |key: &&(String, u64)| matches!(key.0.as_str(), "rss" | "anon");
        measured.push(Measured {
            container: container.labels.get(label::CONTAINER).cloned().unwrap_or_default(),
            started: Timestamp::from_millisecond(run.started_ms).unwrap_or_default(),
            used: Used {
                cpu_ns: stats.cpu.total_ns,
                usage_bytes: stats.memory.usage_bytes,
                working_set_bytes: stats.memory.usage_bytes.saturating_sub(stats.memory.inactive_file_bytes),
                rss_bytes: stats.memory.breakdown.iter().find(rss).map_or(0, |(_, bytes)| *bytes),
            },
        });
    }
    measured
}

fn sum(containers: &[Measured]) -> Used {
    containers.iter().fold(Used::default(), |sum, one| Used {
        cpu_ns: sum.cpu_ns + one.used.cpu_ns,
        usage_bytes: sum.usage_bytes + one.used.usage_bytes,
        working_set_bytes: sum.working_set_bytes + one.used.working_set_bytes,
        rss_bytes: sum.rss_bytes + one.used.rss_bytes,
    })
}

/// What this machine uses.
fn node() -> Used {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    of_machine(&read("/proc/stat"), &read("/proc/meminfo"))
}

fn of_machine(stat: &str, meminfo: &str) -> Used {
    let ticks: Vec<u64> =
        stat.lines().next().unwrap_or_default().split_whitespace().skip(1).flat_map(str::parse).collect();
    // user nice system idle iowait irq softirq steal (proc_stat(5))
    let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at)).sum();
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() << 10
    };
    Used {
        cpu_ns: busy * TICK_NS,
        usage_bytes: bytes("MemTotal").saturating_sub(bytes("MemFree")),
        working_set_bytes: bytes("MemTotal").saturating_sub(bytes("MemAvailable")),
        rss_bytes: bytes("AnonPages"),
    }
}

fn cpu(used: Used, now: Timestamp) -> Value {
    json!({ "time": now, "usageCoreNanoSeconds": used.cpu_ns })
}

fn memory(used: Used, now: Timestamp) -> Value {
    let Used { usage_bytes, working_set_bytes, rss_bytes, .. } = used;
    json!({ "time": now, "usageBytes": usage_bytes, "workingSetBytes": working_set_bytes, "rssBytes": rss_bytes })
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine() {
        let stat = "cpu  100 10 20 5000 300 1 2 0 0 0\ncpu0 1 2 3\n";
        let meminfo = "MemTotal: 1000 kB\nMemFree: 200 kB\nMemAvailable: 600 kB\nAnonPages: 50 kB\n";
        let expected =
            Used { cpu_ns: 133 * TICK_NS, usage_bytes: 800 << 10, working_set_bytes: 400 << 10, rss_bytes: 50 << 10 };
        assert_eq!(of_machine(stat, meminfo), expected);
        assert_eq!(of_machine("", ""), Used::default());
    }

    #[test]
    fn metrics_are_spelled() {
        let rows = BTreeMap::from([
            ("a_total", vec![("{pod=\"x\"}".to_owned(), 1.5)]),
            ("b_bytes", vec![(String::new(), 2.0)]),
        ]);
        assert_eq!(spell(&rows), "# TYPE a_total counter\na_total{pod=\"x\"} 1.5\n# TYPE b_bytes gauge\nb_bytes 2\n");
    }
}
