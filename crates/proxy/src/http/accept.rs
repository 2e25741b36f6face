//! One thread: its listeners, its runtime, its part of the clients.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::sleep,
};

use super::{
    Listeners, Settings, Stage, access_log, connection,
    counters::Counters,
    peer::Arrived,
    pool::{self, Pool},
    table::Table,
};

/// After an error that is likely to come again at once, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Long enough for the event loop to find who is left in a listener's queue.
const LAST: Duration = Duration::from_millis(20);

/// What all tasks of one thread share.
#[derive(Debug)]
pub(super) struct Worker {
    pub table: Arc<ArcSwap<Table>>,
    pub settings: Settings,
    pub tls: Arc<ServerConfig>,
    pub pool: Pool,
    pub counters: Arc<Counters>,
    pub log: Option<access_log::Lines>,
    pub leaving: Arc<AtomicBool>,
    pub stage: watch::Receiver<Stage>,
}

/// Serves until the stage is closing and the last connection has ended, or until nobody holds the gateway any more.
pub(super) async fn run(worker: Arc<Worker>, listeners: Listeners) {
    let most = (worker.settings.limits.connections / worker.settings.threads.max(1)).max(1);
    let places = Arc::new(Semaphore::new(most));
    let mut tasks = JoinSet::new();
    let each = listeners.http.into_iter().map(|l| (l, false)).chain(listeners.https.into_iter().map(|l| (l, true)));
    for (listener, tls) in each {
        match TcpListener::from_std(listener) {
            Ok(listener) => drop(tasks.spawn(accept(worker.clone(), listener, tls, places.clone()))),
            Err(error) => tracing::error!(%error, "a listener cannot be served"),
        }
    }
    tasks.spawn(pool::sweep(worker.clone()));
    let mut stage = worker.stage.clone();
    let gone = async {
        // Fails when the gateway is dropped.
        while stage.changed().await.is_ok() {}
    };
    let ended = async {
        while tasks.join_next().await.is_some() {}
        // Never closed; and each connection gives its place back.
        let _ = places.acquire_many(u32::try_from(most).unwrap_or(u32::MAX)).await;
    };
    tokio::select! {
        () = gone => {}
        () = ended => {}
    }
}

async fn accept(worker: Arc<Worker>, listener: TcpListener, tls: bool, places: Arc<Semaphore>) {
    let mut stage = worker.stage.clone();
    let closing = async move {
        let _ = stage.wait_for(|stage| *stage == Stage::Closing).await;
    };
    tokio::pin!(closing);
    loop {
        // Until there is a place; whoever listens at the other port may want the same one, so it is taken after accepting.
        let free = tokio::select! {
            biased;
            free = places.acquire() => free.is_ok(),
            () = &mut closing => break,
        };
        if !free {
            return;
        }
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = &mut closing => break,
        };
        match accepted {
            Ok((client, from)) => {
                let Ok(place) = places.clone().acquire_owned().await else { return };
                start(&worker, client, Arrived { from, tls, place });
            }
            Err(error) if is_theirs(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "a client was not accepted");
                sleep(PAUSE).await;
            }
        }
    }
    // Who has got through to the queue is served; closing it would reset them. It ends with the first look that finds it empty.
    let last = sleep(LAST);
    tokio::pin!(last);
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = &mut last => return,
        };
        let (Ok((client, from)), Ok(place)) = (accepted, places.clone().try_acquire_owned()) else { return };
        start(&worker, client, Arrived { from, tls, place });
    }
}

fn start(worker: &Arc<Worker>, client: TcpStream, arrived: Arrived) {
    // In a box, since a task is moved about before it begins, and this is one of kilobytes.
    tokio::spawn(Box::pin(connection::serve(worker.clone(), client, arrived)));
}

/// The client left before it was accepted.
fn is_theirs(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
