//! A cluster that is there, opened again with other settings.

use std::{collections::BTreeMap, path::Path};

use kube_api::ApiServer;
use serde_json::Value;
use store::objects::{Objects, Options};

use crate::front::opening;

/// The Services that the cluster itself serves, and its objects beside each.
const OWN: [&str; 2] = ["default/kubernetes", "kube-system/kube-dns"];

/// The addresses of its own Services, and their uids.
type Own = BTreeMap<&'static str, (String, String)>;

async fn open(objects: &Objects, folder: &Path, range: &str, dns: &str) -> Own {
    let mut opening = opening(objects.clone(), folder);
    opening.settings.service_ranges = vec![range.parse().unwrap()];
    opening.settings.dns = Some(dns.parse().unwrap());
    ApiServer::open(opening).await.unwrap();
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
    own.into()
}

#[tokio::test]
async fn with_another_range_of_services() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Objects::open_sqlite(&folder.path().join("kube.db"), Options::default()).await.unwrap();
    let addresses = |own: &Own| OWN.map(|name| own[name].0.clone());
    let first = open(&objects, folder.path(), "10.96.0.0/16", "10.96.0.10").await;
    assert_eq!(addresses(&first), ["10.96.0.1", "10.96.0.10"]);
    let same = open(&objects, folder.path(), "10.96.0.0/16", "10.96.0.10").await;
    assert_eq!(same, first, "they stay who they are");
    let moved = open(&objects, folder.path(), "10.97.0.0/16", "10.97.0.10").await;
    assert_eq!(addresses(&moved), ["10.97.0.1", "10.97.0.10"]);
}
