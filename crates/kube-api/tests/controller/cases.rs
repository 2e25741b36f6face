//! Each controller by itself: `cases/CONTROLLER/CASE.yaml` has the objects, the key and the time, `CASE.golden` what the controller then
//! wants. `UPDATE_GOLDEN=1` writes the latter.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use kube_api::controller::{
    self, Cluster, Controller, Gateway, Key, ObjectChange, ObjectRef, Pool, Ranges, Settings, Started,
};
use serde::Deserialize;
use serde_json::Value;

use super::world::key_of;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it shows.
    #[serde(rename = "shows")]
    _shows: String,
    key: String,
    #[serde(default = "noon")]
    now: String,
    #[serde(default)]
    settings: Given,
    /// The server's message to the first creation.
    refused: Option<String>,
    objects: Vec<Value>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Given {
    root_ca: String,
    pool: Option<Vec<IpNet>>,
    networks: Option<Vec<IpNet>>,
    /// The Service behind which it is.
    gateway: Option<String>,
    gateway_objects: Vec<Value>,
    gateway_by_others: bool,
    ingress_controller: String,
}

fn noon() -> String {
    "2026-01-01T12:00:00Z".into()
}

#[test]
fn cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/controller/cases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut wrong = Vec::new();
    for folder in files {
        let controller = named(folder.file_name().unwrap().to_str().unwrap());
        let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        cases.sort();
        for case in cases.iter().filter(|path| path.extension().is_some_and(|end| end == "yaml")) {
            wrong.extend(check(controller, case));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with a case.
fn check(controller: Controller, path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let case: Case = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let found = run(controller, &case);
    let golden = path.with_extension("golden");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    (found != expected).then(|| format!("--- {}\n{expected}+++ found\n{found}", golden.display()))
}

fn run(controller: Controller, case: &Case) -> String {
    let given = &case.settings;
    let mut settings = Settings {
        root_ca: given.root_ca.clone(),
        gateway: given.gateway.as_deref().map(|service| gateway(service, given)),
        ingress_controller: given.ingress_controller.clone(),
        ..Settings::default()
    };
    if let Some(pool) = &given.pool {
        settings.load_balancer = Pool::Addresses(pool.clone());
    }
    if let Some(networks) = &given.networks {
        settings.service = Ranges { networks: networks.clone(), ..Ranges::default() };
    }
    let mut cluster = Cluster::new(settings);
    let mut objects = BTreeMap::new();
    for (revision, object) in (1..).zip(&case.objects) {
        let mut object = object.clone();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-{}", object["metadata"]["name"].as_str().unwrap()).into();
        }
        let key = key_of(&object);
        cluster.put(&key, revision, object.to_string().into()).unwrap();
        object["metadata"]["resourceVersion"] = revision.to_string().into();
        objects.insert(key, object);
    }
    let key = Key { controller, object: ObjectRef::parse(&case.key).unwrap() };
    let now = case.now.parse().unwrap();
    let mut outcome = controller::reconcile(&cluster, &key, now);
    if let Some(message) = &case.refused {
        let first = outcome.changes.iter().find(|change| matches!(change, ObjectChange::Create(_))).unwrap();
        outcome = controller::refused(&cluster, &key, first, message, now).into();
    }
    let mut text = String::new();
    for change in &outcome.changes {
        tell(&mut text, &objects, change);
    }
    if let Some(again) = outcome.again {
        writeln!(text, "again after {again:?}").unwrap();
    }
    text
}

fn gateway(service: &str, given: &Given) -> Gateway {
    let reference = |object: &Value| ObjectRef::parse(&key_of(object)).unwrap();
    Gateway {
        service: ObjectRef::parse(service).unwrap(),
        objects: given.gateway_objects.iter().map(|object| (reference(object), object.clone())).collect(),
        started: if given.gateway_by_others { Started::ByOthers } else { Started::ByNeed },
    }
}

fn tell(text: &mut String, objects: &BTreeMap<String, Value>, change: &ObjectChange) {
    match change {
        ObjectChange::Create(object) => {
            writeln!(text, "create {}", object["kind"].as_str().unwrap()).unwrap();
            let mut object = object.clone();
            for field in ["apiVersion", "kind"] {
                object.as_object_mut().unwrap().remove(field);
            }
            differences(text, "", &Value::Null, &object);
        }
        ObjectChange::Update(object) => edited(text, "update", objects, object),
        ObjectChange::Status(object) => edited(text, "status", objects, object),
        ObjectChange::Finalize(object) => edited(text, "finalize", objects, object),
        ObjectChange::Delete(delete) => {
            write!(text, "delete {:?}", delete.object).unwrap();
            if let Some(propagation) = delete.propagation {
                write!(text, " {propagation:?}").unwrap();
            }
            if let Some(grace) = delete.grace_period_seconds {
                write!(text, " grace {grace}").unwrap();
            }
            text.push('\n');
        }
        ObjectChange::Bind { pod, node, .. } => writeln!(text, "bind {pod:?} to {node}").unwrap(),
        ObjectChange::Event(event) => {
            let name = event.about.name.as_deref().unwrap();
            let severity = event.severity.name();
            writeln!(text, "event {name} {severity} {} {}: {}", event.component, event.reason, event.message).unwrap();
        }
    }
}

fn edited(text: &mut String, verb: &str, objects: &BTreeMap<String, Value>, object: &Value) {
    let key = key_of(object);
    writeln!(text, "{verb} {key}").unwrap();
    differences(text, "", &objects[&key], object);
}

/// One line for each leaf that is different.
fn differences(text: &mut String, path: &str, before: &Value, after: &Value) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(_) | Value::Null, Value::Object(map)) if !map.is_empty() => {
            let mut fields: Vec<&String> =
                map.keys().chain(before.as_object().into_iter().flat_map(|map| map.keys())).collect();
            fields.sort();
            fields.dedup();
            for field in fields {
                differences(text, &format!("{path}.{field}"), &before[field], &after[field]);
            }
        }
        (Value::Array(_) | Value::Null, Value::Array(list)) if list.iter().any(Value::is_object) => {
            let length = list.len().max(before.as_array().map_or(0, Vec::len));
            for index in 0..length {
                differences(text, &format!("{path}[{index}]"), &before[index], &after[index]);
            }
        }
        (Value::Null, _) => writeln!(text, "    {}: {after}", path.trim_start_matches('.')).unwrap(),
        _ => writeln!(text, "    {}: {before} -> {after}", path.trim_start_matches('.')).unwrap(),
    }
}

fn named(folder: &str) -> Controller {
    match folder {
        "daemon_set" => Controller::DaemonSet,
        "deployment" => Controller::Deployment,
        "endpoint_slice" => Controller::EndpointSlice,
        "endpoint_slice_mirroring" => Controller::EndpointSliceMirroring,
        "endpoints" => Controller::Endpoints,
        "garbage_collection" => Controller::GarbageCollection,
        "gateway" => Controller::Gateway,
        "ingress_status" => Controller::IngressStatus,
        "load_balancer" => Controller::LoadBalancer,
        "namespace" => Controller::Namespace,
        "node_lifecycle" => Controller::NodeLifecycle,
        "pod_gc" => Controller::PodGc,
        "replica_set" => Controller::ReplicaSet,
        "scheduler" => Controller::Scheduler,
        "service_account" => Controller::ServiceAccount,
        "service_address" => Controller::ServiceAddress,
        other => panic!("no controller is named {other}"),
    }
}
