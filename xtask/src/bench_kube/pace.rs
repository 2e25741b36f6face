//! Requests at a rate, from several connections.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::client::{Api, Connection};
use crate::run::Result;

/// Connections at once.
const CLIENTS: usize = 8;

/// Does it `count` times at a rate; `ask` is given a connection and the number of the request. The milliseconds that each took, from when
/// its turn came, so that nothing a slow answer holds up is hidden.
pub fn at_rate(
    api: &Api,
    per_second: f64,
    count: usize,
    ask: impl Fn(&mut Connection, usize) -> Result<()> + Sync,
) -> Result<Vec<f64>> {
    let connections = (0..CLIENTS).map(|_| api.connect()).collect::<Result<Vec<_>>>()?;
    let (began, pause) = (Instant::now() + Duration::from_millis(5), Duration::from_secs_f64(1.0 / per_second));
    let client = |client: usize, mut connection: Connection| -> Result<Vec<f64>> {
        let mut walls_ms = Vec::with_capacity(count / CLIENTS + 1);
        for request in (client..count).step_by(CLIENTS) {
            let due = began + pause.mul_f64(request as f64);
            let now = Instant::now();
            // The client's own turn on the processor is not the server's time.
            let from = if now < due {
                thread::sleep(due - now);
                Instant::now()
            } else {
                due
            };
            ask(&mut connection, request)?;
            walls_ms.push(from.elapsed().as_secs_f64() * 1e3);
        }
        Ok(walls_ms)
    };
    all(connections, client)
}

/// Does it `count` times as fast as may be.
pub fn flat_out(api: &Api, count: usize, ask: impl Fn(&mut Connection, usize) -> Result<()> + Sync) -> Result<()> {
    let connections = (0..CLIENTS).map(|_| api.connect()).collect::<Result<Vec<_>>>()?;
    let client = |client: usize, mut connection: Connection| {
        (client..count).step_by(CLIENTS).try_for_each(|request| ask(&mut connection, request)).map(|()| Vec::new())
    };
    all(connections, client).map(drop)
}

fn all(
    connections: Vec<Connection>,
    client: impl Fn(usize, Connection) -> Result<Vec<f64>> + Sync,
) -> Result<Vec<f64>> {
    let client = &client;
    thread::scope(|scope| {
        let clients: Vec<_> =
            connections.into_iter().enumerate().map(|(n, one)| scope.spawn(move || client(n, one))).collect();
        let mut walls_ms = Vec::new();
        for client in clients {
            walls_ms.extend(client.join().unwrap_or_else(|_| Err("a client panicked".to_owned()))?);
        }
        Ok(walls_ms)
    })
}

/// So many of a hundred figures are not above it.
pub fn percentile(figures: &mut [f64], hundredths: usize) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let at = (figures.len() * hundredths).div_ceil(100).saturating_sub(1);
    figures.get(at).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let check = |count: u32, hundredths, expected: f64| {
            let mut figures: Vec<f64> = (1..=count).rev().map(f64::from).collect();
            assert_eq!(percentile(&mut figures, hundredths), expected, "{count} {hundredths}");
        };
        check(100, 99, 99.0);
        check(100, 100, 100.0);
        check(5, 50, 3.0);
        check(1, 99, 1.0);
    }
}
