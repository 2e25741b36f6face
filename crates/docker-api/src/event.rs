//! `GET /events`: what happened since, and what happens from now on, as JSON lines.

mod filter;
mod show;

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use model::Event;
use serde_json::Value;
use tokio::sync::{
    broadcast::{Receiver, error::RecvError},
    mpsc,
};

use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
    filter::Filters,
    time,
};

type Sender = mpsc::Sender<io::Result<Bytes>>;

/// What a client wants to hear of.
struct Watch {
    filters: Filters,
    /// Events kept from before this moment are not told; none: none are. Nanoseconds since 1970.
    since_ns: Option<i128>,
    /// Nanoseconds since 1970.
    until_ns: Option<i128>,
    now_ns: i128,
}

/// Answers with a stream whose headers go out at once: clients wait for them.
pub(crate) async fn route(api: &Arc<Api>, _path: &[&str], call: Call) -> Result<Answer, ApiError> {
    let watch = watch(&call, time::now_ms())?;
    // Subscribed before the answer begins, so that what the client does next is told.
    let (past, live) = api.engine.events().watch();
    let (sender, answer) = answer::pipe("application/json");
    tokio::spawn(async move {
        // An error means that the client has left.
        let _ = tell(watch, &past, live, &sender).await;
    });
    Ok(answer)
}

fn watch(call: &Call, now_ms: i64) -> Result<Watch, ApiError> {
    let moment = |name| call.query.get(name).map(|text| time::parse_ns(text, now_ms)).transpose();
    let (since_ns, until_ns) = (moment("since")?, moment("until")?);
    if let (Some(since), Some(until)) = (since_ns, until_ns)
        && until < since
    {
        let text = |name| call.query.get(name).unwrap_or_default();
        return Err(ApiError::invalid(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            text("since"),
            text("until")
        )));
    }
    let filters = call.query.filters(&filter::KEYS)?;
    Ok(Watch { filters, since_ns, until_ns, now_ns: i128::from(now_ms) * 1_000_000 })
}

async fn tell(watch: Watch, past: &[Arc<Event>], live: Receiver<Arc<Event>>, to: &Sender) -> Result<(), Gone> {
    if watch.since_ns.is_some() || watch.until_ns.is_some() {
        for event in past.iter().filter(|event| is_within(event, &watch)) {
            say(event, &watch, to).await?;
        }
    }
    match watch.until_ns.map(|until| until - watch.now_ns) {
        None => follow(watch, live, to).await,
        Some(left) => {
            let left = Duration::from_nanos(u64::try_from(left).unwrap_or_default());
            tokio::time::timeout(left, follow(watch, live, to)).await.unwrap_or(Ok(()))
        }
    }
}

/// The client has left.
struct Gone;

async fn follow(watch: Watch, mut live: Receiver<Arc<Event>>, to: &Sender) -> Result<(), Gone> {
    loop {
        let event = tokio::select! {
            event = live.recv() => event,
            () = to.closed() => return Err(Gone),
        };
        match event {
            Ok(event) => say(&event, &watch, to).await?,
            // A client too slow to follow misses the oldest, as with Docker.
            Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "a client of the events is too slow"),
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

async fn say(event: &Event, watch: &Watch, to: &Sender) -> Result<(), Gone> {
    if !filter::includes(&watch.filters, event) {
        return Ok(());
    }
    let document: Value = show::show(event);
    to.send(Ok(Bytes::from(format!("{document}\n")))).await.map_err(|_| Gone)
}

fn is_within(event: &Event, watch: &Watch) -> bool {
    let at_ns = i128::from(event.at_ms) * 1_000_000;
    // An event's moment is known to the millisecond: what is asked for is cut to the same.
    let since_ns = watch.since_ns.unwrap_or_default().div_euclid(1_000_000) * 1_000_000;
    since_ns <= at_ns && watch.until_ns.is_none_or(|until| at_ns <= until)
}
