//! Many services: all at once, single endpoints, and a start over what is there.

use std::{path::Path, sync::atomic::Ordering::Relaxed, time::Instant};

use engine::Host;
use kernel::Linux;
use model::{
    address::Family,
    port::Protocol,
    service::{Report, ServiceReport},
};

use crate::{
    Outcome, ms,
    side::{Side, service, slice},
};

/// How many single endpoints come and go.
const CHANGES: u32 = 400;

pub fn measure(services: u32, directory: &Path) -> Outcome<()> {
    let mut side = Side::open(directory)?;
    println!("{services} services, 3 endpoints each");
    println!("empty: {} MiB", rss_mib()?);

    let slice = |number, endpoints| slice(number, Family::V4, Protocol::Tcp, endpoints);
    let report = ServiceReport {
        services: Report::All((0..services).map(|number| service(number, Family::V4, Protocol::Tcp)).collect()),
        slices: Report::All((0..services).map(|number| slice(number, 3)).collect()),
    };
    let start = Instant::now();
    let parts = side.report(report)?;
    println!("all in one batch: {:.0} ms ({parts})", ms(start));
    println!("loaded: {} MiB, {} surprises", rss_mib()?, side.surprises.load(Relaxed));

    let mut took = Vec::new();
    let cpu = cpu_ms()?;
    for turn in 0..CHANGES {
        // One goes, one comes.
        let puts = vec![slice((turn / 2) * 37 % services, if turn % 2 == 0 { 2 } else { 3 })];
        let slices = Report::Changes { puts, removes: vec![] };
        let start = Instant::now();
        side.report(ServiceReport { slices, ..ServiceReport::default() })?;
        took.push(ms(start));
    }
    let cpu = (cpu_ms()? - cpu) / f64::from(CHANGES);
    took.sort_by(f64::total_cmp);
    let (middle, last) = (took[took.len() / 2], took[took.len() - 1]);
    println!("one endpoint: {middle:.2} ms in the middle, {last:.2} ms at most, {cpu:.2} ms of CPU each");

    let start = Instant::now();
    let mut again = Host::new(Box::new(Linux::open(directory)?));
    let drift = again.converge(&side.state)?;
    println!("restart over what is there: {:.0} ms, {} changes", ms(start), drift.repairs.len());
    Ok(())
}

/// Milliseconds of CPU of this thread, the kernel's work for it too.
fn cpu_ms() -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().ok_or("empty")?.parse::<f64>()? / 1e6)
}

/// Resident memory of this process.
fn rss_mib() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse::<u64>()? / 1024)
}
