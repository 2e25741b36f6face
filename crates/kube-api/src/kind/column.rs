//! The columns that several kinds have, and how kubectl shows ages, labels and long lists.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Column;
use crate::object::Look;

/// What is shown where there is nothing.
pub const NONE: &str = "<none>";
/// What is shown where something is not known.
pub const UNKNOWN: &str = "<unknown>";

/// The name.
pub const NAME: Column = Column {
    format: "name",
    ..text("Name", "Unique within its namespace and resource.", |object, _| object.text("metadata.name").into())
};
/// The time since it was made.
pub const AGE: Column = text("Age", "Time since it was stored first.", |object, now| {
    since(object.text("metadata.creationTimestamp"), now).into()
});

/// A column of text.
pub const fn text(name: &'static str, doc: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column { name, kind: "string", format: "", doc, priority: 0, cell }
}

/// A column of whole numbers.
pub const fn integer(name: &'static str, doc: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column { kind: "integer", ..text(name, doc, cell) }
}

/// A column of text that `-o wide` shows.
pub const fn wide(name: &'static str, doc: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column { priority: 1, ..text(name, doc, cell) }
}

/// Text, or what is shown in its stead.
pub fn or<'a>(text: &'a str, instead: &'a str) -> &'a str {
    if text.is_empty() { instead } else { text }
}

/// The time since then, as ages are shown; [`UNKNOWN`] if it is not told.
pub fn since(then: &str, now: Timestamp) -> String {
    match then.parse::<Timestamp>() {
        Ok(then) => duration(now.as_second() - then.as_second()),
        Err(_) => UNKNOWN.to_owned(),
    }
}

/// A duration, shorter the longer it is: `90s`, `5m10s`, `3h`, `2d4h`, `400d`.
pub fn duration(seconds: i64) -> String {
    let two = |big: i64, unit: &str, small: i64, part: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{part}") }
    };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        _ if seconds < 120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if hours < 3 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => two(days, "d", hours % 24, "h"),
        _ if days < 730 => format!("{days}d"),
        _ if days < 2920 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

/// Labels as `a=b,c=d`.
pub fn labels(labels: Option<&Map<String, Value>>) -> String {
    let told = labels.into_iter().flatten().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    or(&told.collect::<Vec<_>>().join(","), NONE).to_owned()
}

/// A label selector as `a=b,c in (d,e)`.
pub fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector else { return NONE.to_owned() };
    let mut told: Vec<String> = Vec::new();
    for (key, value) in selector.map("matchLabels").into_iter().flatten() {
        told.push(format!("{key}={}", value.as_str().unwrap_or_default()));
    }
    for test in selector.list("matchExpressions") {
        let key = test.text("key");
        let mut values: Vec<&str> = test.list("values").iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        told.push(match test.text("operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    or(&told.join(","), NONE).to_owned()
}

/// The first three of a list, and how many more there are.
pub fn first_three(all: &[String], instead: &str) -> String {
    match all {
        [] => instead.to_owned(),
        [a, b, c, more @ ..] if !more.is_empty() => format!("{a},{b},{c} + {} more...", more.len()),
        few => few.join(","),
    }
}

/// The names of a pod template's containers.
pub fn containers(object: &Value, _: Timestamp) -> Value {
    of_containers(object, "name")
}

/// The images of a pod template's containers.
pub fn images(object: &Value, _: Timestamp) -> Value {
    of_containers(object, "image")
}

fn of_containers(object: &Value, field: &str) -> Value {
    let containers = object.list("spec.template.spec.containers");
    containers.iter().map(|container| container.text(field)).collect::<Vec<_>>().join(",").into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_get_shorter_the_longer_they_are() {
        for (seconds, shown) in [
            (-5, "<invalid>"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (130, "2m10s"),
            (600, "10m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 120, "3h2m"),
            (8 * 3600, "8h"),
            (50 * 3600, "2d2h"),
            (9 * 86400, "9d"),
            (800 * 86400, "2y70d"),
            (3000 * 86400, "8y"),
        ] {
            assert_eq!(duration(seconds), shown);
        }
    }

    #[test]
    fn selectors_are_shown_as_kubectl_asks_for_them() {
        let all = json!({ "matchLabels": { "a": "b" }, "matchExpressions": [
            { "key": "c", "operator": "In", "values": ["e", "d"] }, { "key": "f", "operator": "DoesNotExist" }] });
        assert_eq!(selector(Some(&all)), "a=b,c in (d,e),!f");
        assert_eq!(selector(Some(&json!({}))), NONE);
        let many = ["a", "b", "c", "d"].map(str::to_owned);
        assert_eq!(first_three(&many, NONE), "a,b,c + 1 more...");
        assert_eq!(first_three(&many[..2], NONE), "a,b");
    }
}
