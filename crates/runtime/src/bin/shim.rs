//! The part of the real binary that this crate's tests need: the shim, the init and the reaper.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(verb) if verb == runtime::shim::VERB => runtime::shim::main(args),
        Some(verb) if verb == runtime::init::VERB => runtime::init::main(args),
        Some(verb) if verb == runtime::sandbox::reaper::VERB => runtime::sandbox::reaper::main(args),
        _ => ExitCode::from(2),
    }
}
