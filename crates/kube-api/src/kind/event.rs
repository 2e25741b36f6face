//! `v1 Event` and `events.k8s.io/v1 Event`: the same happenings under other field names. Objects are read by whichever names they have.

use jiff::Timestamp;
use serde_json::Value;

use super::{Column, Errors, Kind, NameRule, Path, Twin, column, syntax};
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
    validate,
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
    validate,
    validate_create,
    validate_update,
    fields: &[
        ("regarding.kind", |event| event.text("regarding.kind").to_owned()),
        ("regarding.namespace", |event| event.text("regarding.namespace").to_owned()),
        ("regarding.name", |event| event.text("regarding.name").to_owned()),
        ("regarding.uid", |event| event.text("regarding.uid").to_owned()),
        ("regarding.apiVersion", |event| event.text("regarding.apiVersion").to_owned()),
        ("regarding.resourceVersion", |event| event.text("regarding.resourceVersion").to_owned()),
        ("regarding.fieldPath", |event| event.text("regarding.fieldPath").to_owned()),
        ("reason", |event| event.text("reason").to_owned()),
        ("reportingController", |event| event.text("reportingController").to_owned()),
        ("type", |event| event.text("type").to_owned()),
    ],
    twin: Some(Twin {
        of: &CORE,
        fields: &[
            ("regarding", "involvedObject"),
            ("note", "message"),
            ("reportingController", "reportingComponent"),
            ("deprecatedSource", "source"),
            ("deprecatedFirstTimestamp", "firstTimestamp"),
            ("deprecatedLastTimestamp", "lastTimestamp"),
            ("deprecatedCount", "count"),
        ],
    }),
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

/// The longest action, reason and name of an instance.
const WORD_MAX: usize = 128;
/// The longest message.
const NOTE_MAX: usize = 1024;

/// An event that says when it happened is of the younger form, which must say more. Both groups name the fields as the core group does.
fn validate(event: &Value, errors: &mut Errors) {
    let (own, other) = (event.text("metadata.namespace"), about(event).text("namespace"));
    let is_young = event.at("eventTime").is_some();
    let fits = match (other, is_young) {
        ("", true) => matches!(own, "default" | "kube-system"),
        ("", false) => own == "default",
        (other, true) => !other.is_empty(),
        (other, false) => own == other,
    };
    if !fits {
        errors.invalid(&Path::new("involvedObject.namespace"), other, "does not match event.namespace");
    }
    if !is_young {
        return;
    }
    let controller = either(event, "reportingComponent", "reportingController");
    let reporting = Path::new("reportingController");
    match (controller, syntax::qualified_name(controller)) {
        ("", _) => errors.required(&reporting, ""),
        (_, Some(wrong)) => errors.invalid(&reporting, controller, wrong),
        (_, None) => {}
    }
    for field in ["reportingInstance", "action", "reason"] {
        match event.text(field) {
            "" => errors.required(&Path::new(field), ""),
            text if text.len() > WORD_MAX => {
                errors.invalid(&Path::new(field), "", format!("can have at most {WORD_MAX} characters"));
            }
            _ => {}
        }
    }
    if either(event, "message", "note").len() > NOTE_MAX {
        errors.invalid(&Path::new("message"), "", format!("can have at most {NOTE_MAX} characters"));
    }
}

fn validate_create(event: &Value, errors: &mut Errors) {
    series(event, errors);
    if event.at("eventTime").is_none() {
        errors.required(&Path::new("eventTime"), "");
    }
    let of = event.text("type");
    if !matches!(of, "Normal" | "Warning") {
        errors.invalid(&Path::new("type"), "", format!("has invalid value: {of}"));
    }
    let old = [
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("deprecatedSource", "source"),
    ];
    for (field, told) in old {
        let says =
            event.at(field).is_some_and(|value| !matches!(value.as_i64(), Some(0)) && *value != serde_json::json!({}));
        if says {
            errors.invalid(&Path::new(told), "", "needs to be unset");
        }
    }
}

/// Only how it goes on may change.
fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    if new.at("series") != old.at("series") {
        series(new, errors);
    }
    for (field, told) in [
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("deprecatedSource", "source"),
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ] {
        if new.at(field) != old.at(field) {
            errors.invalid(&Path::new(told), new.at(field).cloned().unwrap_or_default(), "field is immutable");
        }
    }
}

fn series(event: &Value, errors: &mut Errors) {
    let Some(series) = event.at("series") else { return };
    if series.int("count").unwrap_or_default() < 2 {
        errors.invalid(&Path::new("series.count"), "", "should be at least 2");
    }
    if series.at("lastObservedTime").is_none() {
        errors.required(&Path::new("series.lastObservedTime"), "");
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
