//! What Deployments, ReplicaSets and DaemonSets share: a selector, a pod template, and how fast it is rolled out.

use serde_json::{Value, json};

use super::{
    Column, Errors, Path, Subresource, Verbs, column,
    pod::{default, spec},
    selector, strategy, syntax,
};
use crate::object::Look;

/// `scale` and `status` of apps/v1.
pub const fn scale_and_status(kind: &'static str) -> [Subresource; 2] {
    let scale = Subresource { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs: Verbs::PART };
    [scale, status(kind)]
}

/// `status` of apps/v1.
pub const fn status(kind: &'static str) -> Subresource {
    Subresource { name: "status", group: "apps", version: "v1", kind, verbs: Verbs::PART }
}

/// The columns of the template that `-o wide` shows.
pub const CONTAINERS: Column = column::wide("Containers", "Names of its containers.", column::containers);
/// Their images.
pub const IMAGES: Column = column::wide("Images", "Images of its containers.", column::images);
/// Its selector.
pub const SELECTOR: Column =
    column::wide("Selector", "Labels of its pods.", |object, _| column::selector(object.at("spec.selector")).into());

/// A whole number of an object; zero if it is not there.
pub fn number(object: &Value, path: &str) -> Value {
    object.int(path).unwrap_or_default().into()
}

/// Fills in the template's pods.
pub fn fill_template(object: &mut Value) {
    if let Some(spec) = object.at_mut("spec.template.spec") {
        default::pod_spec(spec);
    }
}

/// Spec, status and generation; nothing else.
pub fn prepare(new: &mut Value, old: Option<&Value>) {
    strategy::spec_and_status(new, old);
}

/// Finds what is wrong with selector and template; `kind` as messages name it.
pub fn validate(object: &Value, kind: &str, errors: &mut Errors) {
    let path = Path::new("spec");
    let wanted = object.at("spec.selector").cloned().unwrap_or_else(|| json!({}));
    selector::validate(&wanted, &path.field("selector"), errors);
    if object.at("spec.selector").is_some() && selector::is_empty(&wanted) {
        errors.invalid(&path.field("selector"), wanted, format!("empty selector is invalid for {kind}"));
    } else if object.at("spec.template").is_some() {
        let labels = object.at("spec.template.metadata.labels");
        let path = path.field("template").field("metadata").field("labels");
        if !selector::selects(&wanted, labels) {
            let shown = labels.cloned().unwrap_or(Value::Null);
            errors.invalid(&path, shown, "`selector` does not match template `labels`");
        }
        syntax::check_labels(labels, &path, errors);
    }
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        let value = object.at("spec").and_then(|spec| spec.get(field));
        syntax::check_number(value, &path.field(field), syntax::not_negative, errors);
    }
    template(object, &path.field("template").field("spec"), kind, errors);
}

fn template(object: &Value, path: &Path, kind: &str, errors: &mut Errors) {
    let Some(of) = object.at("spec.template.spec") else {
        if object.at("spec.template").is_some() {
            errors.required(&path.field("containers"), "");
        }
        return;
    };
    spec::validate(of, path, errors);
    if !matches!(of.text("restartPolicy"), "" | "Always") {
        errors.not_supported(&path.field("restartPolicy"), of.text("restartPolicy"), &["Always"]);
    }
    if of.at("activeDeadlineSeconds").is_some() {
        let shown = match kind {
            "deployment" => "ReplicaSet",
            _ => "DaemonSet",
        };
        errors.forbidden(
            &path.field("activeDeadlineSeconds"),
            format!("activeDeadlineSeconds in {shown} is not Supported"),
        );
    }
    if !of.list("ephemeralContainers").is_empty() {
        errors.forbidden(&path.field("ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
}

/// The selector cannot change.
pub fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    if new.at("spec.selector") != old.at("spec.selector") {
        let shown = new.at("spec.selector").cloned().unwrap_or(Value::Null);
        errors.invalid(&Path::new("spec.selector"), shown, "field is immutable");
    }
}

/// Finds what is wrong with `maxSurge` and `maxUnavailable`, and whether a rollout could go on with them.
pub fn validate_rolling(rolling: Option<&Value>, path: &Path, errors: &mut Errors) {
    let Some(rolling) = rolling else { return };
    for field in ["maxUnavailable", "maxSurge"] {
        int_or_percent(rolling.at(field), &path.field(field), errors);
    }
    let most = rolling.at("maxUnavailable");
    if percent(most).is_some_and(|percent| percent > 100) {
        errors.invalid(
            &path.field("maxUnavailable"),
            most.cloned().unwrap_or_default(),
            "must not be greater than 100%",
        );
    }
    if is_zero(most) && is_zero(rolling.at("maxSurge")) {
        errors.invalid(
            &path.field("maxUnavailable"),
            most.cloned().unwrap_or_else(|| 0.into()),
            "may not be 0 when `maxSurge` is 0",
        );
    }
}

fn int_or_percent(value: Option<&Value>, path: &Path, errors: &mut Errors) {
    match value {
        Some(Value::String(text)) if percent(value).is_none() => {
            let wrong = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
            errors.invalid(path, text.as_str(), wrong);
        }
        _ => syntax::check_number(value, path, syntax::not_negative, errors),
    }
}

fn percent(value: Option<&Value>) -> Option<u32> {
    value?.as_str()?.strip_suffix('%')?.parse().ok()
}

fn is_zero(value: Option<&Value>) -> bool {
    value.is_none_or(|value| value.as_i64() == Some(0) || percent(Some(value)) == Some(0))
}
