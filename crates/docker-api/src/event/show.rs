//! Events as Docker shows them.

use model::{Event, event::EventKind};
use serde_json::{Value, json};

/// The kind's name.
pub(super) fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Container => "container",
        EventKind::Network => "network",
        EventKind::Volume => "volume",
        EventKind::Service => "service",
        EventKind::Image => "image",
        EventKind::Daemon => "daemon",
    }
}

/// An event; containers and images also in the words of the first API versions.
pub(super) fn show(event: &Event) -> Value {
    let mut shown = json!({
        "Type": kind(event.kind),
        "Action": event.action,
        "Actor": { "ID": event.id, "Attributes": event.attributes },
        "scope": "local",
        "time": event.at_ms.div_euclid(1000),
        "timeNano": event.at_ms.saturating_mul(1_000_000),
    });
    if matches!(event.kind, EventKind::Container | EventKind::Image) {
        shown["status"] = json!(event.action);
        shown["id"] = json!(event.id);
    }
    if event.kind == EventKind::Container
        && let Some(image) = event.attributes.get("image")
    {
        shown["from"] = json!(image);
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn check(kind: EventKind, attributes: &[(&str, &str)], expected: Value) {
        let attributes: BTreeMap<_, _> = attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let event =
            Event { at_ms: 1_700_000_000_123, kind, action: "create".to_owned(), id: "a1".to_owned(), attributes };
        assert_eq!(show(&event), expected);
    }

    #[test]
    fn events_are_shown() {
        check(
            EventKind::Network,
            &[("name", "front")],
            json!({
                "Type": "network", "Action": "create", "Actor": {"ID": "a1", "Attributes": {"name": "front"}},
                "scope": "local", "time": 1_700_000_000, "timeNano": 1_700_000_000_123_000_000_i64,
            }),
        );
        check(
            EventKind::Container,
            &[("image", "busybox"), ("name", "web")],
            json!({
                "status": "create", "id": "a1", "from": "busybox", "Type": "container", "Action": "create",
                "Actor": {"ID": "a1", "Attributes": {"image": "busybox", "name": "web"}},
                "scope": "local", "time": 1_700_000_000, "timeNano": 1_700_000_000_123_000_000_i64,
            }),
        );
    }
}
