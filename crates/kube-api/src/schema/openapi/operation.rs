//! What can be asked for at which path, in the form that both versions share; they differ in how they write parameters and bodies.

use serde_json::{Map, Value, json};

use crate::{
    kind::{Kind, Scope, Verbs},
    schema,
};

/// An operation of a path.
pub struct Operation {
    /// The HTTP method.
    pub method: &'static str,
    /// Kubernetes' word for it: `list`, `patch` ...
    pub action: &'static str,
    /// Group, version and kind of what is asked for.
    pub kind: Value,
    /// Query parameters: name, type, description.
    pub query: Vec<(&'static str, &'static str, &'static str)>,
    /// The definition of the body, if it has one.
    pub body: Option<String>,
    /// The definition of the answer.
    pub answer: String,
    /// The names in the path.
    pub names: Vec<&'static str>,
}

const DRY_RUN: (&str, &str, &str) = ("dryRun", "string", "All: only try.");
const MANAGER: (&str, &str, &str) = ("fieldManager", "string", "Who sets the fields.");
const VALIDATION: (&str, &str, &str) = ("fieldValidation", "string", "Unknown fields: Ignore, Warn or Strict.");

/// The paths of a kind with their operations.
pub fn paths(kind: &Kind) -> Vec<(String, Vec<Operation>)> {
    let root = if kind.group.is_empty() {
        format!("/api/{}", kind.version)
    } else {
        format!("/apis/{}/{}", kind.group, kind.version)
    };
    let namespaced = kind.scope == Scope::Namespaced;
    let place = if namespaced { format!("{root}/namespaces/{{namespace}}") } else { root.clone() };
    let many = format!("{place}/{}", kind.plural);
    let one = format!("{many}/{{name}}");
    let own =
        Told { group: kind.group, version: kind.version, kind: kind.kind, definition: kind.schema().definition() };
    let names = if namespaced { vec!["namespace"] } else { Vec::new() };
    let named: Vec<&str> = names.iter().copied().chain(["name"]).collect();
    let mut paths = vec![(many, operations(kind, &own, Place::Many, &names))];
    if kind.verbs != Verbs::CREATE {
        paths.push((one.clone(), operations(kind, &own, Place::One, &named)));
    }
    if namespaced && kind.verbs != Verbs::CREATE {
        let mut list = operations(kind, &own, Place::Many, &[]);
        list.retain(|operation| operation.action == "list");
        paths.push((format!("{root}/{}", kind.plural), list));
    }
    for part in kind.subresources {
        let told = schema::lookup(part.kind).map_or_else(|| own.definition.clone(), schema::Type::definition);
        let told = Told { group: part.group, version: part.version, kind: part.kind, definition: told };
        paths.push((format!("{one}/{}", part.name), part_operations(part.verbs, &told, &named)));
    }
    paths
}

/// What is read and written.
struct Told<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    definition: String,
}

#[derive(PartialEq)]
enum Place {
    Many,
    One,
}

fn operations(kind: &Kind, told: &Told<'_>, place: Place, names: &[&'static str]) -> Vec<Operation> {
    let list = schema::lookup(&format!("{}List", kind.schema))
        .map_or_else(|| told.definition.clone(), schema::Type::definition);
    let verbs: &[&'static str] = match place {
        Place::Many => &["create", "deletecollection", "list"],
        Place::One => &["delete", "get", "patch", "update"],
    };
    let asked = verbs.iter().filter(|verb| kind.verbs.has(verb));
    asked
        .map(|verb| {
            let answer = if *verb == "list" { list.clone() } else { told.definition.clone() };
            operation(verb, told, answer, names)
        })
        .collect()
}

fn part_operations(verbs: Verbs, told: &Told<'_>, names: &[&'static str]) -> Vec<Operation> {
    verbs.0.iter().map(|verb| operation(verb, told, told.definition.clone(), names)).collect()
}

fn operation(verb: &str, told: &Told<'_>, answer: String, names: &[&'static str]) -> Operation {
    let own = Some(told.definition.clone());
    let status = || "io.k8s.apimachinery.pkg.apis.meta.v1.Status".to_owned();
    let options = || Some("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions".to_owned());
    let patch = Some("io.k8s.apimachinery.pkg.apis.meta.v1.Patch".to_owned());
    let selectors = vec![
        ("labelSelector", "string", "Only these, by labels."),
        ("fieldSelector", "string", "Only these, by fields."),
        ("limit", "integer", "The most in one answer."),
        ("continue", "string", "Where the last answer ended."),
        ("resourceVersion", "string", "How new the answer must be."),
        ("watch", "boolean", "Go on with what changes."),
    ];
    let grace = ("gracePeriodSeconds", "integer", "Time for an orderly end.");
    let propagation = ("propagationPolicy", "string", "Orphan, Background or Foreground.");
    let written = vec![DRY_RUN, MANAGER, VALIDATION];
    let (method, action, query, body, answer) = match verb {
        "create" => ("post", "post", written, own, answer),
        "update" => ("put", "put", written, own, answer),
        "patch" => {
            let force = ("force", "boolean", "Take fields from others.");
            ("patch", "patch", [written, vec![force]].concat(), patch, answer)
        }
        "delete" => ("delete", "delete", vec![DRY_RUN, grace, propagation], options(), status()),
        "deletecollection" => {
            let query = [selectors, vec![DRY_RUN, grace, propagation]].concat();
            ("delete", "deletecollection", query, options(), status())
        }
        "list" => ("get", "list", selectors, None, answer),
        _ => ("get", "get", Vec::new(), None, answer),
    };
    let kind = json!({ "group": told.group, "version": told.version, "kind": told.kind });
    Operation { method, action, kind, query, body, answer, names: names.to_vec() }
}

/// Operations by method, each written by `write`.
pub fn item(operations: &[Operation], write: impl Fn(&Operation) -> Value) -> Value {
    let written = operations.iter().map(|operation| {
        let mut value = write(operation);
        value["x-kubernetes-action"] = operation.action.into();
        value["x-kubernetes-group-version-kind"] = operation.kind.clone();
        (operation.method.to_owned(), value)
    });
    Value::Object(written.collect::<Map<_, _>>())
}

/// The forms of patches.
pub const PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
