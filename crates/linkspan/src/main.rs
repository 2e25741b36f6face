//! The binary: verbs, configuration, wiring. It constructs everything and decides nothing.
#![forbid(unsafe_code)]

mod admin;
mod cli;
mod config;
mod daemon;
mod kube;
mod listeners;
mod view;
mod world;

use std::{env, process::ExitCode};

use kernel::allocator::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::new();

fn main() -> ExitCode {
    // The shim, the init inside containers and the first process of a sandbox are this binary too; they must run before any thread exists.
    let mut args = env::args_os().skip(1);
    match args.next().as_deref().and_then(|verb| verb.to_str()) {
        Some("shim") => runtime::shim::main(args),
        Some("init") => runtime::init::main(args),
        Some("reaper") => runtime::sandbox::reaper::main(args),
        _ => cli::main(),
    }
}
