//! A list of 10,000 pods: whole, by pages, and as the table that kubectl prints.

use std::time::Instant;

use crate::{
    bench::{
        engine::ms_since,
        sides::median,
        table::{Target, Unit},
    },
    bench_kube::{
        client::{Connection, JSON, TABLE},
        cluster::{Cluster, json},
        objects::{path, pod},
        pace::flat_out,
        table::Line,
    },
    run::Result,
};

const PODS: usize = 10_000;
const ROUNDS: usize = 5;
/// As kubectl asks (`--chunk-size`).
const PAGE: usize = 500;

pub fn measure(cluster: &mut Cluster) -> Result<Vec<Line>> {
    let (api, pods) = (cluster.api()?, path("", "pods"));
    flat_out(&api, PODS, |connection, n| connection.create(&pods, &pod(&format!("p{n:05}"), "nobody")))?;
    let (mut connection, mut bytes) = (api.connect()?, 0);
    // Wall time, and the daemon's CPU.
    let mut figures = |accept: &str, by_pages: bool| -> Result<[f64; 2]> {
        let (mut walls_ms, mut cpus_ms) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let ((), cpu_ms) = cluster.cpu(|| {
                if by_pages {
                    pages(&mut connection, &pods, accept)?;
                } else {
                    bytes = connection.get(&pods, accept)?.len();
                }
                Ok(())
            })?;
            walls_ms.push(ms_since(began));
            cpus_ms.push(cpu_ms);
        }
        Ok([walls_ms, cpus_ms].map(|all| median(all.into_iter())))
    };
    let [[table, table_cpu], [table_pages, _], [pages, _], [whole, _]] =
        [figures(TABLE, false)?, figures(TABLE, true)?, figures(JSON, true)?, figures(JSON, false)?];
    Ok(vec![
        Line::new("list of 10,000 pods, as JSON over TLS", whole, Unit::Ms, Target::AtMost(300.0)),
        Line::new("its size", bytes as f64 / 1e6, Unit::Megabytes, Target::Shown),
        Line::new("by pages of 500", pages, Unit::Ms, Target::AtMost(300.0)),
        Line::new("as a table, as kubectl prints", table, Unit::Ms, Target::AtMost(300.0)),
        Line::new("CPU of the daemon for it", table_cpu, Unit::Ms, Target::Shown),
        Line::new("as a table, by pages of 500", table_pages, Unit::Ms, Target::AtMost(300.0)),
    ])
}

fn pages(connection: &mut Connection, path: &str, accept: &str) -> Result<()> {
    let mut next = String::new();
    loop {
        let page = connection.get(&format!("{path}?limit={PAGE}&continue={next}"), accept)?;
        next = token(&page)?;
        if next.is_empty() {
            return Ok(());
        }
    }
}

/// How to go on: a page is not read for it, whose reading would take longer than its making.
fn token(page: &[u8]) -> Result<String> {
    let name = b"\"continue\":\"";
    let Some(at) = page.windows(name.len()).position(|window| window == name) else { return Ok(String::new()) };
    let rest = &page[at + name.len() - 1..];
    let end = rest[1..].iter().position(|byte| *byte == b'"').ok_or("no end of the token")?;
    json(&rest[..end + 2]).map(|token| token.as_str().unwrap_or_default().to_owned())
}
