//! Pods from the request that makes them until the API says that they are Ready; their image is there.

use std::{collections::BTreeSet, time::Instant};

use crate::{
    bench::{
        engine::ms_since,
        sides::median,
        table::{Target, Unit},
    },
    bench_kube::{
        client::{Connection, JSON},
        cluster::{Cluster, is, json, until},
        objects::{path, pod},
        pace::percentile,
        table::Line,
    },
    run::Result,
};

const ROUNDS: usize = 21;
const MANY: usize = 50;
const MANY_ROUNDS: usize = 3;

pub fn measure(cluster: &mut Cluster) -> Result<Vec<Line>> {
    let one = (0..ROUNDS).map(|round| run(cluster, &[format!("one-{round}")])).collect::<Result<Vec<_>>>()?;
    let many = |round: usize| run(cluster, &(0..MANY).map(|n| format!("many-{round}-{n}")).collect::<Vec<_>>());
    let many = (0..MANY_ROUNDS).map(many).collect::<Result<Vec<_>>>()?;
    let mut walls_ms: Vec<f64> = one.iter().map(|[wall_ms, _]| *wall_ms).collect();
    let all = |figures: &[[f64; 2]], which: usize| median(figures.iter().map(|figures| figures[which]));
    Ok(vec![
        Line::new("a pod until Ready: p50", percentile(&mut walls_ms, 50), Unit::Ms, Target::AtMost(300.0))
            .beside("SLO 5 s, p99"),
        Line::new("a pod until Ready: the slowest of 21", percentile(&mut walls_ms, 100), Unit::Ms, Target::Shown),
        Line::new("CPU of the daemon for it", all(&one, 1), Unit::Ms, Target::Shown),
        Line::new("50 pods at once until all are Ready", all(&many, 0), Unit::Ms, Target::AtMost(5000.0)),
        Line::new("CPU of the daemon for them", all(&many, 1), Unit::Ms, Target::Shown),
    ])
}

/// Makes pods and removes them; the milliseconds until all were Ready, and those of the daemon's CPU.
fn run(cluster: &Cluster, names: &[String]) -> Result<[f64; 2]> {
    let (api, pods) = (cluster.api()?, path("", "pods"));
    let (mut asker, mut watcher) = (api.connect()?, api.connect()?);
    let revision = json(&asker.get(&format!("{pods}?limit=1"), JSON)?)?["metadata"]["resourceVersion"].clone();
    watcher.watch(&format!("{pods}?watch=1&resourceVersion={}", revision.as_str().unwrap_or_default()))?;
    let began = Instant::now();
    let (wall_ms, cpu_ms) = cluster.cpu(|| {
        for name in names {
            asker.create(&pods, &pod(name, "default-scheduler"))?;
        }
        all_ready(&mut watcher, names)?;
        Ok(ms_since(began))
    })?;
    for name in names {
        asker.ask("DELETE", &format!("{pods}/{name}?gracePeriodSeconds=0"), JSON, "")?;
    }
    until("the pods are gone", || {
        let left = json(&asker.get(&pods, JSON)?)?;
        let containers = cluster.engine.api.ask("GET", "/containers/json?all=1", None)?;
        Ok((left["items"].as_array().is_none_or(Vec::is_empty) && containers.as_array().is_none_or(Vec::is_empty))
            .then_some(()))
    })?;
    Ok([wall_ms, cpu_ms])
}

fn all_ready(watcher: &mut Connection, names: &[String]) -> Result<()> {
    let mut awaited: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    while !awaited.is_empty() {
        let event = json(&watcher.event()?)?;
        let pod = &event["object"];
        if is(pod, "Ready") {
            awaited.remove(pod["metadata"]["name"].as_str().unwrap_or_default());
        }
    }
    Ok(())
}
