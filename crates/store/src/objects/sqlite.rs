//! The home on this machine: an SQLite file, and the one thread that writes it. Writes that wait together are one transaction, each with
//! its own outcome.
//!
//! The table `object` has the newest of each. The table `event` has what each event replaced: going back from the newest objects, that
//! is enough to know both sides of every event.

use std::{collections::HashMap, path::Path, sync::Arc};

use bytes::Bytes;
use rusqlite::{Row, params};
use tokio::sync::{mpsc, oneshot};

use super::{
    Event, Expect, ObjectsError, Options, Revision, Snapshot, Stored, WriteError, Written, memory::Memory, world::World,
};
use crate::{
    StoreError,
    file::{Acknowledged, File, Form},
};

const FORM: Form = Form {
    noun: "store of Kubernetes objects",
    holds: "the Kubernetes objects it held",
    // "lspk".
    application_id: 0x6c73_706b,
    layout: 1,
    tables: "
        CREATE TABLE object (
            key TEXT PRIMARY KEY, created INTEGER NOT NULL, modified INTEGER NOT NULL, value BLOB NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE event (
            revision INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, key TEXT NOT NULL,
            created INTEGER, modified INTEGER, value BLOB
        );
        CREATE TABLE objects (revision INTEGER NOT NULL, compacted INTEGER NOT NULL);
        INSERT INTO objects VALUES (0, 0);
    ",
    // Clients of an API go by what was acknowledged: a revision that comes twice would deceive them.
    acknowledged: Acknowledged::ByDisk,
};

/// Writes that may wait.
const WAITING: usize = 1024;
/// The most in one transaction, so that none waits long.
const GROUP: usize = 256;

/// The way to the thread.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    inbox: mpsc::Sender<Message>,
}

enum Message {
    Write(Request),
    Close(oneshot::Sender<()>),
}

struct Request {
    key: Arc<str>,
    expect: Expect,
    value: Option<Bytes>,
    reply: oneshot::Sender<Result<Written, WriteError>>,
}

impl Writer {
    pub async fn write(&self, key: &str, expect: Expect, value: Option<Bytes>) -> Result<Written, WriteError> {
        let (reply, outcome) = oneshot::channel();
        // Copied: what it was cut from (a whole request) shall not live as long as the object.
        let value = value.map(|value| Bytes::copy_from_slice(&value));
        let request = Request { key: key.into(), expect, value, reply };
        self.inbox.send(Message::Write(request)).await.map_err(|_| ObjectsError::Closed)?;
        outcome.await.map_err(|_| ObjectsError::Closed)?
    }

    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        // Closed already, either way.
        if self.inbox.send(Message::Close(reply)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

/// Starts the thread, which opens the file. It ends with the last handle, or when it is closed.
pub(super) async fn open(path: &Path, options: Options) -> Result<(Arc<Memory>, Writer), ObjectsError> {
    let path = path.to_owned();
    let (inbox, requests) = mpsc::channel(WAITING);
    let (reply, opened) = oneshot::channel();
    let thread = move || {
        let loaded = File::open(&path, &FORM).and_then(|file| Ok((load(&file)?, file)));
        match loaded {
            Ok((world, file)) => {
                let memory = Memory::new(world, options);
                if reply.send(Ok(Arc::clone(&memory))).is_ok() {
                    serve(file, &memory, requests);
                }
            }
            // Nobody waits for it any more.
            Err(error) => drop(reply.send(Err(error))),
        }
    };
    std::thread::Builder::new()
        .name("objects".to_owned())
        .spawn(thread)
        .map_err(|e| StoreError::io(Path::new("a thread"), e))?;
    let memory = opened.await.map_err(|_| ObjectsError::Closed)??;
    Ok((memory, Writer { inbox }))
}

fn serve(mut file: File, memory: &Memory, mut inbox: mpsc::Receiver<Message>) {
    let mut messages = Vec::new();
    while inbox.blocking_recv_many(&mut messages, GROUP) > 0 {
        let mut group = Vec::new();
        let mut closing = Vec::new();
        for message in messages.drain(..) {
            match message {
                Message::Write(request) => group.push(request),
                Message::Close(reply) => closing.push(reply),
            }
        }
        commit(&mut file, memory, group);
        if !closing.is_empty() {
            drop(file);
            for reply in closing {
                // Who no longer waits for it needs no answer.
                let _ = reply.send(());
            }
            return;
        }
    }
}

/// Decides each request on what those before it made, writes all in one transaction, and only then shows it to anybody.
fn commit(file: &mut File, memory: &Memory, group: Vec<Request>) {
    let now_ms = (memory.options.clock)();
    let mut next = World::clone(&memory.world());
    let mut events = Vec::new();
    let mut replies = Vec::with_capacity(group.len());
    for Request { key, expect, value, reply } in group {
        let revision = Revision(next.snapshot.revision.0 + 1);
        let outcome = Event::decide(next.snapshot.get(&key), &key, (expect, value), revision);
        replies.push((reply, outcome.as_ref().map(Event::written).map_err(Clone::clone)));
        if let Ok(event) = outcome {
            next.push(event.clone(), now_ms);
            events.push(event);
        }
    }
    let mut kept = Ok(());
    if !events.is_empty() {
        next.compact(now_ms, &memory.options.keep);
        kept = append(file, &next, &events, now_ms).map_err(|e| ObjectsError::from(file.sqlite(e)));
        if kept.is_ok() {
            memory.publish(next);
        }
    }
    for (reply, outcome) in replies {
        let outcome = match &kept {
            Ok(()) => outcome.map_err(|current| WriteError::Conflict { current }),
            Err(error) => Err(WriteError::Failed(error.clone())),
        };
        // Who no longer waits for it needs no answer.
        let _ = reply.send(outcome);
    }
}

fn append(file: &mut File, world: &World, events: &[Event], now_ms: u64) -> rusqlite::Result<()> {
    let transaction = file.db.transaction()?;
    {
        let mut put = transaction
            .prepare_cached("INSERT OR REPLACE INTO object (key, created, modified, value) VALUES (?, ?, ?, ?)")?;
        let mut delete = transaction.prepare_cached("DELETE FROM object WHERE key = ?")?;
        let mut remember = transaction.prepare_cached(
            "INSERT INTO event (revision, at_ms, key, created, modified, value) VALUES (?, ?, ?, ?, ?, ?)",
        )?;
        for event in events {
            match event.object() {
                Some(Stored { created, modified, value }) => {
                    put.execute(params![event.key(), column(*created), column(*modified), &value[..]])?
                }
                None => delete.execute(params![event.key()])?,
            };
            let (revision, before) = (column(event.revision()), event.before());
            let (created, modified) = (before.map(|b| column(b.created)), before.map(|b| column(b.modified)));
            let value = before.map(|before| &before.value[..]);
            remember.execute(params![revision, now_ms.cast_signed(), event.key(), created, modified, value])?;
        }
        let compacted = column(world.compacted());
        transaction.prepare_cached("DELETE FROM event WHERE revision <= ?")?.execute(params![compacted])?;
        transaction
            .prepare_cached("UPDATE objects SET revision = ?, compacted = ?")?
            .execute(params![column(world.snapshot.revision), compacted])?;
    }
    transaction.commit()
}

fn load(file: &File) -> Result<World, StoreError> {
    let (revision, compacted) = file
        .db
        .query_row("SELECT revision, compacted FROM objects", [], |row| Ok((at(row, 0)?, at(row, 1)?)))
        .map_err(|e| file.sqlite(e))?;
    let objects = objects(file).map_err(|e| file.sqlite(e))?;
    let mut world = World::new(Snapshot { revision, objects }, compacted);
    for (event, at_ms) in events(file, &world.snapshot)? {
        world.remember(event, at_ms);
    }
    Ok(world)
}

fn objects(file: &File) -> rusqlite::Result<imbl::OrdMap<Arc<str>, Stored>> {
    let mut query = file.db.prepare("SELECT key, created, modified, value FROM object")?;
    let rows = query.query_map([], |row| Ok((row.get::<_, Arc<str>>(0)?, stored(row, 1)?)))?;
    rows.collect()
}

/// What happened, oldest first, with both sides of each event: its object is what the next event of the same key replaced, or the
/// newest object.
fn events(file: &File, newest: &Snapshot) -> Result<Vec<(Event, u64)>, StoreError> {
    struct Undone {
        revision: Revision,
        at_ms: u64,
        key: Arc<str>,
        before: Option<Stored>,
    }
    let read = || -> rusqlite::Result<Vec<Undone>> {
        let mut query = file
            .db
            .prepare("SELECT revision, at_ms, key, created, modified, value FROM event ORDER BY revision DESC")?;
        let rows = query.query_map([], |row| {
            let before = row.get::<_, Option<i64>>(3)?.is_some().then(|| stored(row, 3)).transpose()?;
            Ok(Undone { revision: at(row, 0)?, at_ms: at(row, 1)?.0, key: row.get(2)?, before })
        })?;
        rows.collect()
    };
    let mut later: HashMap<Arc<str>, Option<Stored>> = HashMap::new();
    let mut events = Vec::new();
    for Undone { revision, at_ms, key, before } in read().map_err(|e| file.sqlite(e))? {
        let object = later.insert(Arc::clone(&key), before.clone());
        let object = object.unwrap_or_else(|| newest.get(&key).cloned());
        let event = match (object, before) {
            (Some(object), before) if object.modified == revision => Event::Put { key, object, before },
            (None, Some(before)) => Event::Delete { key, before, revision },
            _ => return Err(file.damaged(format!("the event of {key} at revision {revision} does not fit its object"))),
        };
        events.push((event, at_ms));
    }
    events.reverse();
    Ok(events)
}

fn stored(row: &Row<'_>, first: usize) -> rusqlite::Result<Stored> {
    let value: Vec<u8> = row.get(first + 2)?;
    Ok(Stored { created: at(row, first)?, modified: at(row, first + 1)?, value: value.into() })
}

fn at(row: &Row<'_>, index: usize) -> rusqlite::Result<Revision> {
    row.get(index).map(|revision: i64| Revision(revision.cast_unsigned()))
}

fn column(revision: Revision) -> i64 {
    revision.0.cast_signed()
}
