//! The part of the real binary that this crate's tests need: the shim and the init.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(verb) if verb == runtime::shim::VERB => runtime::shim::main(args),
        Some(verb) if verb == runtime::init::VERB => runtime::init::main(args),
        _ => ExitCode::from(2),
    }
}
