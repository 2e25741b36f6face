//! The real world, as decisions and the engine see it.

use std::{
    fs::{self, File},
    io::{self, Read},
    net::{TcpListener, UdpSocket},
    time::{SystemTime, UNIX_EPOCH},
};

use engine::{Places, World};
use model::{Command, Facts, SandboxId, State};
use plan::dns::ResolvConf;
use tracing::warn;

/// This host.
pub struct RealWorld {
    places: Places,
    random: File,
}

impl RealWorld {
    /// The host that the calling thread is on.
    pub fn new(places: Places) -> io::Result<Self> {
        Ok(Self { places, random: File::open("/dev/urandom")? })
    }

    fn nonce(&mut self) -> u64 {
        let mut bytes = [0; 8];
        if let Err(error) = self.random.read_exact(&mut bytes) {
            // Whatever is drawn is checked against what is taken, so a poor draw costs only another choice.
            warn!(%error, "/dev/urandom cannot be read");
        }
        u64::from_le_bytes(bytes)
    }
}
