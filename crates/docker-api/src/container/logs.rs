//! `GET /containers/{id}/logs`: what its process wrote, and goes on to write.

use std::{collections::BTreeMap, io, sync::Arc};

use bytes::Bytes;
use engine::WaitFor;
use jiff::Timestamp;
use model::{
    Container,
    container::{Log, Terminal},
};
use runtime::{
    log::{
        Entry,
        reader::{Follower, Reader, Wish},
    },
    shim::protocol::Stream,
};
use tokio::sync::mpsc::Sender;

use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
    find,
    hijack::Output,
    query::{self, Query},
    stream::{Framing, Terms},
    time,
};

/// How entries are written.
#[derive(Clone, Copy, Debug)]
struct Style {
    framing: Framing,
    stdout: bool,
    stderr: bool,
    timestamps: bool,
    details: bool,
}

pub(super) async fn logs(api: &Arc<Api>, name: &str, call: &Call) -> Result<Answer, ApiError> {
    let query = &call.query;
    let state = api.engine.state();
    let container = find::container(&state, name)?;
    let style = Style {
        framing: Framing::of_terminal(matches!(container.process.terminal, Terminal::Pty { .. })),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        timestamps: query.flag("timestamps"),
        details: query.flag("details"),
    };
    if !style.stdout && !style.stderr {
        return Err(ApiError::invalid("Bad parameters: you must choose at least one stream"));
    }
    if container.log == Log::None {
        return Err(ApiError::not_implemented("configured logging driver does not support reading"));
    }
    let wish = wish(query, time::now_ms())?;
    let path = api.places.log(&container.id);
    // Subscribed before the log is read, so that its end is not missed.
    let ended = container.is_live().then(|| api.engine.wait(&container.id, WaitFor::NotRunning));
    let reader = tokio::task::spawn_blocking(move || Reader::open(&path, wish)).await;
    let reader = reader.map_err(io::Error::other).and_then(|reader| reader).map_err(unreadable)?;
    let (sender, answer) = answer::pipe(style.framing.content_type(call.version));
    match ended.filter(|_| query.flag("follow")) {
        Some(ended) => {
            let follower = Follower::new(reader).map_err(unreadable)?;
            tokio::spawn(async move {
                let ended = async move { drop(ended.await) };
                cut_on_error(&sender, follow(follower, ended, style, &sender).await).await;
            });
        }
        None => drop(tokio::task::spawn_blocking(move || {
            let outcome = all(reader, style, &sender);
            if let Err(error) = outcome {
                // Nobody is there any more, or the log cannot be read: either way this is the end.
                let _ = sender.blocking_send(Err(error));
            }
        })),
    }
    Ok(answer)
}

/// Writes what the log has now to a taken-over connection.
pub(super) async fn replay(api: &Api, container: &Container, terms: &Terms, mut to: Output) {
    let (stdout, stderr) = (terms.stdout, terms.stderr);
    let style = Style { framing: terms.framing, stdout, stderr, timestamps: false, details: false };
    let path = api.places.log(&container.id);
    let Ok(Ok(mut reader)) = tokio::task::spawn_blocking(move || Reader::open(&path, Wish::default())).await else {
        return;
    };
    while let Ok(Some(entry)) = reader.next_now() {
        if let Some(bytes) = style.write(&entry)
            && to.write(bytes).await.is_err()
        {
            return;
        }
    }
    to.finish().await;
}

fn unreadable(error: io::Error) -> ApiError {
    ApiError::internal(format!("cannot read the log: {error}"))
}

/// Reads `tail`, `since` and `until`.
fn wish(query: &Query, now_ms: i64) -> Result<Wish, ApiError> {
    let moment = |name: &str| -> Result<Option<Timestamp>, ApiError> {
        let Some(text) = query.get(name).filter(|text| *text != "0") else { return Ok(None) };
        let at = Timestamp::from_nanosecond(time::parse_ns(text, now_ms)?);
        at.map(Some).map_err(|_| ApiError::invalid(format!("invalid time {text:?}: it is out of range")))
    };
    // Whatever is no number means all.
    let tail = query.get("tail").and_then(|text| text.parse().ok());
    Ok(Wish { tail, since: moment("since")?, until: moment("until")? })
}

type Pipe = Sender<io::Result<Bytes>>;

fn all(mut reader: Reader, style: Style, to: &Pipe) -> io::Result<()> {
    while let Some(entry) = reader.next_now()? {
        if let Some(bytes) = style.write(&entry)
            && to.blocking_send(Ok(bytes)).is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}

async fn follow(mut log: Follower, ended: impl Future<Output = ()>, style: Style, to: &Pipe) -> io::Result<()> {
    tokio::pin!(ended);
    loop {
        let entry = tokio::select! {
            entry = log.next() => entry?,
            () = &mut ended => break,
            () = to.closed() => return Ok(()),
        };
        let Some(entry) = entry else { return Ok(()) };
        if let Some(bytes) = style.write(&entry)
            && to.send(Ok(bytes)).await.is_err()
        {
            return Ok(());
        }
    }
    while let Some(entry) = log.next_now()? {
        if let Some(bytes) = style.write(&entry)
            && to.send(Ok(bytes)).await.is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}

async fn cut_on_error(to: &Pipe, outcome: io::Result<()>) {
    if let Err(error) = outcome {
        // A client that has left needs no error.
        let _ = to.send(Err(error)).await;
    }
}

impl Style {
    fn write(self, entry: &Entry) -> Option<Bytes> {
        let wanted = if entry.stream == Stream::Stdout { self.stdout } else { self.stderr };
        if !wanted {
            return None;
        }
        let mut text = String::with_capacity(entry.log.len());
        if self.timestamps {
            text += &format!("{} ", entry.time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ"));
        }
        if self.details {
            text += &format!("{} ", details(&entry.attrs));
        }
        text += &entry.log;
        Some(self.framing.frame(entry.stream, text.into_bytes()))
    }
}

/// Writes `a=1,b=2`.
fn details(attrs: &BTreeMap<String, String>) -> String {
    let pair = |(name, value): (&String, &String)| format!("{}={}", query::encode(name), query::encode(value));
    attrs.iter().map(pair).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes() {
        let found = wish(&Query::parse("tail=5&since=10&until=20.5"), 0).unwrap();
        let moment = |ns| Some(Timestamp::from_nanosecond(ns).unwrap());
        assert_eq!(found, Wish { tail: Some(5), since: moment(10_000_000_000), until: moment(20_500_000_000) });
        assert_eq!(wish(&Query::parse("tail=all&since=0&until="), 0).unwrap(), Wish::default());
        assert!(wish(&Query::parse("since=later"), 0).is_err());
    }

    #[test]
    fn lines() {
        let entry = Entry {
            log: "hello\n".to_owned(),
            stream: Stream::Stderr,
            attrs: BTreeMap::new(),
            time: "2026-01-02T03:04:05.6Z".parse().unwrap(),
        };
        let style = Style { framing: Framing::Raw, stdout: true, stderr: true, timestamps: true, details: false };
        let shown = |style: Style, entry| String::from_utf8(style.write(entry).unwrap().to_vec()).unwrap();
        assert_eq!(shown(style, &entry), "2026-01-02T03:04:05.600000000Z hello\n");
        assert_eq!(shown(Style { timestamps: false, details: true, ..style }, &entry), " hello\n");
        let attrs = [("tag", "a/b c"), ("é,", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let named = Entry { attrs: attrs.into(), ..entry.clone() };
        assert_eq!(
            shown(Style { details: true, ..style }, &named),
            "2026-01-02T03:04:05.600000000Z tag=a%2Fb+c,%C3%A9%2C=1 hello\n"
        );
        assert_eq!(Style { stderr: false, ..style }.write(&entry), None);
    }
}
