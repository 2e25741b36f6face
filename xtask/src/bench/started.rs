//! How containers say that their process runs: a byte into a pipe that is mounted into them.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, FileType, Mode, mknodat},
};

use crate::run::Result;

/// The longest a container's process may take.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// The pipe, and the directory that containers see as `/bench`.
pub struct Started {
    dir: PathBuf,
    pipe: File,
}

impl Started {
    /// Makes both.
    pub fn new(dir: PathBuf) -> Result<Self> {
        let path = dir.join("started");
        let failed = |e: std::io::Error| format!("cannot make the pipe {}: {e}", path.display());
        fs::create_dir_all(&dir).map_err(failed)?;
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).map_err(|e| failed(e.into()))?;
        // Open for writing too, so that it never ends.
        let pipe = File::options().read(true).write(true).open(&path).map_err(failed)?;
        Ok(Self { dir, pipe })
    }

    /// The directory to mount.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Waits until so many processes said that they run.
    pub fn wait(&self, processes: usize) -> Result<()> {
        let mut missing = processes;
        while missing > 0 {
            let ready = poll(&mut [PollFd::new(&self.pipe, PollFlags::IN)], Some(&PATIENCE))
                .map_err(|e| format!("poll: {e}"))?;
            if ready == 0 {
                return Err(format!("{missing} of {processes} containers started, and their processes do not run"));
            }
            let mut bytes = [0; 64];
            let room = missing.min(bytes.len());
            missing -= (&self.pipe).read(&mut bytes[..room]).map_err(|e| format!("the pipe: {e}"))?;
        }
        Ok(())
    }
}
