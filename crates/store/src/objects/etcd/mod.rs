//! The home beyond one machine: an etcd, 3.4 or newer. It decides which write comes first; its watch replaces the world here, so that all
//! servers on one etcd tell the same story.
//!
//! Keys are those of the objects under a prefix. The key `PREFIX/.tick` is written when the newest revision of etcd is somebody else's:
//! the watch then tells when everything before has arrived.

mod gateway;
mod wire;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinHandle};

use super::{
    Event, Expect, ObjectsError, Options, Revision, Snapshot, WriteError, Written, memory::Memory, world::World,
};
use gateway::{Again, Gateway};
use wire::{Range, Transaction, Watched, base64, range_of};

const TICK: &str = "/.tick";
/// Objects that are listed at a time.
const PAGE: usize = 1000;
/// Events before the newest that are asked for at the start, so that watches of before can go on.
const PAST: u64 = 2000;
/// How long the watch may take to tell what is its own.
const ARRIVING: Duration = Duration::from_millis(30);
/// Between attempts to watch again: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// Which etcd.
#[derive(Debug, Clone)]
pub struct Etcd {
    /// As in `http://127.0.0.1:2379`; any that answers is used.
    pub endpoints: Vec<String>,
    /// What its keys begin with, as in `/linkspan`.
    pub prefix: String,
    /// For endpoints with `https`.
    pub credentials: Option<Credentials>,
}

/// Who etcd is, and who we are.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The certificates of whom etcd's certificate is from: PEM.
    pub authorities_pem: Vec<u8>,
    /// Our certificate and key, if etcd asks for one: PEM.
    pub client_pem: Option<(Vec<u8>, Vec<u8>)>,
}

impl Etcd {
    /// Reads `etcd://HOST:PORT[,HOST:PORT..][/PREFIX]`; `etcds://` is with TLS and needs credentials.
    pub fn parse(given: &str, credentials: Option<Credentials>) -> Result<Self, ObjectsError> {
        let refuse = |what: &str| ObjectsError::Given { given: given.to_owned(), what: what.to_owned() };
        let (scheme, rest) = match given.split_once("://") {
            Some(("etcd", rest)) => ("http", rest),
            Some(("etcds", rest)) if credentials.is_some() => ("https", rest),
            Some(("etcds", _)) => return Err(refuse("the certificate of its authority is not given")),
            _ => return Err(refuse("it must begin with etcd:// or etcds://")),
        };
        let (hosts, prefix) = rest.split_once('/').unwrap_or((rest, "linkspan"));
        let prefix = format!("/{}", prefix.trim_end_matches('/'));
        if prefix == "/" {
            return Err(refuse("the prefix of its keys is empty"));
        }
        let hosts: Vec<_> = hosts.split(',').collect();
        if hosts.iter().any(|host| host.is_empty()) {
            return Err(refuse("it must name HOST:PORT"));
        }
        let endpoints = hosts.into_iter().map(|host| format!("{scheme}://{host}")).collect();
        Ok(Self { endpoints, prefix, credentials })
    }
}

/// The way to the objects in etcd. With the last handle, the tasks end.
#[derive(Debug)]
pub(super) struct Remote {
    way: Arc<Way>,
    memory: Arc<Memory>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug)]
struct Way {
    gateway: Gateway,
    prefix: String,
    /// Begin the watch anew: it tells nothing.
    rewatch: Notify,
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Lists the objects and begins to watch.
pub(super) async fn open(etcd: Etcd, options: Options) -> Result<(Arc<Memory>, Arc<Remote>), ObjectsError> {
    let Etcd { endpoints, prefix, credentials } = etcd;
    let given = |what| ObjectsError::Given { given: endpoints.join(","), what };
    if endpoints.is_empty() {
        return Err(given("no endpoint is given".to_owned()));
    }
    let gateway = Gateway::new(endpoints.clone(), credentials.as_ref()).map_err(given)?;
    let way = Arc::new(Way { gateway, prefix, rewatch: Notify::new() });
    let newest = way.newest().await?;
    let past = Revision(newest.0.saturating_sub(PAST).max(1));
    let snapshot = match way.list(past).await {
        // It was compacted since.
        Err(ObjectsError::Refused { .. }) => way.list(Revision(0)).await?,
        listed => listed?,
    };
    let compacted = snapshot.revision;
    let memory = Memory::new(World::new(snapshot, compacted), options);
    let tasks = [
        tokio::spawn(follow(Arc::clone(&way), Arc::clone(&memory))),
        tokio::spawn(compact(Arc::clone(&way), Arc::clone(&memory), compacted)),
    ];
    let remote = Arc::new(Remote { way, memory: Arc::clone(&memory), tasks });
    remote.arrived(newest).await?;
    Ok((memory, remote))
}

impl Remote {
    pub async fn snapshot(&self) -> Result<Snapshot, ObjectsError> {
        let newest = self.way.newest().await?;
        self.arrived(newest).await
    }

    pub async fn snapshot_since(&self, asked: Revision) -> Result<Snapshot, ObjectsError> {
        if let Ok(snapshot) = self.memory.wait_for(asked, ARRIVING).await {
            return Ok(snapshot);
        }
        let newest = self.way.newest().await?;
        let until = if asked <= newest { self.arrived(asked).await } else { Ok(self.memory.world().snapshot.clone()) };
        match until? {
            snapshot if snapshot.revision >= asked => Ok(snapshot),
            _ => self.memory.wait_for(asked, self.memory.options.patience).await,
        }
    }

    /// Waits until the watch has told all up to a revision of etcd.
    async fn arrived(&self, revision: Revision) -> Result<Snapshot, ObjectsError> {
        if let Ok(snapshot) = self.memory.wait_for(revision, ARRIVING).await {
            return Ok(snapshot);
        }
        self.way.tick().await?;
        let arrived = self.memory.wait_for(revision, self.memory.options.patience).await;
        arrived.inspect_err(|_| self.way.rewatch.notify_one())
    }

    pub async fn write(&self, key: &str, expect: Expect, value: Option<Bytes>) -> Result<Written, WriteError> {
        if self.memory.is_closed() {
            return Err(WriteError::Failed(ObjectsError::Closed));
        }
        let (way, memory) = (Arc::clone(&self.way), Arc::clone(&self.memory));
        let key = format!("{}{key}", way.prefix);
        // A task of its own: it is done even if nobody waits for it.
        let task = tokio::spawn(async move {
            let written = way.write(&key, expect, value).await?;
            // Then every read here has it. If the watch is broken just now, it is written all the same.
            let _ = memory.wait_for(written.revision, memory.options.patience).await;
            Ok(written)
        });
        task.await.unwrap_or(Err(WriteError::Failed(ObjectsError::Closed)))
    }

    pub fn close(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Way {
    /// Etcd's newest revision, whoever made it.
    async fn newest(&self) -> Result<Revision, ObjectsError> {
        let tick = base64(format!("{}{TICK}", self.prefix).as_bytes());
        let body = json!({ "key": tick, "count_only": true });
        let range: Range = self.gateway.call("/v3/kv/range", &body, Again::Always).await?;
        Ok(Revision(range.header.revision))
    }

    async fn tick(&self) -> Result<(), ObjectsError> {
        let tick = base64(format!("{}{TICK}", self.prefix).as_bytes());
        let _: Value = self.gateway.call("/v3/kv/put", &json!({ "key": tick }), Again::Always).await?;
        Ok(())
    }

    /// All objects at a revision; 0 is the newest.
    async fn list(&self, at: Revision) -> Result<Snapshot, ObjectsError> {
        let (mut from, end) = range_of(&format!("{}/", self.prefix));
        let mut snapshot = Snapshot { revision: at, ..Snapshot::default() };
        loop {
            let body = json!({
                "key": from, "range_end": end, "limit": PAGE.to_string(), "revision": snapshot.revision.0.to_string(),
            });
            let range: Range = self.gateway.call("/v3/kv/range", &body, Again::Always).await?;
            if snapshot.revision == Revision(0) {
                snapshot.revision = Revision(range.header.revision);
            }
            for kv in &range.kvs {
                if let Some(key) = self.key(&kv.key) {
                    snapshot.objects.insert(key.into(), kv.stored());
                }
            }
            match range.kvs.last().filter(|_| range.more) {
                Some(last) => from = base64(format!("{}\0", last.key).as_bytes()),
                None => return Ok(snapshot),
            }
        }
    }

    async fn write(&self, key: &str, expect: Expect, value: Option<Bytes>) -> Result<Written, WriteError> {
        let body = wire::transaction(key, expect, value.as_deref());
        let done: Transaction = self.gateway.call("/v3/kv/txn", &body, Again::UnlessSent).await?;
        if !done.succeeded {
            return Err(WriteError::Conflict { current: done.current() });
        }
        let (revision, before) = (Revision(done.header.revision), done.before());
        let created = before.as_ref().map_or(revision, |before| before.created);
        let object = value.map(|value| super::Stored { created, modified: revision, value });
        Ok(Written { revision, object, before })
    }

    /// The object's key; none if it is not an object.
    fn key<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(&self.prefix).filter(|key| *key != TICK)
    }
}

/// Keeps the world as etcd is, however often the way breaks.
async fn follow(way: Arc<Way>, memory: Arc<Memory>) {
    let mut pause = PAUSES.0;
    loop {
        let before = memory.revision();
        let broken = tokio::select! {
            broken = watch(&way, &memory) => broken,
            () = way.rewatch.notified() => Broken::Way(ObjectsError::Refused { what: "its watch was silent".to_owned() }),
        };
        if memory.revision() > before {
            pause = PAUSES.0;
        }
        let error = match broken {
            Broken::Compacted => match way.list(Revision(0)).await {
                Ok(snapshot) => {
                    tracing::warn!(revision = snapshot.revision.0, "etcd was compacted meanwhile: all is listed anew");
                    memory.publish(memory.world().relisted(snapshot));
                    continue;
                }
                Err(error) => error,
            },
            Broken::Way(error) => error,
        };
        tracing::warn!(%error, "the watch of etcd broke and is begun again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Why a watch ended.
enum Broken {
    /// What comes next is no longer known.
    Compacted,
    Way(ObjectsError),
}

async fn watch(way: &Way, memory: &Memory) -> Broken {
    let (key, end) = range_of(&format!("{}/", way.prefix));
    let next = memory.revision().0 + 1;
    let create = json!({ "key": key, "range_end": end, "start_revision": next.to_string(), "progress_notify": true });
    let mut lines = match way.gateway.watch(&json!({ "create_request": create })).await {
        Ok(lines) => lines,
        Err(error) => return Broken::Way(error),
    };
    loop {
        match lines.next().await {
            Ok(Watched { canceled: true, compact_revision: 0, cancel_reason, .. }) => {
                return Broken::Way(ObjectsError::Refused { what: format!("it ended the watch: {cancel_reason}") });
            }
            Ok(Watched { canceled: true, .. }) => return Broken::Compacted,
            Ok(watched) => tell(way, memory, &watched),
            Err(error) => return Broken::Way(error),
        }
    }
}

fn tell(way: &Way, memory: &Memory, watched: &Watched) {
    let now_ms = (memory.options.clock)();
    let mut next = World::clone(&memory.world());
    for happened in &watched.events {
        let revision = Revision(happened.kv.mod_revision);
        if let Some(key) = way.key(&happened.kv.key) {
            let key: Arc<str> = key.into();
            let before = next.snapshot.get(&key).cloned();
            match (happened.kind.as_str(), before) {
                ("DELETE", Some(before)) => next.push(Event::Delete { key, before, revision }, now_ms),
                ("DELETE", None) => {}
                (_, before) => next.push(Event::Put { key, object: happened.kv.stored(), before }, now_ms),
            }
        }
        next.advance(revision);
    }
    if watched.events.is_empty() && !watched.created {
        next.advance(Revision(watched.header.revision));
    }
    next.compact(now_ms, &memory.options.keep);
    if next.snapshot.revision > memory.revision() {
        memory.publish(next);
    }
}

/// Lets etcd forget what is forgotten here.
async fn compact(way: Arc<Way>, memory: Arc<Memory>, mut done: Revision) {
    let every = Duration::from_millis(memory.options.keep.age_ms / 10);
    let mut ticks = tokio::time::interval(every.clamp(Duration::from_millis(100), Duration::from_secs(30)));
    loop {
        ticks.tick().await;
        let forgotten = memory.world().compacted();
        if forgotten > done {
            let body = json!({ "revision": forgotten.0.to_string() });
            // Another server may have been faster, and a failure is made good next time.
            if way.gateway.call::<Value>("/v3/kv/compaction", &body, Again::Always).await.is_ok() {
                done = forgotten;
            }
        }
    }
}
