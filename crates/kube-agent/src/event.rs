//! Events: what happened to the pods of this node, and to services here, told to the API. What happens again is counted, not told anew.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::mpsc;
use tracing::debug;

/// How many kinds of events are remembered, to be counted when they happen again.
const REMEMBERED: usize = 4096;

/// Where events are told of what is in no namespace.
const NAMESPACE: &str = "default";

/// How serious an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Where events are told. They are sent in turn, behind the back of whoever tells them.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::UnboundedSender<Told>,
}

struct Told {
    component: &'static str,
    about: ObjectReference,
    kind: Kind,
    reason: &'static str,
    message: String,
    at: Timestamp,
}

impl Recorder {
    /// A recorder, and the task that sends what it is told.
    pub fn new(client: Client, node: String) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, told) = mpsc::unbounded_channel();
        (Self { queue }, send(client, node, told))
    }

    /// Tells of a node, by whose name kubectl finds what its kubelet says.
    pub fn tell_of_node(&self, node: &str, reason: &'static str, message: impl Into<String>) {
        let about = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            uid: Some(node.to_owned()),
            ..ObjectReference::default()
        };
        self.tell_of("kubelet", about, Kind::Normal, reason, message);
    }

    /// Tells of a pod; `field` is the part of it that the event is about, if not the whole.
    pub fn tell(&self, pod: &Pod, field: Option<String>, kind: Kind, reason: &'static str, message: impl Into<String>) {
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            resource_version: pod.metadata.resource_version.clone(),
            field_path: field,
        };
        self.tell_of("kubelet", about, kind, reason, message);
    }

    /// Tells of any object, as one of the components that a node has in Kubernetes.
    pub fn tell_of(
        &self,
        component: &'static str,
        about: ObjectReference,
        kind: Kind,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        // The agent ends: nobody sends anything any more.
        let _ = self.queue.send(Told { component, about, kind, reason, message: message.into(), at: Timestamp::now() });
    }
}

/// What makes two events the same.
type Sameness = (Option<String>, Option<String>, &'static str, String);

async fn send(client: Client, node: String, mut told: mpsc::UnboundedReceiver<Told>) {
    let mut known: HashMap<Sameness, (String, i32)> = HashMap::new();
    while let Some(told) = told.recv().await {
        let sameness = (told.about.uid.clone(), told.about.field_path.clone(), told.reason, told.message.clone());
        let namespace = told.about.namespace.clone().unwrap_or_else(|| NAMESPACE.to_owned());
        let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let at = Time(told.at);
        if let Some((name, count)) = known.get_mut(&sameness) {
            *count += 1;
            let again = json!({ "count": *count, "lastTimestamp": at });
            if events.patch(name, &PatchParams::default(), &Patch::Merge(again)).await.is_ok() {
                continue;
            }
        }
        let event = event(&node, told, at);
        match events.create(&PostParams::default(), &event).await {
            Ok(_) => {
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                known.insert(sameness, (event.metadata.name.unwrap_or_default(), 1));
            }
            Err(error) => debug!(%error, "an event was not told"),
        }
    }
}

fn event(node: &str, told: Told, at: Time) -> Event {
    let name = told.about.name.clone().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", told.at.as_nanosecond())),
            namespace: told.about.namespace.clone().or_else(|| Some(NAMESPACE.to_owned())),
            ..ObjectMeta::default()
        },
        involved_object: told.about,
        reason: Some(told.reason.to_owned()),
        message: Some(told.message),
        type_: Some(if told.kind == Kind::Normal { "Normal" } else { "Warning" }.to_owned()),
        source: Some(EventSource { component: Some(told.component.to_owned()), host: Some(node.to_owned()) }),
        reporting_component: Some(told.component.to_owned()),
        reporting_instance: Some(node.to_owned()),
        first_timestamp: Some(at.clone()),
        last_timestamp: Some(at),
        count: Some(1),
        ..Event::default()
    }
}
