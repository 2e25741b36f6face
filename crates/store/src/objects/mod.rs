//! Objects with revisions: what the Kubernetes API keeps. One handle, two homes: a file on this machine (`sqlite.rs`), an etcd (`etcd/`).
//!
//! All reads are served from memory and never wait for a write; the homes keep what was acknowledged and say in which order it
//! happened. What lately happened is kept too, so that a watch goes on where another left off, also after a restart.
//!
//! Keys are `/GROUP/RESOURCE/NAMESPACE/NAME`; nothing here depends on it. What an object is, is the caller's business.

mod error;
mod etcd;
mod memory;
mod object;
mod snapshot;
mod sqlite;
mod watch;
mod world;

use std::{
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

pub use error::{Compacted, CutOff, ObjectsError, WriteError};
pub use etcd::{Credentials, Etcd};
pub use object::{Event, Expect, Revision, Stored, Written};
pub use snapshot::Snapshot;
pub use watch::Watch;

use memory::Memory;

/// How much of what happened is kept. What exceeds any of these is forgotten, the oldest first.
#[derive(Debug, Clone)]
pub struct Keep {
    /// Events.
    pub events: usize,
    /// What they take, in bytes.
    pub bytes: usize,
    /// Their age, in milliseconds; also of past snapshots.
    pub age_ms: u64,
    /// Past snapshots that were asked for.
    pub snapshots: usize,
}

impl Keep {
    fn with_slack(&self) -> Self {
        Self {
            events: self.events + self.events / 8,
            bytes: self.bytes + self.bytes / 8,
            age_ms: self.age_ms + self.age_ms / 8,
            snapshots: self.snapshots,
        }
    }
}

impl Default for Keep {
    fn default() -> Self {
        Self { events: 20_000, bytes: 32 << 20, age_ms: 10 * 60 * 1000, snapshots: 16 }
    }
}

/// Milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How objects are served.
#[derive(Clone)]
pub struct Options {
    /// How much of what happened is kept.
    pub keep: Keep,
    /// What dates the events.
    pub clock: Clock,
    /// How long a read waits for a revision that is not here yet.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let clock = || {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        };
        Self { keep: Keep::default(), clock: Arc::new(clock), patience: Duration::from_secs(3) }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("keep", &self.keep).field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// The objects. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Objects {
    memory: Arc<Memory>,
    home: Home,
}

#[derive(Debug, Clone)]
enum Home {
    Sqlite(sqlite::Writer),
    Etcd(Arc<etcd::Remote>),
}

impl Objects {
    /// Opens the file at this path, or makes it if there is none. Only one process may have it open.
    pub async fn open_sqlite(path: &Path, options: Options) -> Result<Self, ObjectsError> {
        let (memory, writer) = sqlite::open(path, options).await?;
        Ok(Self { memory, home: Home::Sqlite(writer) })
    }

    /// Goes to an etcd, 3.4 or newer, which others may use at the same time.
    pub async fn open_etcd(etcd: Etcd, options: Options) -> Result<Self, ObjectsError> {
        let (memory, remote) = etcd::open(etcd, options).await?;
        Ok(Self { memory, home: Home::Etcd(remote) })
    }

    /// Whether others may write them too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.home, Home::Etcd(_))
    }

    /// The newest objects: all that was written before this call, by whomever.
    pub async fn snapshot(&self) -> Result<Snapshot, ObjectsError> {
        match &self.home {
            Home::Sqlite(_) => Ok(self.cached()),
            Home::Etcd(remote) => remote.snapshot().await,
        }
    }

    /// The objects as this process knows them now. On an etcd that others write to, they may be some milliseconds old.
    #[must_use]
    pub fn cached(&self) -> Snapshot {
        self.memory.world().snapshot.clone()
    }

    /// The objects at a past revision, as long as what happened since is kept.
    pub fn snapshot_at(&self, revision: Revision) -> Result<Snapshot, Compacted> {
        self.memory.snapshot_at(revision)
    }

    /// Objects not older than a revision. One that is not here yet is waited for, but not long: then it is [`ObjectsError::Ahead`].
    pub async fn snapshot_since(&self, revision: Revision) -> Result<Snapshot, ObjectsError> {
        match &self.home {
            Home::Sqlite(_) => self.memory.wait_for(revision, self.memory.options.patience).await,
            Home::Etcd(remote) => remote.snapshot_since(revision).await,
        }
    }

    /// Writes an object, or deletes it when there is no value. When this returns, the disk has it (or etcd, whose word that is), and every
    /// read has it. A write is done even if the future is dropped.
    pub async fn write(&self, key: &str, expect: Expect, value: Option<Bytes>) -> Result<Written, WriteError> {
        match &self.home {
            Home::Sqlite(writer) => writer.write(key, expect, value).await,
            Home::Etcd(remote) => remote.write(key, expect, value).await,
        }
    }

    /// Watches the objects whose keys begin with the prefix, from a revision on. Events at this revision are not told.
    pub fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Compacted> {
        self.memory.watch(prefix, after)
    }

    /// Ends all watches, refuses writes from now on, and lets go of the file or the etcd when what was asked before is done.
    pub async fn close(&self) {
        self.memory.close();
        match &self.home {
            Home::Sqlite(writer) => writer.close().await,
            Home::Etcd(remote) => remote.close(),
        }
    }
}
