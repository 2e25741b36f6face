//! From exec of the daemon until it answers and its node is Ready: over nothing, with the authority's keys to be made.

use std::{process::Command, time::Instant};

use crate::{
    bench::{
        engine::ms_since,
        sides::median,
        table::{Target, Unit},
    },
    bench_kube::{
        cluster::{Cluster, until},
        table::Line,
    },
    run::{Result, output},
};

const ROUNDS: usize = 7;

pub fn measure(cluster: &mut Cluster) -> Result<Vec<Line>> {
    let (mut docker, mut ready, mut seen, mut rss) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let stopped_ms = {
            docker.push(cluster.start_anew()?);
            ms_since(began) - docker.last().copied().unwrap_or_default()
        };
        cluster.until_ready()?;
        ready.push(ms_since(began) - stopped_ms);
        rss.push(cluster.rss_mb()?);
        let began = Instant::now();
        let docker_ms = cluster.start_anew()?;
        let stopped_ms = ms_since(began) - docker_ms;
        cluster.api()?;
        until("kubectl sees the node Ready", || {
            let said = output(&mut kubectl(cluster, &["get", "nodes", "--no-headers"]));
            Ok(said.ok().filter(|said| said.split_whitespace().nth(1) == Some("Ready")))
        })?;
        seen.push(ms_since(began) - stopped_ms);
    }
    let of = |figures: Vec<f64>| median(figures.into_iter());
    Ok(vec![
        Line::new("exec until the Docker API answers", of(docker), Unit::Ms, Target::AtMost(100.0)),
        Line::new("exec until the node is Ready, over no data", of(ready), Unit::Ms, Target::AtMost(1000.0))
            .beside("4.1 s, without a node"),
        Line::new("the same until `kubectl get nodes` shows it", of(seen), Unit::Ms, Target::AtMost(1000.0)),
        Line::new("RSS then, of everything", of(rss), Unit::Megabytes, Target::AtMost(100.0))
            .beside("508 MB, without a node"),
    ])
}

fn kubectl(cluster: &Cluster, words: &[&str]) -> Command {
    let mut kubectl = cluster.engine.host.inside();
    kubectl.args(["env", "KUBECONFIG=/run/linkspan/kubeconfig", "kubectl"]).args(words);
    kubectl
}
