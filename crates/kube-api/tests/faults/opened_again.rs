//! A cluster that is opened: with other settings than before, and before its controllers may begin.

use std::{collections::BTreeMap, path::Path};

use kube_api::{ApiServer, OpenError};
use serde_json::{Value, json};
use store::objects::{Expect, Objects, Options};
use tokio::sync::oneshot;

use crate::front::{Front, eventually, opening};

/// The Services that the cluster itself serves, and its objects beside each.
const OWN: [&str; 2] = ["default/kubernetes", "kube-system/kube-dns"];

/// The addresses of its own Services, and their uids.
type Own = BTreeMap<&'static str, (String, String)>;

async fn open(objects: &Objects, folder: &Path, range: &str, dns: &str) -> Result<Own, OpenError> {
    let mut opening = opening(objects.clone(), folder);
    opening.settings.service_ranges = vec![range.parse().unwrap()];
    opening.settings.dns = Some(dns.parse().unwrap());
    ApiServer::open(opening).await?;
    let now = objects.cached();
    let read = |key: String| serde_json::from_slice::<Value>(&now.get(&key).expect(&key).value).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let own = OWN.map(|name| {
        let service = read(format!("/core/services/{name}"));
        for beside in ["/core/endpoints", "/discovery.k8s.io/endpointslices"] {
            read(format!("{beside}/{name}"));
        }
        (name, (text(&service["spec"]["clusterIP"]), text(&service["metadata"]["uid"])))
    });
    Ok(own.into())
}

#[tokio::test]
async fn with_another_range_of_services() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Objects::open_sqlite(&folder.path().join("kube.db"), Options::default()).await.unwrap();
    let addresses = |own: &Own| OWN.map(|name| own[name].0.clone());
    let first = open(&objects, folder.path(), "10.96.0.0/16", "10.96.0.10").await.unwrap();
    assert_eq!(addresses(&first), ["10.96.0.1", "10.96.0.10"]);
    let same = open(&objects, folder.path(), "10.96.0.0/16", "10.96.0.10").await.unwrap();
    assert_eq!(same, first, "they stay who they are");
    let moved = open(&objects, folder.path(), "10.97.0.0/16", "10.97.0.10").await.unwrap();
    assert_eq!(addresses(&moved), ["10.97.0.1", "10.97.0.10"]);
    // What cannot move stays, and the remedy is told.
    let write = async |key: &str, change: &dyn Fn(&mut Value)| {
        let stored = objects.cached().get("/core/services/default/kubernetes").unwrap().value.clone();
        let mut service: Value = serde_json::from_slice(&stored).unwrap();
        change(&mut service);
        objects.write(key, Expect::Any, Some(service.to_string().into())).await.unwrap();
    };
    let refused = async |words: &str| {
        let error = open(&objects, folder.path(), "10.98.0.0/16", "10.98.0.10").await.unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("start once more with"), "{error}");
    };
    let holder = "/core/services/default/web";
    write(holder, &|web| {
        web["metadata"]["name"] = "web".into();
        web["spec"]["clusterIP"] = "10.98.0.1".into();
        web["spec"]["clusterIPs"] = json!(["10.98.0.1"]);
    })
    .await;
    refused("Service default/web has that address").await;
    objects.write(holder, Expect::Any, None).await.unwrap();
    let own = "/core/services/default/kubernetes";
    write(own, &|own| own["metadata"]["finalizers"] = json!(["a.b/c"])).await;
    refused("its finalizers keep it").await;
    write(own, &|own| drop(own["metadata"].as_object_mut().unwrap().remove("finalizers"))).await;
    let stayed = open(&objects, folder.path(), "10.97.0.0/16", "10.97.0.10").await.unwrap();
    assert_eq!(stayed, moved);
}

#[tokio::test]
async fn with_controllers_that_wait_for_what_is_more_urgent() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Objects::open_sqlite(&folder.path().join("kube.db"), Options::default()).await.unwrap();
    let (begin, begun) = oneshot::channel::<()>();
    let front = Front::held(objects, folder, async { drop(begun.await) }).await;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } });
    front.must("POST", "/api/v1/namespaces", &namespace).await;
    let account = async || front.ask("GET", "/api/v1/namespaces/shop/serviceaccounts/default", "").await.0;
    for _ in 0..100 {
        assert_eq!(account().await, 404, "nobody controls yet");
    }
    begin.send(()).unwrap();
    eventually("the controllers begin", async || account().await == 200).await;
}
