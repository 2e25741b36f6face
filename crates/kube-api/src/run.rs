//! The controllers' loop: each change wakes those whose business it is, they say what to do, and it is done by the server's own verbs.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    time::Duration,
};

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use store::objects::CutOff;
use tokio::time::Instant;

use crate::{
    auth::User,
    controller::{self, Cluster, Key, ObjectChange, ObjectRef, Outcome, change},
    kind,
    lead::{self, Lead},
    object::{Look, meta},
    query::WriteOptions,
    server::Server,
    status::Failure,
    subresource::{binding, finalize},
    verb::{
        Place, create,
        delete::{self, DeleteOptions, Propagation},
        update::{self, Part, Update},
    },
};

/// The first pause after a refusal; it doubles up to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_LAST: Duration = Duration::from_secs(60);
/// By how much the clock may go too fast or too slow between two looks at it without having been set.
const DRIFT_MAX: SignedDuration = SignedDuration::from_secs(5);
/// How many are reconciled before the objects are looked at anew.
const ROUND: usize = 64;

/// Runs the controllers until the objects are closed; while another server that shares them does, this one only looks.
pub async fn run(server: Server, mut lead: Lead) {
    let Ok(mut wake) = server.objects.watch("/", server.objects.cached().revision) else { return };
    let mut queue = Queue::default();
    let mut clock = None;
    // Where there are many objects, others have their turn while all are read for the first time.
    let first = server.clone();
    let _ = tokio::task::spawn_blocking(move || drop(first.view.cluster())).await;
    loop {
        if look(&mut clock, server.now(), Instant::now()) == Set::Yes {
            server.view.clock_was_set(server.now());
        }
        let (cluster, changes) = server.view.changes();
        for change in &changes {
            queue.wake(controller::wakes(&cluster, change));
        }
        queue.due(Instant::now());
        let leads = lead.leads(&server).await;
        let round = if leads { queue.take(ROUND) } else { Vec::new() };
        if round.is_empty() {
            let due = queue.next().filter(|_| leads);
            let sleep = due.map_or(PAUSE_LAST, |at| at.saturating_duration_since(Instant::now()));
            let sleep = if server.objects.is_shared() { sleep.min(lead::EVERY) } else { sleep };
            match tokio::time::timeout(sleep, wake.next()).await {
                Ok(Err(CutOff::Closed)) => return,
                // It tells only that there is something to look at.
                Ok(Err(CutOff::Slow | CutOff::Relisted)) => {
                    match server.objects.watch("/", server.objects.cached().revision) {
                        Ok(again) => wake = again,
                        Err(_) => continue,
                    }
                }
                Ok(Ok(_)) | Err(_) => {}
            }
            // Whatever else has come meanwhile is seen in the same round.
            while let Ok(Some(_)) = wake.try_next() {}
            continue;
        }
        for key in round {
            // What was written a moment ago is seen: a controller that does not see its own pods would make them twice.
            let cluster = server.view.cluster();
            let work = async {
                let outcome = controller::reconcile(&cluster, &key, server.now());
                carry_out(&server, &cluster, &key, outcome).await
            };
            // One object that nobody thought of shall not be the end of all others.
            let after = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
                tracing::error!(?key, "a controller panicked: this is a bug of linkspan");
                After::Refused
            });
            queue.settle(key, after);
        }
        // What needs no change waits for nothing, and there may be much of it: others have their turn.
        tokio::task::yield_now().await;
    }
}

/// Whether the clock was set since it was last looked at.
#[derive(Debug, PartialEq, Eq)]
enum Set {
    Yes,
    No,
}

/// Looks at the clock, beside one that nobody can set. The first look counts as setting it.
fn look(last: &mut Option<(Timestamp, Instant)>, now: Timestamp, steady: Instant) -> Set {
    let before = last.replace((now, steady));
    let Some((then, steady_then)) = before else { return Set::Yes };
    let passed = SignedDuration::try_from(steady.duration_since(steady_then)).unwrap_or(SignedDuration::MAX);
    let off = now.duration_since(then).checked_sub(passed).unwrap_or(SignedDuration::MAX);
    if off.abs() > DRIFT_MAX { Set::Yes } else { Set::No }
}

/// When a key is to be looked at again.
enum After {
    /// When something changes.
    Change,
    /// After this time too.
    Time(Duration),
    /// Soon, and later each time.
    Refused,
}

#[derive(Default)]
struct Queue {
    ready: BTreeSet<Key>,
    waiting: BTreeMap<Key, Instant>,
    pauses: BTreeMap<Key, Duration>,
}

impl Queue {
    fn wake(&mut self, keys: Vec<Key>) {
        self.ready.extend(keys);
    }

    fn due(&mut self, now: Instant) {
        let due: Vec<Key> = self.waiting.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.waiting.remove(&key);
            self.ready.insert(key);
        }
    }

    fn take(&mut self, most: usize) -> Vec<Key> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(key) = self.ready.pop_first()
        {
            self.waiting.remove(&key);
            taken.push(key);
        }
        taken
    }

    fn next(&self) -> Option<Instant> {
        self.waiting.values().min().copied()
    }

    fn settle(&mut self, key: Key, after: After) {
        match after {
            After::Refused => {
                let pause = self.pauses.get(&key).map_or(PAUSE_FIRST, |last| (*last * 2).min(PAUSE_LAST));
                self.pauses.insert(key.clone(), pause);
                self.waiting.insert(key, Instant::now() + pause);
            }
            After::Time(pause) => {
                self.pauses.remove(&key);
                self.waiting.insert(key, Instant::now() + pause);
            }
            After::Change => drop(self.pauses.remove(&key)),
        }
    }
}

async fn carry_out(server: &Server, cluster: &Cluster, key: &Key, outcome: Outcome) -> After {
    for change in &outcome.changes {
        let Err(failure) = do_one(server, change).await else { continue };
        match failure.reason {
            // Somebody else was faster: what is so now is looked at.
            "Conflict" | "NotFound" | "AlreadyExists" => return After::Refused,
            _ => {}
        }
        tracing::debug!(?key, message = failure.message, "a controller was refused");
        let told = controller::refused(cluster, key, change, &failure.message, server.now());
        for change in &told {
            if let Err(failure) = do_one(server, change).await {
                tracing::debug!(?key, message = failure.message, "nor could it tell");
            }
        }
        return After::Refused;
    }
    outcome.again.map_or(After::Change, After::Time)
}

async fn do_one(server: &Server, change: &ObjectChange) -> Result<(), Failure> {
    let user = User::internal("system:kube-controller-manager");
    let options = WriteOptions::internal("kube-controller-manager");
    match change {
        ObjectChange::Create(object) => {
            let place = place_of(object)?;
            create::create(server, place, &user, object.clone(), &options).await.map(drop)
        }
        ObjectChange::Update(object) => write(server, object, &user, Part::Whole, &options).await,
        ObjectChange::Status(object) => write(server, object, &user, Part::Status, &options).await,
        ObjectChange::Finalize(object) => {
            let place = place_of(object)?;
            let asked =
                Update { name: meta::name(object), user: &user, part: Part::Other("finalize"), options: &options };
            update::update(server, place, &asked, |namespace| finalize::change(namespace, object)).await.map(drop)
        }
        ObjectChange::Bind { pod, uid, node } => {
            let place = place_of_ref(pod)?;
            let body = json!({ "metadata": { "uid": uid }, "target": { "name": node } });
            let options = WriteOptions::internal("kube-scheduler");
            let asked = Update { name: pod.name(), user: &user, part: Part::Other("binding"), options: &options };
            let now = meta::time(server.now());
            let kind = place.kind;
            update::update(server, place, &asked, |pod| binding::change(kind, pod, &body, &now)).await.map(drop)
        }
        ObjectChange::Delete(delete) => {
            let options = DeleteOptions {
                grace_s: delete.grace_period_seconds,
                uid: Some(delete.uid.clone()),
                resource_version: delete.resource_version.clone(),
                propagation: delete.propagation.map(|propagation| match propagation {
                    change::Propagation::Background => Propagation::Background,
                    change::Propagation::Foreground => Propagation::Foreground,
                    change::Propagation::Orphan => Propagation::Orphan,
                }),
                dry_run: false,
            };
            delete::delete(server, place_of_ref(&delete.object)?, delete.object.name(), &options).await.map(drop)
        }
        ObjectChange::Event(event) => tell(server, &user, event).await,
    }
}

async fn write(
    server: &Server,
    object: &Value,
    user: &User,
    part: Part,
    options: &WriteOptions,
) -> Result<(), Failure> {
    let asked = Update { name: meta::name(object), user, part, options };
    update::update(server, place_of(object)?, &asked, update::whole(object)).await.map(drop)
}

fn place_of(object: &Value) -> Result<Place<'_>, Failure> {
    let group = object.text("apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
    let kind = kind::by_kind(group, object.text("kind")).ok_or_else(Failure::no_such_path)?;
    Ok(Place { kind, namespace: meta::namespace(object) })
}

fn place_of_ref(to: &ObjectRef) -> Result<Place<'_>, Failure> {
    let group = if to.group() == "core" { "" } else { to.group() };
    let kind = kind::by_plural(group, to.resource()).ok_or_else(Failure::no_such_path)?;
    Ok(Place { kind, namespace: to.namespace() })
}

/// Writes an event; one that says the same as one before is counted with it.
async fn tell(server: &Server, user: &User, event: &change::Event) -> Result<(), Failure> {
    let events = kind::by_kind("", "Event").ok_or_else(Failure::no_such_path)?;
    let about = serde_json::to_value(&event.about).unwrap_or_default();
    let named = about.text("namespace");
    let place = Place { kind: events, namespace: if named.is_empty() { "default" } else { named } };
    let said = [about.text("uid"), event.severity.name(), event.reason, &event.message, event.component].join("\n");
    let digest = ring::digest::digest(&ring::digest::SHA256, said.as_bytes());
    let end: String = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let name = format!("{}.{end}", about.text("name"));
    let now: Timestamp = server.now();
    let options = WriteOptions::internal(event.component);
    let asked = Update { name: &name, user, part: Part::Whole, options: &options };
    let again = update::update(server, place, &asked, |old| {
        let mut counted = old.clone();
        counted.take_at("metadata.resourceVersion");
        counted.put("count", old.int("count").unwrap_or(1) + 1);
        counted.put("lastTimestamp", meta::time(now));
        Ok((counted, Vec::new()))
    });
    match again.await {
        Err(failure) if failure.reason == "NotFound" => {}
        outcome => return outcome.map(drop),
    }
    let object = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": { "name": name, "namespace": place.namespace }, "involvedObject": about,
        "reason": event.reason, "message": event.message, "type": event.severity.name(), "count": 1,
        "firstTimestamp": meta::time(now), "lastTimestamp": meta::time(now), "source": { "component": event.component },
        "reportingComponent": event.component, "reportingInstance": "",
    });
    create::create(server, place, user, object, &options).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_noticed() {
        let (mut clock, start) = (None, Instant::now());
        // (steady seconds since the start, what the clock says, whether it was set)
        for (steady_s, now_s, expected) in [
            (0, 1000, Set::Yes),
            (60, 1060, Set::No),
            (61, 1064, Set::No),
            (62, 4665, Set::Yes),
            (70, 4673, Set::No),
            (71, 1071, Set::Yes),
            (72, 1072, Set::No),
        ] {
            let now = Timestamp::from_second(now_s).unwrap();
            assert_eq!(look(&mut clock, now, start + Duration::from_secs(steady_s)), expected, "{steady_s}");
        }
    }
}
