//! Which events a filter lets through.

use model::{Event, event::EventKind};
use runtime::image::Reference;

use super::show;
use crate::filter::Filters;

/// The keys that a filter may have; those of a swarm never match anything.
pub(super) const KEYS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];
/// Keys that name an object of their kind, by the start of its id or name.
const OBJECTS: [&str; 9] =
    ["container", "daemon", "network", "volume", "plugin", "service", "node", "secret", "config"];
/// Actions that have words of their own after them.
const WORDY: [&str; 3] = ["health_status", "exec_create", "exec_start"];

/// Whether an event is let through.
pub(super) fn includes(filters: &Filters, event: &Event) -> bool {
    action_matches(filters, &event.action)
        && filters.is("type", show::kind(event.kind))
        && filters.is("scope", "local")
        && OBJECTS.iter().all(|kind| object_matches(filters, kind, event))
        && image_matches(filters, event)
        && filters.labels(&event.attributes)
}

fn action_matches(filters: &Filters, action: &str) -> bool {
    if filters.get("event").iter().any(|given| WORDY.contains(&given.as_str())) {
        filters.prefix("event", action)
    } else {
        filters.is("event", action)
    }
}

fn object_matches(filters: &Filters, kind: &str, event: &Event) -> bool {
    let name = event.attributes.get("name").map(String::as_str).unwrap_or_default();
    filters.get(kind).is_empty()
        || show::kind(event.kind) == kind && (filters.prefix(kind, &event.id) || filters.prefix(kind, name))
}

/// `image=x` lets through events of the image and of containers made from it, with or without its tag.
fn image_matches(filters: &Filters, event: &Event) -> bool {
    let attribute = if event.kind == EventKind::Image { "name" } else { "image" };
    let name = event.attributes.get(attribute).map(String::as_str).unwrap_or_default();
    [event.id.as_str(), name].into_iter().any(|name| {
        let untagged = Reference::parse(name).map(|reference| reference.familiar_name());
        filters.is("image", name) || untagged.is_ok_and(|untagged| filters.is("image", &untagged))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn event(kind: EventKind, action: &str, id: &str, attributes: &[(&str, &str)]) -> Event {
        let attributes: BTreeMap<_, _> = attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Event { at_ms: 0, kind, action: action.to_owned(), id: id.to_owned(), attributes }
    }

    #[test]
    fn events_are_let_through() {
        let events = [
            event(
                EventKind::Container,
                "start",
                "c1a2",
                &[("name", "web"), ("image", "busybox:1.36"), ("tier", "front")],
            ),
            event(EventKind::Container, "exec_start: /bin/sh", "c3b4", &[("name", "db"), ("image", "sha256:77")]),
            event(EventKind::Container, "health_status: healthy", "c3b4", &[("name", "db")]),
            event(EventKind::Network, "connect", "n1", &[("name", "front"), ("container", "c1a2")]),
            event(EventKind::Image, "pull", "busybox:1.36", &[("name", "busybox")]),
            event(EventKind::Volume, "create", "data", &[("driver", "local")]),
        ];
        let check = |filter: &str, expected: &[usize]| {
            let filters = Filters::parse(filter, &KEYS).unwrap();
            let found: Vec<_> = (0..events.len()).filter(|at| includes(&filters, &events[*at])).collect();
            assert_eq!(found, expected, "{filter}");
        };
        check("{}", &[0, 1, 2, 3, 4, 5]);
        check(r#"{"type":["container"]}"#, &[0, 1, 2]);
        check(r#"{"type":["container","volume"],"event":["start","create"]}"#, &[0, 5]);
        check(r#"{"event":["exec_start"]}"#, &[1]);
        check(r#"{"event":["health_status"]}"#, &[2]);
        check(r#"{"event":["exec_start: /bin/sh"]}"#, &[1]);
        check(r#"{"container":["web"]}"#, &[0]);
        check(r#"{"container":["c1"]}"#, &[0]);
        check(r#"{"container":["c3b4"]}"#, &[1, 2]);
        check(r#"{"network":["front"]}"#, &[3]);
        check(r#"{"volume":["data"]}"#, &[5]);
        check(r#"{"image":["busybox"]}"#, &[0, 4]);
        check(r#"{"image":["busybox:1.36"]}"#, &[0, 4]);
        check(r#"{"label":["tier=front"]}"#, &[0]);
        check(r#"{"label":["tier"],"event":["stop"]}"#, &[]);
        check(r#"{"scope":["swarm"]}"#, &[]);
        check(r#"{"service":["x"]}"#, &[]);
    }
}
