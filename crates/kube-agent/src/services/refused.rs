//! What the engine could not do for a Service, told to the API as an event of it: a port that somebody else has, a field that makes no
//! sense.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{self as core, ObjectReference};
use kube::Api;
use model::{event::EventKind, service::NamespacedName};
use tokio::{sync::broadcast::error::RecvError, time::timeout};
use tracing::debug;

use crate::{Shared, event::Kind};

/// How long the API may take to say which object an event is of.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells it for as long as the engine does.
pub async fn tell(shared: &Arc<Shared>) {
    let (_, mut events) = shared.engine.events().watch();
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(missed)) => {
                debug!(missed, "some of what services do not get is not told");
                continue;
            }
            Err(RecvError::Closed) => return,
        };
        if event.kind == EventKind::Service && event.action == "quarantine" {
            let why = event.attributes.get("reason").cloned().unwrap_or_default();
            about(shared, &event.id.as_str().into(), Kind::Warning, "FailedToProxyService", why).await;
        }
    }
}

/// Tells something of a Service; of one that is gone nothing.
pub async fn about(shared: &Shared, service: &NamespacedName, kind: Kind, reason: &'static str, words: String) {
    let (namespace, name) = service.parts();
    let services: Api<core::Service> = Api::namespaced(shared.client.clone(), namespace);
    let Ok(Ok(Some(found))) = timeout(PATIENCE, services.get_opt(name)).await else { return };
    let about = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Service".to_owned()),
        name: found.metadata.name,
        namespace: found.metadata.namespace,
        uid: found.metadata.uid,
        resource_version: found.metadata.resource_version,
        field_path: None,
    };
    shared.recorder.tell_of("kube-proxy", about, kind, reason, words);
}
