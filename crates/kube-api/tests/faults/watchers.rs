//! Clients that watch and do not read.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Response, body::Incoming};
use serde_json::{Value, json};
use store::objects::Expect;
use tokio::io::AsyncWriteExt;

use crate::front::{Front, Version, eventually, many, request, rss_mib};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// As many as can be had: both ends are in this process, and descriptors are few.
const WATCHERS: usize = 1000;

/// Changes one object again and again, past the API: as fast as can be.
async fn change(front: &Front, times: usize) {
    let key = "/core/configmaps/default/busy";
    let stored = front.objects.snapshot().await.unwrap().get(key).unwrap().clone();
    let text = String::from_utf8(stored.value.to_vec()).unwrap();
    let mut running = tokio::task::JoinSet::new();
    for number in 0..times {
        let (objects, value) = (front.objects.clone(), Bytes::from(text.replace("NUMBER", &number.to_string())));
        running.spawn(async move { objects.write(key, Expect::Any, Some(value)).await.unwrap() });
        if running.len() >= 256 {
            running.join_next().await;
        }
    }
    while running.join_next().await.is_some() {}
}

async fn front() -> Front {
    let front = Front::start().await;
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "busy" }, "data": { "number": "NUMBER", "padding": "x".repeat(1500) },
    });
    front.must("POST", MAPS, &map).await;
    front
}

/// A watch, and what has come of the next event.
struct Watching(Response<Incoming>, Vec<u8>);

impl Watching {
    /// The next event; none when it is over.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.1.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.1.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(Duration::from_secs(60), self.0.body_mut().frame())
                .await
                .expect("it tells or ends")?;
            self.1.extend_from_slice(&frame.ok()?.into_data().unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_who_do_not_read_cost_little_and_are_let_go() {
    let front = front().await;
    let watch = format!("GET {MAPS}?watch=1 HTTP/1.1\r\nHost: l\r\n\r\n");
    let admin = front.admin(Version::Http1);
    let empty = rss_mib();
    let mut deaf = Vec::new();
    for _ in 0..WATCHERS {
        let mut stream = front.connect_with_little_room(admin.clone()).await.unwrap();
        stream.write_all(watch.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        deaf.push(stream);
    }
    let mut hears = front.sender(front.admin(Version::Http2)).await;
    let heard = hears.send(request("GET", &format!("{MAPS}?watch=1"), "")).await.unwrap();
    let mut heard = Watching(heard, Vec::new());
    assert!(heard.next().await.is_some());
    let reading = tokio::spawn(async move {
        let mut last = Value::Null;
        while let Some(event) = heard.next().await {
            assert_ne!(event["type"], "ERROR", "{event}");
            last = event["object"]["data"]["number"].clone();
            if last == "the last" {
                return;
            }
        }
        panic!("the watch of who reads ended after {last}");
    });
    let before = rss_mib();
    let changes = many(20_000);
    change(&front, changes).await;
    let after = rss_mib();
    println!(
        "{WATCHERS} watchers: {} MiB; {changes} changes that they do not read: {} MiB more",
        before - empty,
        after.saturating_sub(before)
    );
    assert!(after < before + 300, "{before} MiB before, {after} MiB after");
    front.must("PATCH", &format!("{MAPS}/busy"), &json!({ "data": { "number": "the last" } })).await;
    reading.await.unwrap();
    // Who takes nothing for long is cut off: the connection ends before what was told does.
    eventually("those who do not read are let go", async || {
        let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let port = format!("0100007F:{:04X}", front.address.port());
        // Established, on the server's side.
        let open = connections
            .lines()
            .filter(|line| line.split_whitespace().nth(1) == Some(&port))
            .filter(|line| line.split_whitespace().nth(3) == Some("01"));
        open.count() < 10
    })
    .await;
    drop(deaf);
    front.serves_others().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_reads_late_is_told_that_it_missed_something() {
    for version in [Version::Http1, Version::Http2] {
        let front = front().await;
        let mut sender = front.sender(front.admin(version)).await;
        let response = sender.send(request("GET", &format!("{MAPS}?watch=1"), "")).await.unwrap();
        let mut watch = Watching(response, Vec::new());
        assert!(watch.next().await.is_some());
        // More than is remembered.
        change(&front, 40_000).await;
        let mut last = Value::Null;
        while let Some(event) = watch.next().await {
            last = event;
        }
        // Over HTTP/1.1 it may have been cut off meanwhile, without a word.
        let told = (last["type"].as_str(), last["object"]["code"].as_u64()) == (Some("ERROR"), Some(410));
        assert!(told || version == Version::Http1, "{version:?}: {last:.300}");
        front.serves_others().await;
    }
}
