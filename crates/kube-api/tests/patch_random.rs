//! Managers who apply, update and give up parts of one Deployment in any order: what always holds of server-side apply.

use kube_api::{
    patch::{
        FieldSet, PatchError,
        apply::{self, OnConflict},
        managed::{self, Writer},
        strategic,
    },
    schema::{self, Type},
};
use proptest::{
    collection::{btree_map, btree_set},
    option::of,
    prelude::*,
};
use serde_json::{Map, Value, json};

/// A part of a Deployment that has each kind of field: plain, maps, sets, lists by one key and by two, and what is seen as one. Nothing in
/// it is empty: what says nothing, servers drop.
fn config() -> impl Strategy<Value = Value> {
    let labels = btree_map("[ab]", "[12]", 1..3);
    let finalizers = btree_set("[xyz]/f", 1..3);
    let port = (80..82_u16, of(prop_oneof!["TCP", "UDP"]), of("[pq]"));
    let ports = proptest::collection::vec(port, 0..3);
    let container =
        (of("[12]"), ports, of(proptest::collection::vec("[cd]", 0..2)), of(btree_map("[EF]", "[12]", 1..3)));
    let containers = btree_map("[mno]", container, 1..3);
    (of(labels), of(finalizers), of(1..4_u8), of(any::<bool>()), of(btree_map("[ab]", "[12]", 1..3)), of(containers))
        .prop_map(|(labels, finalizers, replicas, paused, selector, containers)| {
            let mut metadata = json!({ "name": "web" });
            let mut spec = Map::new();
            put(&mut metadata, "labels", labels.map(|labels| json!(labels)));
            put(&mut metadata, "finalizers", finalizers.map(|finalizers| json!(finalizers)));
            let mut set = |name: &str, value: Option<Value>| value.map(|value| spec.insert(name.to_owned(), value));
            set("replicas", replicas.map(Value::from));
            set("paused", paused.map(Value::from));
            set("selector", selector.map(|labels| json!({ "matchLabels": labels })));
            let containers = containers.map(|all| all.into_iter().map(container_of).collect::<Vec<_>>());
            set("template", containers.map(|containers| json!({ "spec": { "containers": containers } })));
            let mut object = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata });
            put(&mut object, "spec", (!spec.is_empty()).then_some(Value::Object(spec)));
            object
        })
}

type Parts = (
    Option<String>,
    Vec<(u16, Option<String>, Option<String>)>,
    Option<Vec<String>>,
    Option<std::collections::BTreeMap<String, String>>,
);

fn container_of((name, (image, ports, args, env)): (String, Parts)) -> Value {
    let mut container = json!({ "name": name });
    put(&mut container, "image", image.map(Value::from));
    put(&mut container, "args", args.map(|args| json!(args)));
    let env = env.map(|env| env.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect());
    put(&mut container, "env", env);
    let mut seen = std::collections::BTreeSet::new();
    let ports = ports
        .into_iter()
        .filter(|(port, protocol, _)| seen.insert((*port, protocol.clone().unwrap_or_else(|| "TCP".to_owned()))));
    let ports: Vec<_> = ports
        .map(|(number, protocol, name)| {
            let mut port = json!({ "containerPort": number });
            put(&mut port, "protocol", protocol.map(Value::from));
            put(&mut port, "name", name.map(Value::from));
            port
        })
        .collect();
    put(&mut container, "ports", (!ports.is_empty()).then_some(Value::Array(ports)));
    container
}

fn put(object: &mut Value, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        object[name] = value;
    }
}

#[derive(Debug, Clone)]
enum Step {
    Apply { manager: &'static str, config: Value },
    Update { manager: &'static str, object: Value },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let manager = prop_oneof![Just("one"), Just("two"), Just("three")];
    let step = prop_oneof![
        3 => (manager.clone(), config()).prop_map(|(manager, config)| Step::Apply { manager, config }),
        1 => (manager, config()).prop_map(|(manager, object)| Step::Update { manager, object }),
    ];
    proptest::collection::vec(step, 1..8)
}

fn deployment() -> &'static Type {
    schema::lookup("Deployment").unwrap()
}

fn apply(live: Option<&Value>, config: &Value, manager: &str, on_conflict: OnConflict) -> Result<Value, PatchError> {
    let untouched = FieldSet::of_fields(&[&["status"]]);
    let writer = Writer { manager, subresource: "", now: "2026-01-01T00:00:00Z", untouched: &untouched };
    apply::apply(deployment(), live, config, (&writer, on_conflict))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_holds_of_apply(steps in steps()) {
        let mut live: Option<Value> = None;
        for step in steps {
            let new = match step {
                Step::Update { manager, mut object } => {
                    let untouched = FieldSet::default();
                    let writer = Writer { manager, subresource: "", now: "2026-01-01T00:00:00Z", untouched: &untouched };
                    managed::record(deployment(), live.as_ref(), &mut object, &writer);
                    object
                }
                Step::Apply { manager, config } => {
                    match apply(live.as_ref(), &config, manager, OnConflict::Refuse) {
                        Ok(new) => prop_assert_eq!(Ok(new), apply(live.as_ref(), &config, manager, OnConflict::Force)),
                        Err(PatchError::Conflict(conflicts)) => prop_assert!(!conflicts.is_empty()),
                        Err(error) => panic!("{error}"),
                    }
                    let new = apply(live.as_ref(), &config, manager, OnConflict::Force).unwrap();
                    prop_assert!(contains(&new, &config), "{new:#} has not all of {config:#}");
                    prop_assert_eq!(apply(Some(&new), &config, manager, OnConflict::Refuse), Ok(new.clone()));
                    new
                }
            };
            live = Some(new);
        }
        // When all have given up all, what was applied is gone, and nobody owns anything who only applies.
        let mut last = live.unwrap();
        let nothing = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" } });
        for manager in ["one", "two", "three"] {
            last = apply(Some(&last), &nothing, manager, OnConflict::Force).unwrap();
        }
        let entries = last["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        prop_assert!(entries.iter().all(|entry| entry["operation"] == "Update"), "{last:#}");
        prop_assert_eq!(&last["metadata"]["name"], "web");
    }

    #[test]
    fn what_holds_of_strategic_merge(object in config(), patch in config()) {
        let merged = strategic::apply(deployment(), &object, &patch).unwrap();
        let again = strategic::apply(deployment(), &merged, &patch).unwrap();
        prop_assert!(contains(&again, &patch) || twice(&patch), "{merged:#} has not all of {patch:#}");
        prop_assert!(again == merged || twice(&patch), "{again:#} is not {merged:#}");
        prop_assert_eq!(strategic::apply(deployment(), &json!({}), &patch).unwrap(), patch);
    }
}

/// Whether a port is there for two protocols, which the merge key cannot tell apart.
fn twice(object: &Value) -> bool {
    let containers = object.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    containers.into_iter().flatten().any(|container| {
        let ports = container["ports"].as_array().into_iter().flatten();
        let numbers: Vec<_> = ports.map(|port| port["containerPort"].clone()).collect();
        (1..numbers.len()).any(|place| numbers[..place].contains(&numbers[place]))
    })
}

/// Whether one has all that the other says; of lists, an element that has all of each element. What is empty says nothing.
fn contains(all: &Value, part: &Value) -> bool {
    match (all, part) {
        (Value::Object(all), Value::Object(part)) => part.iter().all(|(name, part)| {
            let nothing = if part.is_array() { json!([]) } else { json!({}) };
            contains(all.get(name).unwrap_or(&nothing), part)
        }),
        (Value::Array(all), Value::Array(part)) => part.iter().all(|part| all.iter().any(|all| contains(all, part))),
        (all, part) => all == part,
    }
}
