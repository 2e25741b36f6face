//! What libcontainer's processes say when they fail. The causes of an error do not survive the way from the container
//! to the shim, but each of them is an event first; these are kept in the shim's own log.

use std::{
    fmt::{self, Write as _},
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::fd::AsFd,
    path::Path,
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::shim::launch::file;

/// Starts lines that come from here.
const MARK: &str = "error: ";
/// A log that is longer is begun anew.
const LOG_MAX_BYTES: u64 = 256 * 1024;

/// Writes errors to a file that stays open, and reachable, inside the container until its program is executed.
struct Errors {
    file: File,
}

/// Keeps errors from now on. Standard error is the shim's log.
pub fn begin() -> io::Result<()> {
    // A copy, because file descriptor 2 becomes the container's.
    let file = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    // Fails only when somebody else has begun already; then they keep the errors.
    let _ = tracing::subscriber::set_global_default(Errors { file });
    Ok(())
}

/// The place in the log up to which it tells of earlier things.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// Where the log ends now.
pub fn mark(dir: &Path) -> Mark {
    let log = dir.join(file::SHIM_LOG);
    let length = fs::metadata(&log).map_or(0, |metadata| metadata.len());
    if length <= LOG_MAX_BYTES {
        return Mark(length);
    }
    // A container in which execs fail for years must not fill the run directory, which is memory.
    let _ = File::options().write(true).open(&log).and_then(|file| file.set_len(0));
    Mark(0)
}

/// The errors that were kept since then, the deepest causes first.
pub fn since(dir: &Path, mark: Mark) -> Vec<String> {
    let mut text = Vec::new();
    let read = File::open(dir.join(file::SHIM_LOG)).and_then(|mut log| {
        log.seek(SeekFrom::Start(mark.0))?;
        log.take(LOG_MAX_BYTES).read_to_end(&mut text)
    });
    if read.is_err() {
        return Vec::new();
    }
    String::from_utf8_lossy(&text).lines().filter_map(|line| line.strip_prefix(MARK)).map(str::to_owned).collect()
}

impl Subscriber for Errors {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::from(MARK));
        event.record(&mut text);
        let line = text.0.replace('\n', " ") + "\n";
        let _ = (&self.file).write_all(line.as_bytes());
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The message, then `name=value` of each field.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let separator = if self.0 == MARK { "" } else { " " };
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{separator}{value:?}"),
            name => write!(self.0, "{separator}{name}={value:?}"),
        };
    }
}
