//! What pulls, pushes and loads say while they work; the words are Docker's. Callers choose the wire form.

use std::fmt;
use std::sync::Arc;

/// One piece of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A line for itself: `Digest: sha256:...`, `Status: Downloaded newer image for busybox:latest`.
    Line(String),
    /// A line about something named: `latest: Pulling from library/busybox`.
    Named {
        /// Tag or digest.
        id: String,
        /// The rest.
        text: String,
    },
    /// A layer's state changed.
    Layer {
        /// Twelve digits.
        id: String,
        /// What it is now.
        phase: Phase,
    },
}

/// How far a layer has come. `Display` gives Docker's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Known, not begun.
    PullingFsLayer,
    /// Others go first.
    Waiting,
    /// Bytes come.
    Downloading(Amount),
    /// All bytes are here and being compared with the digest.
    VerifyingChecksum,
    /// And they are right.
    DownloadComplete,
    /// Compressed bytes unpacked.
    Extracting(Amount),
    /// Done.
    PullComplete,
    /// The store had it.
    AlreadyExists,
    /// About to be pushed.
    Preparing,
    /// Compressed bytes sent; the total is that of the uncompressed layer.
    Pushing(Amount),
    /// Done.
    Pushed,
    /// The registry had it here.
    LayerAlreadyExists,
    /// The registry had it there.
    MountedFrom(String),
    /// Bytes of an archive unpacked.
    LoadingLayer(Amount),
}

/// So many bytes of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Done.
    pub current: u64,
    /// In all; 0 where nobody knows.
    pub total: u64,
}

impl Phase {
    /// The bytes of the phases that have some.
    pub fn amount(&self) -> Option<Amount> {
        match self {
            Phase::Downloading(amount)
            | Phase::Extracting(amount)
            | Phase::Pushing(amount)
            | Phase::LoadingLayer(amount) => Some(*amount),
            _ => None,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::PullingFsLayer => "Pulling fs layer",
            Phase::Waiting => "Waiting",
            Phase::Downloading(_) => "Downloading",
            Phase::VerifyingChecksum => "Verifying Checksum",
            Phase::DownloadComplete => "Download complete",
            Phase::Extracting(_) => "Extracting",
            Phase::PullComplete => "Pull complete",
            Phase::AlreadyExists => "Already exists",
            Phase::Preparing => "Preparing",
            Phase::Pushing(_) => "Pushing",
            Phase::Pushed => "Pushed",
            Phase::LayerAlreadyExists => "Layer already exists",
            Phase::MountedFrom(repository) => return write!(f, "Mounted from {repository}"),
            Phase::LoadingLayer(_) => "Loading layer",
        })
    }
}

/// Who listens. Called from several threads; must not block for long.
#[derive(Clone)]
pub struct ProgressSink(Arc<dyn Fn(Progress) + Send + Sync>);

impl ProgressSink {
    /// Tells this function.
    pub fn new(listener: impl Fn(Progress) + Send + Sync + 'static) -> ProgressSink {
        ProgressSink(Arc::new(listener))
    }

    /// Tells nobody.
    pub fn silent() -> ProgressSink {
        ProgressSink::new(|_| {})
    }

    pub(crate) fn line(&self, text: impl Into<String>) {
        (self.0)(Progress::Line(text.into()));
    }

    pub(crate) fn named(&self, id: &str, text: impl Into<String>) {
        (self.0)(Progress::Named { id: id.to_owned(), text: text.into() });
    }

    pub(crate) fn layer(&self, id: &str, phase: Phase) {
        (self.0)(Progress::Layer { id: id.to_owned(), phase });
    }
}

/// Passes bytes through and tells how many, not oftener than each half mebibyte.
pub(crate) struct Metered<T, F: Fn(u64)> {
    inner: T,
    tell: F,
    current: u64,
    told: u64,
}

/// Small enough for a smooth bar, large enough to be cheap.
pub(crate) const STEP: u64 = 512 << 10;

impl<T, F: Fn(u64)> Metered<T, F> {
    pub(crate) fn new(inner: T, tell: F) -> Self {
        Metered { inner, tell, current: 0, told: 0 }
    }

    fn count(&mut self, n: usize) {
        self.current += n as u64;
        if self.current >= self.told + STEP || n == 0 && self.told < self.current {
            self.told = self.current;
            (self.tell)(self.current);
        }
    }
}

impl<R: std::io::Read, F: Fn(u64)> std::io::Read for Metered<R, F> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.count(n);
        Ok(n)
    }
}

impl<W: std::io::Write, F: Fn(u64)> std::io::Write for Metered<W, F> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.count(n);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
