//! `v1 Event` and `events.k8s.io/v1 Event`: the same happenings under other field names. Objects are read by whichever names they have.

use jiff::Timestamp;
use serde_json::Value;

use super::{Column, Errors, Kind, NameRule, Path, column};
use crate::object::Look;

/// Of the core group.
pub static CORE: Kind = Kind {
    kind: "Event",
    plural: "events",
    singular: "event",
    short: &["ev"],
    schema: "Event",
    name: NameRule::Subdomain,
    columns: COLUMNS,
    validate: |event, errors| same_namespace(event, "involvedObject", errors),
    fields: &[
        ("involvedObject.kind", |event| event.text("involvedObject.kind").to_owned()),
        ("involvedObject.namespace", |event| event.text("involvedObject.namespace").to_owned()),
        ("involvedObject.name", |event| event.text("involvedObject.name").to_owned()),
        ("involvedObject.uid", |event| event.text("involvedObject.uid").to_owned()),
        ("involvedObject.apiVersion", |event| event.text("involvedObject.apiVersion").to_owned()),
        ("involvedObject.resourceVersion", |event| event.text("involvedObject.resourceVersion").to_owned()),
        ("involvedObject.fieldPath", |event| event.text("involvedObject.fieldPath").to_owned()),
        ("reason", |event| event.text("reason").to_owned()),
        ("reportingComponent", |event| event.text("reportingComponent").to_owned()),
        ("source", |event| source_component(event).to_owned()),
        ("type", |event| event.text("type").to_owned()),
    ],
    ..Kind::BASE
};

/// Of the group `events.k8s.io`.
pub static GROUP: Kind = Kind {
    group: "events.k8s.io",
    kind: "Event",
    plural: "events",
    singular: "event",
    short: &["ev"],
    schema: "events.Event",
    columns: COLUMNS,
    validate: |event, errors| same_namespace(event, "regarding", errors),
    fields: &[
        ("regarding.kind", |event| event.text("regarding.kind").to_owned()),
        ("regarding.namespace", |event| event.text("regarding.namespace").to_owned()),
        ("regarding.name", |event| event.text("regarding.name").to_owned()),
        ("regarding.uid", |event| event.text("regarding.uid").to_owned()),
        ("reason", |event| event.text("reason").to_owned()),
        ("reportingController", |event| event.text("reportingController").to_owned()),
        ("type", |event| event.text("type").to_owned()),
    ],
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    column::text("Last Seen", "Time since it happened last.", |event, now| last_seen(event, now).into()),
    column::text("Type", "Normal or Warning.", |event, _| event.text("type").into()),
    column::text("Reason", "Why, in one word.", |event, _| event.text("reason").into()),
    column::text("Object", "What it happened to.", |event, _| {
        let about = about(event);
        match (about.text("kind").to_lowercase(), about.text("name")) {
            (kind, "") => kind.into(),
            (kind, name) => format!("{kind}/{name}").into(),
        }
    }),
    column::wide("Subobject", "Which part of it.", |event, _| about(event).text("fieldPath").into()),
    column::wide("Source", "Who tells it.", |event, _| source(event).into()),
    column::text("Message", "In words.", |event, _| either(event, "message", "note").trim().into()),
    column::wide("First Seen", "Time since it happened first.", |event, now| first_seen(event, now).into()),
    column::wide("Count", "How often it happened.", |event, _| count(event).into()),
    Column { priority: 1, ..column::NAME },
];

static NOTHING: Value = Value::Null;

fn about(event: &Value) -> &Value {
    event.at("involvedObject").or_else(|| event.at("regarding")).unwrap_or(&NOTHING)
}

fn either<'a>(event: &'a Value, core: &str, group: &str) -> &'a str {
    column::or(event.text(core), event.text(group))
}

fn first_seen(event: &Value, now: Timestamp) -> String {
    let first = either(event, "firstTimestamp", "deprecatedFirstTimestamp");
    column::since(column::or(first, event.text("eventTime")), now)
}

fn last_seen(event: &Value, now: Timestamp) -> String {
    let last =
        column::or(event.text("series.lastObservedTime"), either(event, "lastTimestamp", "deprecatedLastTimestamp"));
    if last.is_empty() { first_seen(event, now) } else { column::since(last, now) }
}

fn count(event: &Value) -> i64 {
    let told = ["series.count", "count", "deprecatedCount"].into_iter().find_map(|path| event.int(path));
    told.filter(|count| *count > 0).unwrap_or(1)
}

fn source_component(event: &Value) -> &str {
    let component = either(event, "source.component", "deprecatedSource.component");
    column::or(component, either(event, "reportingComponent", "reportingController"))
}

fn source(event: &Value) -> String {
    let host = either(event, "source.host", "deprecatedSource.host");
    let host = column::or(host, event.text("reportingInstance"));
    let component = source_component(event);
    if host.is_empty() { component.to_owned() } else { format!("{component}, {host}") }
}

fn same_namespace(event: &Value, about: &str, errors: &mut Errors) {
    let (own, other) = (event.text("metadata.namespace"), event.text(&format!("{about}.namespace")));
    let fits = if other.is_empty() { own == "default" } else { own == other };
    if !fits {
        errors.invalid(&Path::new(about).field("namespace"), other, "does not match event.namespace");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_are_shown_alike() {
        let now = "2026-01-01T00:10:00Z".parse().expect("a time");
        let core = json!({ "type": "Normal", "reason": "Pulled", "message": "It is here ", "count": 3, "source": { "component": "kubelet", "host": "n" },
            "involvedObject": { "kind": "Pod", "name": "web", "fieldPath": "spec.containers{a}" },
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:09:30Z" });
        let group = json!({ "type": "Normal", "reason": "Pulled", "note": "It is here", "reportingController": "kubelet", "reportingInstance": "n",
            "regarding": { "kind": "Pod", "name": "web", "fieldPath": "spec.containers{a}" }, "metadata": {},
            "eventTime": "2026-01-01T00:00:00.000000Z", "series": { "count": 3, "lastObservedTime": "2026-01-01T00:09:30.000000Z" } });
        for event in [core, group] {
            let cells: Vec<Value> = COLUMNS[..9].iter().map(|column| (column.cell)(&event, now)).collect();
            let expected = json!([
                "30s",
                "Normal",
                "Pulled",
                "pod/web",
                "spec.containers{a}",
                "kubelet, n",
                "It is here",
                "10m",
                3
            ]);
            assert_eq!(json!(cells), expected);
        }
    }
}
