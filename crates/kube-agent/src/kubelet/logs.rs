//! `GET /containerLogs/NAMESPACE/POD/CONTAINER`: what its process wrote, and goes on to write.

use std::{io, sync::Arc};

use bytes::Bytes;
use engine::WaitFor;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use model::{Container, container::Phase};
use runtime::{
    log::{
        Entry,
        reader::{Follower, Reader, Wish},
    },
    shim::protocol::Stream,
};
use tokio::sync::mpsc::Sender;

use crate::pod::spec;

use super::{Answer, Desk, Refusal, find, find::Named, pipe, query::Query};

/// What is written of the log.
struct Manner {
    timestamps: bool,
    only: Option<Stream>,
    /// Bytes that may still be written.
    left: Option<usize>,
}

/// Answers the request.
pub async fn logs(desk: &Desk, (namespace, name, container): Named<'_>, query: &Query) -> Result<Answer, Refusal> {
    let pod = find::pod(desk, namespace, name)?;
    if spec::container(&spec::of(&pod), container).is_none() {
        return Err(Refusal::invalid(format!("container {container} is not valid for pod {name}")));
    }
    let state = desk.shared.engine.state();
    let attempts = find::attempts(&state, &pod, container);
    let found = choose(&pod, container, &attempts, query.flag(&["previous"]))?;
    let wish = wish(query)?;
    let manner = Manner {
        timestamps: query.flag(&["timestamps"]),
        only: match query.get("stream") {
            Some("Stdout") => Some(Stream::Stdout),
            Some("Stderr") => Some(Stream::Stderr),
            _ => None,
        },
        left: number(query, "limitBytes")?,
    };
    let path = desk.shared.places.log(&found.id);
    // Subscribed before the log is read, so that its end is not missed.
    let follows = query.flag(&["follow"]) && found.is_live();
    let ended = follows.then(|| desk.shared.engine.wait(&found.id, WaitFor::NotRunning));
    let reader = tokio::task::spawn_blocking(move || Reader::open(&path, wish)).await;
    let reader =
        reader.map_err(io::Error::other).and_then(|reader| reader).map_err(|error| Refusal::internal(&error))?;
    let (sender, answer) = pipe();
    match ended {
        Some(ended) => {
            let follower = Follower::new(reader).map_err(|error| Refusal::internal(&error))?;
            tokio::spawn(async move {
                let ended = async move { drop(ended.await) };
                if let Err(error) = follow(follower, ended, manner, &sender).await {
                    let _ = sender.send(Err(error)).await;
                }
            });
        }
        None => drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = all(reader, manner, &sender) {
                let _ = sender.blocking_send(Err(error));
            }
        })),
    }
    Ok(answer)
}

fn choose<'c>(pod: &Pod, name: &str, attempts: &'c [Arc<Container>], previous: bool) -> Result<&'c Container, Refusal> {
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    let made = |container: &&Arc<Container>| container.phase != Phase::Created;
    let mut newest = attempts.iter().rev().filter(made);
    let latest = newest.next();
    if previous {
        let ended = newest.next().or(latest.filter(|latest| matches!(latest.phase, Phase::Exited(_))));
        let words = format!("previous terminated container \"{name}\" in pod \"{pod_name}\" not found");
        return ended.map(AsRef::as_ref).ok_or_else(|| Refusal::invalid(words));
    }
    let statuses =
        pod.status.iter().flat_map(|s| s.container_statuses.iter().chain(&s.init_container_statuses)).flatten();
    let waiting = statuses
        .into_iter()
        .find(|status| status.name == name)
        .and_then(|status| status.state.clone()?.waiting?.reason);
    let reason = waiting.unwrap_or_else(|| "ContainerCreating".to_owned());
    let words = format!("container \"{name}\" in pod \"{pod_name}\" is waiting to start: {reason}");
    latest.map(AsRef::as_ref).ok_or_else(|| Refusal::invalid(words))
}

fn wish(query: &Query) -> Result<Wish, Refusal> {
    let since = match (query.get("sinceTime"), number::<i64>(query, "sinceSeconds")?) {
        (Some(time), _) => Some(time.parse().map_err(|_| Refusal::invalid(format!("invalid sinceTime {time:?}")))?),
        (None, Some(seconds)) => Timestamp::now().checked_sub(SignedDuration::from_secs(seconds)).ok(),
        (None, None) => None,
    };
    Ok(Wish { tail: number(query, "tailLines")?, since, until: None })
}

fn number<T: std::str::FromStr>(query: &Query, name: &str) -> Result<Option<T>, Refusal> {
    let text = query.get(name);
    text.map(|text| text.parse().map_err(|_| Refusal::invalid(format!("invalid {name} {text:?}")))).transpose()
}

type Pipe = Sender<io::Result<Bytes>>;

fn all(mut reader: Reader, mut manner: Manner, to: &Pipe) -> io::Result<()> {
    while manner.left != Some(0)
        && let Some(entry) = reader.next_now()?
    {
        if let Some(bytes) = manner.write(&entry)
            && to.blocking_send(Ok(bytes)).is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}

async fn follow(mut log: Follower, ended: impl Future<Output = ()>, mut manner: Manner, to: &Pipe) -> io::Result<()> {
    tokio::pin!(ended);
    let mut over = false;
    while manner.left != Some(0) {
        let entry = match over {
            true => log.next_now()?,
            false => tokio::select! {
                entry = log.next() => entry?,
                () = &mut ended => {
                    over = true;
                    continue;
                }
                () = to.closed() => return Ok(()),
            },
        };
        let Some(entry) = entry else { return Ok(()) };
        if let Some(bytes) = manner.write(&entry)
            && to.send(Ok(bytes)).await.is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}

impl Manner {
    fn write(&mut self, entry: &Entry) -> Option<Bytes> {
        if self.only.is_some_and(|only| only != entry.stream) {
            return None;
        }
        let mut text = String::with_capacity(entry.log.len());
        if self.timestamps {
            text += &format!("{} ", entry.time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ"));
        }
        text += &entry.log;
        let mut bytes = text.into_bytes();
        if let Some(left) = &mut self.left {
            bytes.truncate(*left);
            *left -= bytes.len();
        }
        Some(bytes.into())
    }
}
