//! The project's own commands: `cargo xtask up | test | vm-test | bench | bench-kube | bench-gateway | dist`.

mod bench;
mod bench_gateway;
mod bench_kube;
mod dist;
mod packages;
mod run;
mod skipped;
mod test;
mod up;
mod vm;

use std::process::ExitCode;

use clap::Parser;

/// The project's own commands.
#[derive(Parser)]
enum Task {
    /// Build the release binary, install what it needs, start the daemon, and show the main job on real input
    Up,
    /// Install the test peers and run everything that CI runs
    Test,
    VmTest(vm::VmTest),
    /// Measure beside Docker Engine and print the ratios
    Bench(bench::Bench),
    BenchKube(bench_kube::BenchKube),
    BenchGateway(bench_gateway::BenchGateway),
    /// Build the static release binary into target/dist
    Dist,
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::Up => up::run(),
        Task::Test => test::run(),
        Task::VmTest(test) => test.run(),
        Task::Bench(bench) => bench.run(),
        Task::BenchKube(bench) => bench.run(),
        Task::BenchGateway(bench) => bench.run(),
        Task::Dist => dist::run().map(|_| ()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
