//! What libcontainer's processes say when they fail. The causes of an error do not survive the way from the container
//! to the shim, but each of them is an event first; these are kept in the shim's own log.

use std::{
    fmt::{self, Write as _},
    fs::File,
    io::{self, Write as _},
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

/// The first errors that were kept, which are the deepest causes, in one line; none when there are none.
pub fn cause(dir: &Path) -> Option<String> {
    let log = std::fs::read_to_string(dir.join(file::SHIM_LOG)).ok()?;
    log.lines().find_map(|line| line.strip_prefix(MARK)).map(str::to_owned)
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
