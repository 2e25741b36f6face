//! What is wrong with an Ingress, told as an Event on it, once.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::{
    api::{events::v1::Event, networking::v1::Ingress},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, Resource, ResourceExt, api::PostParams};
use tokio::sync::mpsc;

use crate::ingress::{Ingresses, Problem};

/// Who tells.
const CONTROLLER: &str = "linkspan-gateway";

/// Problems that wait to be told; more are for the log alone.
const WAITING: usize = 256;

/// The longest note of an event, octets (events.k8s.io/v1).
const NOTE_MAX: usize = 1024;

/// Tells problems, behind the back of the watches.
pub(super) struct Problems {
    known: BTreeSet<Problem>,
    queue: mpsc::Sender<(Ingress, String)>,
}

impl Problems {
    pub fn start(client: Client) -> Self {
        let (queue, mut told) = mpsc::channel::<(Ingress, String)>(WAITING);
        let instance = std::env::var("POD_NAME").ok().filter(|name| !name.is_empty());
        let instance = instance.unwrap_or_else(|| CONTROLLER.to_owned());
        tokio::spawn(async move {
            while let Some((ingress, text)) = told.recv().await {
                let namespace = ingress.namespace().unwrap_or_default();
                let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
                let event = event(&ingress, &text, &instance, Timestamp::now());
                if let Err(error) = events.create(&PostParams::default(), &event).await {
                    tracing::debug!(%error, "an event was not taken");
                }
            }
        });
        Self { known: BTreeSet::new(), queue }
    }

    /// Tells what is wrong now and was not before.
    pub fn tell(&mut self, ingresses: &Ingresses) {
        let now = ingresses.problems();
        for problem in now.difference(&self.known) {
            let Problem { ingress: (namespace, name), text } = problem;
            tracing::warn!(ingress = %format_args!("{namespace}/{name}"), "{text}");
            if let Some(ingress) = ingresses.ingress(&problem.ingress) {
                // Full: it is in the log.
                let _ = self.queue.try_send((ingress.clone(), text.clone()));
            }
        }
        self.known = now;
    }
}

fn event(ingress: &Ingress, text: &str, instance: &str, at: Timestamp) -> Event {
    Event {
        metadata: ObjectMeta {
            namespace: ingress.namespace(),
            name: Some(format!("{}.{:x}", ingress.name_any(), at.as_nanosecond())),
            ..ObjectMeta::default()
        },
        regarding: Some(ingress.object_ref(&())),
        type_: Some("Warning".to_owned()),
        reason: Some("NotServed".to_owned()),
        action: Some("Translate".to_owned()),
        note: Some(text[..text.floor_char_boundary(NOTE_MAX)].to_owned()),
        event_time: Some(MicroTime(at)),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_has_what_its_group_wants() {
        let ingress: Ingress = serde_json::from_value(json!({
            "metadata": { "namespace": "shop", "name": "web", "uid": "1" }
        }))
        .expect("an ingress");
        let at: Timestamp = "2026-11-30T10:00:00.5Z".parse().expect("a time");
        let told = event(&ingress, &"ä".repeat(600), "gateway-0", at);
        assert_eq!(told.note.as_deref().map(str::len), Some(1024));
        let told = serde_json::to_value(event(&ingress, "service web does not exist", "gateway-0", at)).expect("JSON");
        let expected = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": { "namespace": "shop", "name": "web.18ecca50f6c0a500" },
            "regarding": {
                "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "namespace": "shop", "name": "web", "uid": "1",
            },
            "type": "Warning",
            "reason": "NotServed",
            "action": "Translate",
            "note": "service web does not exist",
            "eventTime": "2026-11-30T10:00:00.500000Z",
            "reportingController": "linkspan-gateway",
            "reportingInstance": "gateway-0",
        });
        assert_eq!(told, expected);
    }
}
