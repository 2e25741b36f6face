//! The cluster's name server, with a thousand services.

use crate::{
    bench::{
        load::dns::{self, Asked},
        sides::median,
        table::{Target, Unit},
    },
    bench_kube::{
        cluster::{Cluster, until},
        objects::{path, service},
        pace::flat_out,
        table::Line,
    },
    run::Result,
};

const SERVICES: usize = 1000;
const ROUNDS: usize = 5;
const DURATION_MS: u64 = 1000;
/// Where it is.
const SERVER: &str = "10.96.0.10:53";
/// Answers a second that are promised for a core.
const PROMISED: f64 = 60_000.0;

pub fn measure(cluster: &mut Cluster) -> Result<Vec<Line>> {
    flat_out(&cluster.api()?, SERVICES, |one, n| one.create(&path("", "services"), &service(n)))?;
    let names: Vec<_> = (0..SERVICES).map(|n| format!("s{n}.default.svc.cluster.local")).collect();
    let asked = |names: &[String], duration_ms, rate| {
        let asked = Asked { server: SERVER.to_owned(), names: names.to_owned(), duration_ms, rate };
        dns::run(&asked).map_err(|e| format!("the name server: {e}"))
    };
    until("all names are known", || {
        Ok(names.iter().all(|name| asked(std::slice::from_ref(name), 1, None).is_ok()).then_some(()))
    })?;
    let (mut core_rate, mut rate, mut lost, mut p99) = (Vec::new(), Vec::new(), 0.0, Vec::new());
    for _ in 0..ROUNDS {
        let ([answers, wall_ms, unanswered, _], cpu_ms) = cluster.cpu(|| asked(&names, DURATION_MS, None))?;
        core_rate.push(answers / cpu_ms * 1e3);
        rate.push(answers / wall_ms * 1e3);
        lost += unanswered;
        let [_, _, _, p99_us] = asked(&names, DURATION_MS, Some(PROMISED / 2.0))?;
        p99.push(p99_us / 1e3);
    }
    let of = |figures: Vec<f64>| median(figures.into_iter());
    Ok(vec![
        Line::new(
            "DNS at 10.96.0.10, 1,000 services: answers for a core of the daemon",
            of(core_rate),
            Unit::PerSecond,
            Target::AtLeast(PROMISED),
        )
        .beside("CoreDNS 33,700 /s on two"),
        Line::new("DNS: answers beside the clients on the same machine", of(rate), Unit::PerSecond, Target::Shown),
        Line::new("DNS: queries lost", lost, Unit::Count, Target::AtMost(0.0)),
        Line::new("DNS: p99 at half of the promised load", of(p99), Unit::Ms, Target::AtMost(1.0)),
    ])
}
