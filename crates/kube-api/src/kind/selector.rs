//! Label selectors within objects: well-formed or not, and whom they select.

use serde_json::Value;

use super::{Errors, Path, syntax};
use crate::object::Look;

/// Finds what is wrong with a label selector.
pub fn validate(selector: &Value, path: &Path, errors: &mut Errors) {
    syntax::check_labels(selector.at("matchLabels"), &path.field("matchLabels"), errors);
    for (at, test) in selector.list("matchExpressions").iter().enumerate() {
        let path = path.field("matchExpressions").index(at);
        let values = test.list("values").len();
        match test.text("operator") {
            "In" | "NotIn" if values == 0 => {
                errors.required(&path.field("values"), "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if values > 0 => {
                errors.forbidden(
                    &path.field("values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid(&path.field("operator"), other, "not a valid selector operator"),
        }
        if !test.text("key").is_empty() {
            syntax::check(test.at("key"), &path.field("key"), syntax::qualified_name, errors);
        }
        for (at, value) in test.list("values").iter().enumerate() {
            syntax::check(Some(value), &path.field("values").index(at), syntax::label_value, errors);
        }
    }
}

/// Whether a selector selects nothing in particular.
pub fn is_empty(selector: &Value) -> bool {
    selector.map("matchLabels").is_none_or(serde_json::Map::is_empty) && selector.list("matchExpressions").is_empty()
}

/// Whether a label selector selects an object with these labels.
pub fn selects(selector: &Value, labels: Option<&Value>) -> bool {
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    let equal = selector.map("matchLabels").into_iter().flatten().all(|(key, value)| label(key) == value.as_str());
    let passes = |test: &Value| {
        let value = label(test.text("key"));
        let listed = test.list("values").iter().any(|one| one.as_str() == value);
        match test.text("operator") {
            "In" => value.is_some() && listed,
            "NotIn" => value.is_none() || !listed,
            "Exists" => value.is_some(),
            _ => value.is_none(),
        }
    };
    equal && selector.list("matchExpressions").iter().all(passes)
}
