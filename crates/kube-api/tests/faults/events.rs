//! Events by the thousand: what is kept is bounded in memory and on the disk.

use std::time::Instant;

use bytes::Bytes;
use serde_json::json;
use store::objects::Expect;
use tokio::task::JoinSet;

use crate::front::{Front, eventually, many, rss_mib};

const EVENTS: &str = "/api/v1/namespaces/default/events";
/// How many may stay.
const KEPT: usize = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_do_not_pile_up() {
    let front = Front::start().await;
    let times = many(25_000);
    let before = rss_mib();
    let begun = Instant::now();
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": { "name": "one" }, "reason": "Talks", "type": "Normal", "message": "it says NUMBER",
        "involvedObject": { "kind": "Pod", "namespace": "default", "name": "web" }, "source": { "component": "test" },
    });
    front.must("POST", EVENTS, &event).await;
    // The others as the API would write them, but faster.
    let stored = front.objects.snapshot().await.unwrap().get("/core/events/default/one").unwrap().clone();
    let text = String::from_utf8(stored.value.to_vec()).unwrap();
    let (mut running, mut most) = (JoinSet::new(), 0);
    for number in 0..times {
        let (objects, value) = (front.objects.clone(), Bytes::from(text.replace("NUMBER", &number.to_string())));
        let key = format!("/core/events/default/one.{number}");
        running.spawn(async move { objects.write(&key, Expect::Absent, Some(value)).await.unwrap() });
        if running.len() >= 256 {
            running.join_next().await;
        }
        if number % 1000 == 0 {
            most = most.max(front.objects.cached().range("/core/events/", None).count());
        }
    }
    while running.join_next().await.is_some() {}
    let written = begun.elapsed();
    eventually("the oldest are gone", async || front.objects.cached().range("/core/events/", None).count() <= KEPT)
        .await;
    let left = front.objects.cached().range("/core/events/", None).count();
    let size: u64 = ["kube.db", "kube.db-wal"]
        .iter()
        .map(|name| std::fs::metadata(front.folder().join(name)).map_or(0, |file| file.len()))
        .sum();
    let rss = rss_mib().saturating_sub(before);
    println!(
        "{times} events in {written:.1?}; {most} at a time, {left} left, {} MiB of file, {rss} MiB of memory",
        size >> 20
    );
    assert!(most < 5 * KEPT, "however fast they come: {most}");
    assert!(left > KEPT / 2, "those of late are there: {left}");
    assert!(size < 256 << 20 && rss < 512, "{size} bytes, {rss} MiB");
}
