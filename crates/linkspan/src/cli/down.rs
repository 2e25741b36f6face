//! `linkspan down`: nothing of ours stays on the host.

use std::{
    fs::File,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use rustix::fs::{FlockOperation, flock};

use super::{Daemon, Outcome};
use crate::admin::{self, Ask};

/// The longest the daemon may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stop all containers, take every link, namespace and rule of linkspan off the host, and end the daemon
///
/// What is under the data root (images, volumes, containers) stays for the next `linkspan up`.
#[derive(Args)]
pub struct Down {
    #[command(flatten)]
    daemon: Daemon,
}

impl Down {
    pub fn run(self) -> Outcome {
        // The file itself goes before the daemon does.
        let held = File::open(admin::lock(&self.daemon.run_dir));
        print!("{}", admin::ask(&self.daemon.run_dir, &Ask::Down)?);
        if held.is_ok_and(|lock| !is_let_go(&lock)) {
            println!("The daemon still waits for clients that have not hung up.");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether the daemon has ended, which is soon.
fn is_let_go(lock: &File) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if flock(lock, FlockOperation::NonBlockingLockShared).is_ok() {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    false
}
