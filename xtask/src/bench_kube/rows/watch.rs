//! A thousand watchers, each on a connection of its own, and one change that all of them are told.

use std::{sync::mpsc, thread, time::Instant};

use serde_json::json;

use crate::{
    bench::table::{Target, Unit},
    bench_kube::{
        client::JSON,
        cluster::{self, Cluster},
        objects::path,
        pace::percentile,
        table::Line,
    },
    run::Result,
};

const WATCHERS: usize = 1000;
const ROUNDS: usize = 15;
/// Watchers do nothing deep.
const STACK: usize = 256 << 10;

pub fn measure(cluster: &mut Cluster) -> Result<Vec<Line>> {
    let (api, maps) = (cluster.api()?, path("", "configmaps"));
    let mut writer = api.connect()?;
    let map = |round: usize| {
        let data = json!({ "round": round.to_string(), "text": "x".repeat(500) });
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "watched" }, "data": data })
    };
    writer.create(&maps, &map(0))?;
    let list = cluster::json(&writer.get(&format!("{maps}?limit=1"), JSON)?)?;
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let before = cluster.rss_mb()?;
    let (told, hear) = mpsc::channel::<Result<Instant>>();
    // They end with the daemon, when their connections do.
    for _ in 0..WATCHERS {
        let (mut watcher, told) = (api.connect()?, told.clone());
        watcher.watch(&format!("{maps}?watch=1&resourceVersion={revision}"))?;
        let watch = move || {
            loop {
                let event = watcher.event().map(|_| Instant::now());
                let over = event.is_err();
                if told.send(event).is_err() || over {
                    return;
                }
            }
        };
        thread::Builder::new().stack_size(STACK).spawn(watch).map_err(|e| format!("a watcher: {e}"))?;
    }
    let all = || -> Result<Instant> {
        let mut last = None;
        for _ in 0..WATCHERS {
            last = last.max(Some(hear.recv().map_err(|e| e.to_string())??));
        }
        last.ok_or_else(|| "no watchers".to_owned())
    };
    let memory = cluster.rss_mb()? - before;
    let (mut walls_ms, mut cpu_ms) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let began = Instant::now();
        let (last, cpu) = cluster.cpu(|| {
            writer.replace(&format!("{maps}/watched"), &map(round))?;
            all()
        })?;
        walls_ms.push((last - began).as_secs_f64() * 1e3);
        cpu_ms.push(cpu);
    }
    Ok(vec![
        Line::new(
            "1,000 watchers and one change: until the last is told",
            percentile(&mut walls_ms, 50),
            Unit::Ms,
            Target::AtMost(100.0),
        ),
        Line::new("CPU of the daemon for it", percentile(&mut cpu_ms, 50), Unit::Ms, Target::Shown),
        Line::new("memory of 1,000 watchers", memory, Unit::Megabytes, Target::Shown),
    ])
}
