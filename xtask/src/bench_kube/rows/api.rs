//! Requests for single objects at 500 a second.

use std::time::Duration;

use crate::{
    bench::table::{Target, Unit},
    bench_kube::{
        client::JSON,
        cluster::Cluster,
        objects::{path, pod},
        pace::{at_rate, flat_out, percentile},
        table::Line,
    },
    run::Result,
};

const RATE: f64 = 500.0;
const LASTS: Duration = Duration::from_secs(6);
/// Pods there are to be read.
const PODS: usize = 1000;

pub fn measure(cluster: &mut Cluster) -> Result<Vec<Line>> {
    let (api, pods) = (cluster.api()?, path("", "pods"));
    let count = (RATE * LASTS.as_secs_f64()) as usize;
    flat_out(&api, PODS, |connection, n| connection.create(&pods, &pod(&format!("old-{n}"), "nobody")))?;
    let get = || at_rate(&api, RATE, count, |one, n| one.get(&format!("{pods}/old-{}", n % PODS), JSON).map(drop));
    let (mut gets, get_ms) = cluster.cpu(get)?;
    let create = || at_rate(&api, RATE, count, |one, n| one.create(&pods, &pod(&format!("new-{n}"), "nobody")));
    let (mut creates, create_ms) = cluster.cpu(create)?;
    Ok(vec![
        Line::new("get a pod at 500 requests/s: p50", percentile(&mut gets, 50), Unit::Ms, Target::Shown),
        Line::new("get: p99", percentile(&mut gets, 99), Unit::Ms, Target::AtMost(5.0)),
        Line::new("get: CPU of the daemon for one", get_ms / count as f64, Unit::Ms, Target::Shown),
        Line::new("create a pod at 500 requests/s: p50", percentile(&mut creates, 50), Unit::Ms, Target::Shown),
        Line::new("create: p99", percentile(&mut creates, 99), Unit::Ms, Target::AtMost(20.0)).beside("SLO 1 s"),
        Line::new("create: CPU of the daemon for one", create_ms / count as f64, Unit::Ms, Target::Shown),
    ])
}
