//! What services cost, in network namespaces of its own: `cargo run --release -p engine --example service_rate [SERVICES]`. Each has
//! three endpoints. Needs root; nothing outside the namespaces is touched.

mod flows;
mod load;
mod side;

use std::{error::Error, path::Path, time::Instant};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let services = std::env::args().nth(1).map_or(Ok(10_000), |number| number.parse())?;
    apart(|directory| load::measure(services, directory))?;
    apart(flows::measure)
}

/// In namespaces and a directory of their own.
fn apart(measure: impl FnOnce(&Path) -> Outcome<()> + Send) -> Outcome<()> {
    let directory = std::env::temp_dir().join(format!("service-rate-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let measured = kernel::socket::in_private_namespaces(|| measure(&directory));
    std::fs::remove_dir_all(&directory)?;
    measured?
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
