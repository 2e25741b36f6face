//! What clients of a node and pods send, for the fuzzer: each target must neither panic nor take long, whatever the bytes. Built for tests,
//! which replay the corpora of `fuzz/`, and by `cargo fuzz`; never into the product.

use std::sync::LazyLock;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use model::ContainerId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Runtime,
};

use crate::{
    kubelet::{query, spdy, websocket},
    pod::{
        self, Seen, env, network, resources, security,
        seen::{Attempt, End, Sandboxed, Stage, Volumes},
        spec, volume,
    },
};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime on this thread")
});

/// What a client sends over SPDY. However it ends, the connection does.
pub fn spdy_frames(bytes: &[u8]) {
    RUNTIME.block_on(async {
        let (client, server) = tokio::io::duplex(1 << 16);
        let spdy::Connection { mut opened, writer } = spdy::connect(server);
        let bytes = bytes.to_vec();
        let (mut from, mut to) = tokio::io::split(client);
        let sent = tokio::spawn(async move {
            // It may have hung up.
            let _ = to.write_all(&bytes).await;
            let _ = to.shutdown().await;
        });
        let answered = tokio::spawn(async move { from.read_to_end(&mut Vec::new()).await });
        while let Some(mut stream) = opened.recv().await {
            tokio::spawn(async move { while stream.data.recv().await.is_some() {} });
        }
        drop(writer);
        let _ = sent.await;
        let _ = answered.await;
    });
}

/// A byte for the version of the protocol, and a message of a WebSocket.
pub fn exec_messages(bytes: &[u8]) {
    let Some((version, message)) = bytes.split_first() else { return };
    let protocol = if *version == 5 { "v5.channel.k8s.io" } else { "v4.channel.k8s.io" };
    let _ = websocket::read(&message.to_vec().into(), protocol);
    let text = String::from_utf8_lossy(message);
    let query = query::Query::parse(&text);
    let _ = (query.get("command"), query.all("command"), query.flag(&["tty", "stdin"]));
}

/// A pod that an API server has taken: at each moment of its life it is known what to do, and how it is.
pub fn pods(text: &[u8]) {
    let Ok(pod) = serde_json::from_slice::<Pod>(text) else { return };
    let now = Timestamp::from_second(1_000_000).expect("a time");
    let names = crate::ClusterNames { server: [10, 96, 0, 10].into(), domain: "cluster.local".to_owned() };
    let (hostname, full) = network::hostname(&pod, &names, "node");
    let _ = network::hosts(&pod, &[[10, 244, 0, 2].into()], (&hostname, full.as_deref()), "");
    let _ = network::sandbox(&pod, &model::NetworkId::from_bytes([1; 32]), hostname);
    let _ = (volume::references(&pod), volume::tokens(&pod));
    let known = spec::of(&pod);
    let all: Vec<_> =
        spec::inits(&known).chain(spec::containers(&known)).map(|(_, container)| container.clone()).collect();
    for container in &all {
        let _ = env::variables(&pod, container, &env::Objects::default(), &env::Place::default());
        let _ = (env::references(container), resources::limits(container));
        let _ = (security::who(&pod, container, "1000:1000"), security::security(&pod, container, 0, None));
    }
    let up = Seen {
        volumes: Volumes::Ready,
        sandbox: Sandboxed::Up { addresses: vec![[10, 244, 0, 2].into()] },
        ..Seen::default()
    };
    let mut running = up.clone();
    let mut ended = up.clone();
    for (place, container) in (0..=u8::MAX).cycle().zip(&all) {
        let attempt = |stage| Attempt {
            id: ContainerId::from_bytes([place; 32]),
            number: 0,
            pause_s: 0,
            image: "b".to_owned(),
            image_id: "sha256:1".to_owned(),
            resources: Default::default(),
            stage,
        };
        running.attempts.insert(container.name.clone(), vec![attempt(Stage::Running { since: now })]);
        let end = End { code: 1, oom: false, started: Some(now), finished: now, error: None, message: None };
        ended.attempts.insert(container.name.clone(), vec![attempt(Stage::Ended(end))]);
    }
    for seen in [Seen::default(), up, running, ended, Seen { gone: true, ..Seen::default() }] {
        let _ = (pod::next(&pod, &seen, now), pod::status(&pod, &seen, now));
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corpora() {
        replay::replay("spdy_frames", spdy_frames);
        replay::replay("exec_messages", exec_messages);
        replay::replay("pods", pods);
    }
}
