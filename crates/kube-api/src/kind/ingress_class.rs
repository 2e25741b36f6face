//! `networking.k8s.io/v1 IngressClass`.

use serde_json::Value;

use super::{Column, Errors, Kind, Path, Scope, column, strategy, syntax};
use crate::object::Look;

/// Who serves Ingresses.
pub static KIND: Kind = Kind {
    group: "networking.k8s.io",
    kind: "IngressClass",
    plural: "ingressclasses",
    singular: "ingressclass",
    scope: Scope::Cluster,
    schema: "IngressClass",
    columns: COLUMNS,
    validate,
    validate_update: |new, old, errors| {
        if new.text("spec.controller") != old.text("spec.controller") {
            errors.invalid(&Path::new("spec.controller"), new.text("spec.controller"), "field is immutable");
        }
    },
    prepare: |new, old| strategy::generation(new, old, &["spec"]),
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    column::NAME,
    column::text("Controller", "What serves it.", |object, _| object.text("spec.controller").into()),
    column::text("Parameters", "Its settings.", |object, _| {
        let Some(settings) = object.at("spec.parameters") else { return column::NONE.into() };
        let (group, kind) = (settings.text("apiGroup"), settings.text("kind"));
        let dot = if group.is_empty() { "" } else { "." };
        format!("{kind}{dot}{group}/{}", settings.text("name")).into()
    }),
    column::AGE,
];

fn validate(object: &Value, errors: &mut Errors) {
    let path = Path::new("spec");
    let controller = object.text("spec.controller");
    if controller.is_empty() {
        errors.required(&path.field("controller"), "");
    } else if !controller.contains('/') {
        let wrong = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.invalid(&path.field("controller"), controller, wrong);
    } else if let Some(wrong) = controller.split_once('/').and_then(|(domain, _)| syntax::subdomain(domain)) {
        errors.invalid(&path.field("controller"), controller, wrong);
    }
    let scope = object.text("spec.parameters.scope");
    if !matches!(scope, "" | "Cluster" | "Namespace") {
        errors.not_supported(&path.field("parameters.scope"), scope, &["Cluster", "Namespace"]);
    }
    let namespace = object.text("spec.parameters.namespace");
    match scope {
        "Namespace" if namespace.is_empty() => {
            let wrong = "`parameters.scope` is set to 'Namespace'";
            errors.required(&path.field("parameters.namespace"), wrong);
        }
        "Cluster" if !namespace.is_empty() => {
            errors.forbidden(&path.field("parameters.namespace"), "`parameters.scope` is set to 'Cluster'");
        }
        _ => {}
    }
}
