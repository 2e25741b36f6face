//! What happens to objects, as it happens (the API concepts page, "Efficient detection of changes"; "Streaming lists").

use std::{convert::Infallible, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    Response, StatusCode,
    body::Frame,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::json;
use store::objects::{CutOff, Event, ObjectsError, Revision, Snapshot, Stored, Watch};
use tokio::time::{Instant, timeout_at};

use super::list::{self, Filter};
use crate::{
    answer::{self, Answer, Form},
    kind::Kind,
    object::meta,
    query::Query,
    server::{self, Server},
    status::Failure,
    table::{Include, Rows},
};

/// How often a watch that has nothing to tell says how far it is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long a watch lasts unless its client says otherwise: long, and not all at the same time.
const LAST_MIN: Duration = Duration::from_secs(1800);
/// What is written at a time, bytes.
const CHUNK: usize = 64 * 1024;

/// What a client watches.
pub struct Asked {
    /// The kind.
    pub kind: &'static Kind,
    /// The namespace, or all.
    pub namespace: Option<String>,
    /// Which objects.
    pub filter: Filter,
    /// As what they are sent.
    pub form: Form,
    /// What rows have of their objects.
    pub include: Include,
}

/// Begins to watch.
pub async fn watch(server: &Server, asked: Asked, query: &Query) -> Result<Answer, Failure> {
    let prefix = server::prefix(asked.kind, asked.namespace.as_deref());
    query.check_list()?;
    let since = list::revision(query.text("resourceVersion"))?;
    let send_initial = query.is("sendInitialEvents");
    let bookmarks = query.is("allowWatchBookmarks");
    let snapshot = match since {
        Some(since) if since.0 > 0 => match server.objects.snapshot_since(since).await {
            Err(ObjectsError::Ahead { asked, newest }) => {
                return Err(Failure::revision_in_the_future(asked.0, newest.0));
            }
            outcome => outcome?,
        },
        _ => server.objects.snapshot().await?,
    };
    let explicit = since.filter(|since| since.0 > 0);
    // Without a version, or when it is asked for, what is there comes first.
    let first = match explicit {
        Some(since) if !send_initial => Err(since),
        _ if query.text("sendInitialEvents") == "false" => Err(snapshot.revision),
        _ => Ok(snapshot),
    };
    let after = first.as_ref().map_or_else(|since| *since, |snapshot| snapshot.revision);
    let watch = match server.objects.watch(&prefix, after) {
        Ok(watch) => watch,
        // Told as what happens first, for those who look for it there.
        Err(gone) => {
            let gone = Failure::expired(format!("too old resource version: {} ({})", gone.asked, gone.oldest));
            let mut told = BytesMut::new();
            frame(&mut told, "ERROR", gone.body().to_string().as_bytes());
            return Ok(answer::bytes(StatusCode::OK, told.freeze()));
        }
    };
    let watch = if bookmarks { watch.with_progress(BOOKMARK_EVERY) } else { watch };
    let last = match query.int("timeoutSeconds")? {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds.unsigned_abs()),
        _ => LAST_MIN + Duration::from_secs(u64::from(server.random::<2>()?[0]) * 7),
    };
    let state = Stream {
        initial: first.ok().map(|snapshot| initial(&snapshot, &prefix, &asked.filter)),
        end_of_initial: send_initial && bookmarks,
        bookmarks,
        watch,
        until: Instant::now() + last,
        asked,
        server: server.clone(),
        begun: false,
        over: false,
    };
    let frames = futures_util::stream::unfold(state, |mut state| async move {
        let chunk = state.chunk().await?;
        Some((Ok::<_, Infallible>(Frame::data(chunk)), state))
    });
    let mut answer = Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)));
    *answer.status_mut() = StatusCode::OK;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}

fn initial(snapshot: &Snapshot, prefix: &str, filter: &Filter) -> Vec<Stored> {
    let mut objects: Vec<Stored> = snapshot
        .range(prefix, None)
        .filter(|(_, stored)| filter.takes_stored(stored))
        .map(|(_, s)| s.clone())
        .collect();
    // Taken from the end.
    objects.reverse();
    objects
}

struct Stream {
    initial: Option<Vec<Stored>>,
    end_of_initial: bool,
    bookmarks: bool,
    watch: Watch,
    until: Instant,
    asked: Asked,
    server: Server,
    begun: bool,
    over: bool,
}

impl Stream {
    /// What is to be sent next: all that is there, up to a bound.
    async fn chunk(&mut self) -> Option<Bytes> {
        let mut chunk = BytesMut::new();
        while let Some(initial) = &mut self.initial {
            let Some(stored) = initial.pop() else {
                self.initial = None;
                if self.end_of_initial {
                    let revision = self.watch.told();
                    self.bookmark(&mut chunk, revision, true);
                }
                break;
            };
            self.object(&mut chunk, "ADDED", &stored);
            if chunk.len() >= CHUNK {
                return Some(chunk.freeze());
            }
        }
        while chunk.len() < CHUNK && !self.over {
            let next = if chunk.is_empty() {
                match timeout_at(self.until, self.watch.next()).await {
                    Ok(next) => next.map(Some),
                    Err(_) => {
                        self.over = true;
                        if self.bookmarks {
                            let revision = self.watch.told();
                            self.bookmark(&mut chunk, revision, false);
                        }
                        break;
                    }
                }
            } else {
                self.watch.try_next()
            };
            match next {
                Ok(Some(event)) => self.event(&mut chunk, &event),
                Ok(None) => break,
                Err(why) => {
                    self.over = true;
                    self.cut_off(&mut chunk, why);
                }
            }
        }
        (!chunk.is_empty()).then(|| chunk.freeze())
    }

    /// An object that comes to be among the chosen is added to the client's eyes, one that leaves them is deleted.
    fn event(&mut self, to: &mut BytesMut, event: &Event) {
        let takes = |stored: &Stored| self.asked.filter.takes_stored(stored);
        match event {
            Event::Progress(revision) if self.bookmarks => self.bookmark(to, *revision, false),
            Event::Progress(_) => {}
            Event::Put { object, before, .. } => match (before.as_ref().is_some_and(takes), takes(object)) {
                (false, true) => self.object(to, "ADDED", object),
                (true, true) => self.object(to, "MODIFIED", object),
                (true, false) => {
                    self.object(to, "DELETED", &with_revision(before.as_ref().unwrap_or(object), object.modified))
                }
                (false, false) => {}
            },
            Event::Delete { before, revision, .. } if takes(before) => {
                self.object(to, "DELETED", &with_revision(before, *revision));
            }
            Event::Delete { .. } => {}
        }
    }

    fn object(&mut self, to: &mut BytesMut, what: &str, stored: &Stored) {
        match self.asked.form {
            Form::Whole => frame(to, what, &self.asked.kind.serve(stored)),
            Form::Metadata => frame(to, what, meta::partial(&self.asked.kind.decode(stored)).to_string().as_bytes()),
            Form::Table(version) => {
                let rows = Rows { kind: self.asked.kind, version, include: self.asked.include, now: self.server.now() };
                let object = self.asked.kind.decode(stored);
                let mut table = rows.more(&object);
                if !self.begun {
                    self.begun = true;
                    table["columnDefinitions"] = rows.columns().into();
                }
                frame(to, what, table.to_string().as_bytes());
            }
        }
    }

    fn bookmark(&self, to: &mut BytesMut, revision: Revision, initial_end: bool) {
        let mut metadata = json!({ "resourceVersion": revision.0.to_string(), "creationTimestamp": null });
        if initial_end {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let kind = self.asked.kind;
        let object = match self.asked.form {
            Form::Whole => json!({ "kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata }),
            Form::Metadata => {
                json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata })
            }
            Form::Table(version) => {
                let object = json!({ "kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata });
                let row = json!({ "cells": [], "object": meta::partial(&object) });
                json!({
                    "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "columnDefinitions": null,
                    "metadata": { "resourceVersion": revision.0.to_string() }, "rows": [row],
                })
            }
        };
        frame(to, "BOOKMARK", object.to_string().as_bytes());
    }

    fn cut_off(&self, to: &mut BytesMut, why: CutOff) {
        if why == CutOff::Closed {
            return;
        }
        let gone = Failure::expired(format!("{why}: the watch ends at revision {}", self.watch.told()));
        frame(to, "ERROR", gone.body().to_string().as_bytes());
    }
}

/// What is gone is told as it was, at the time when it went.
fn with_revision(stored: &Stored, revision: Revision) -> Stored {
    Stored { modified: revision, ..stored.clone() }
}

fn frame(to: &mut BytesMut, what: &str, object: &[u8]) {
    to.reserve(object.len() + 32);
    to.put_slice(b"{\"type\":\"");
    to.put_slice(what.as_bytes());
    to.put_slice(b"\",\"object\":");
    to.put_slice(object);
    to.put_slice(b"}\n");
}
