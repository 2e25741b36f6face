//! The four patch types by folders of cases: a file has what goes in and, under `result` or `error`, what must come out. `apply` has
//! steps, each on what the one before it left; what each manager owns after it is told by paths. With `UPDATE_GOLDEN=1` the files are
//! written anew.

use std::{env, fs, path::Path};

use kube_api::{
    patch::{
        FieldSet, PatchError,
        apply::{self, OnConflict},
        json,
        managed::{self, Writer},
        merge, strategic,
    },
    schema::{self, Type},
};
use serde_json::{Map, Value, json};

fn check(folder: &str, outcome: fn(&Value) -> Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/patch").join(folder);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        let case: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let found = outcome(&case);
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, format!("{found:#}\n")).unwrap();
        } else {
            assert_eq!(format!("{found:#}"), format!("{case:#}"), "{}", file.display());
        }
    }
}

#[test]
fn json_patch() {
    check("json", |case| patched(case, json::apply(&case["object"], &case["patch"])));
}

#[test]
fn merge_patch() {
    check("merge", |case| patched(case, merge::apply(&case["object"], &case["patch"])));
}

#[test]
fn strategic_merge_patch() {
    check("strategic", |case| patched(case, strategic::apply(of(case), &case["object"], &case["patch"])));
}

#[test]
fn server_side_apply() {
    check("apply", |case| {
        let mut case = case.clone();
        let of = of(&case);
        let mut live = None;
        for (number, step) in case["steps"].as_array_mut().unwrap().iter_mut().enumerate() {
            let now = format!("2026-01-01T00:00:{number:02}Z");
            match do_step(of, live.as_ref(), step, &now) {
                Ok(object) => {
                    outcome(step, "result", bare(&object));
                    step["owned"] = owned(&object);
                    live = Some(object);
                }
                Err(error) => outcome(step, "error", told(&error)),
            }
        }
        case
    });
}

fn do_step(of: &Type, live: Option<&Value>, step: &Value, now: &str) -> Result<Value, PatchError> {
    let subresource = step["subresource"].as_str().unwrap_or_default();
    let untouched = FieldSet::of_fields(if subresource == "status" { &[&["spec"]] } else { &[&["status"]] });
    let writer = Writer { manager: step["manager"].as_str().unwrap(), subresource, now, untouched: &untouched };
    if let Some(config) = step.get("apply") {
        let on_conflict = if step["force"] == true { OnConflict::Force } else { OnConflict::Refuse };
        return apply::apply(of, live, config, (&writer, on_conflict));
    }
    let mut new = step["update"].clone();
    managed::record(of, live, &mut new, &writer);
    Ok(new)
}

fn of(case: &Value) -> &'static Type {
    let name = case["of"].as_str().unwrap();
    schema::lookup(name).unwrap_or_else(|| panic!("there is no type {name}"))
}

fn patched(case: &Value, result: Result<Value, PatchError>) -> Value {
    let mut case = case.clone();
    match result {
        Ok(object) => outcome(&mut case, "result", object),
        Err(error) => outcome(&mut case, "error", told(&error)),
    }
    case
}

/// Writes what came out, in place of what should have.
fn outcome(case: &mut Value, name: &str, value: Value) {
    let case = case.as_object_mut().unwrap();
    case.remove("result");
    case.remove("error");
    case.insert(name.to_owned(), value);
}

fn told(error: &PatchError) -> Value {
    let (status, detail) = match error {
        PatchError::Malformed(_) => (400, None),
        PatchError::Rejected { detail } => (422, Some(detail)),
        PatchError::TooLarge(_) => (413, None),
        PatchError::Conflict(_) => (409, None),
        PatchError::Untyped(_) => (500, None),
    };
    json!(format!("{status} {}", detail.cloned().unwrap_or_else(|| error.to_string())))
}

fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"].as_object_mut().unwrap().remove("managedFields");
    object
}

/// Each entry in a line of words, with the paths of its fields.
fn owned(object: &Value) -> Value {
    let mut owned = Map::new();
    for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
        let word = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let words = ["time", "operation", "manager", "apiVersion", "subresource"].map(word).join(" ");
        let paths = FieldSet::from_json(&entry["fieldsV1"]).unwrap().paths();
        owned.insert(words.trim_end().to_owned(), paths.into());
    }
    Value::Object(owned)
}

#[test]
fn the_form_of_the_record() {
    let deployment = schema::lookup("Deployment").unwrap();
    let untouched = FieldSet::of_fields(&[&["status"]]);
    let writer =
        Writer { manager: "kubectl-create", subresource: "", now: "2026-01-01T00:00:00Z", untouched: &untouched };
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "labels": { "app": "web" }, "finalizers": ["a/b"] },
        "spec": { "replicas": 1, "template": { "spec": { "containers": [
            { "name": "web", "image": "web:1", "ports": [{ "containerPort": 80 }] },
        ] } } },
        "status": { "replicas": 1 },
    });
    managed::record(deployment, None, &mut object, &writer);
    assert_eq!(
        object["metadata"]["managedFields"],
        json!([{
            "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "manager": "kubectl-create", "operation": "Update",
            "time": "2026-01-01T00:00:00Z",
            "fieldsV1": {
                "f:metadata": {
                    "f:labels": { ".": {}, "f:app": {} },
                    "f:finalizers": { "v:\"a/b\"": {} },
                },
                "f:spec": { "f:replicas": {}, "f:template": { "f:spec": { "f:containers": {
                    "k:{\"name\":\"web\"}": {
                        ".": {}, "f:name": {}, "f:image": {},
                        "f:ports": { "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:containerPort": {} } },
                    },
                } } } },
            },
        }])
    );
}

#[test]
fn what_clients_say_of_the_record() {
    let deployment = schema::lookup("Deployment").unwrap();
    let untouched = FieldSet::default();
    let writer = Writer { manager: "m", subresource: "", now: "2026-01-01T00:00:00Z", untouched: &untouched };
    let mut live = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {}, "spec": { "replicas": 1 } });
    managed::record(deployment, None, &mut live, &writer);
    let known = live["metadata"]["managedFields"].clone();
    let mut other = known.clone();
    other[0]["manager"] = json!("other");
    let table = [
        (Value::Null, known.clone()),
        (json!([]), known.clone()),
        (json!([{ "manager": "broken" }]), known.clone()),
        (other.clone(), other.clone()),
        (json!([{}]), Value::Null),
    ];
    for (said, expected) in table {
        let mut new = live.clone();
        new["metadata"]["managedFields"] = said.clone();
        managed::record(deployment, Some(&live), &mut new, &writer);
        assert_eq!(new["metadata"]["managedFields"], expected, "{said}");
    }
}

#[test]
fn the_oldest_updaters_become_one() {
    let config_map = schema::lookup("ConfigMap").unwrap();
    let untouched = FieldSet::default();
    let mut live = None;
    for number in 10..30 {
        let manager = format!("m{number}");
        let now = format!("2026-01-01T00:00:{number}Z");
        let writer = Writer { manager: &manager, subresource: "", now: &now, untouched: &untouched };
        let mut new =
            live.clone().unwrap_or_else(|| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {} }));
        new["data"][&manager] = json!("1");
        managed::record(config_map, live.as_ref(), &mut new, &writer);
        live = Some(new);
    }
    let live = live.unwrap();
    let entries = live["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 10);
    assert_eq!(entries[0]["manager"], "ancient-changes");
    assert_eq!(entries[0]["time"], "2026-01-01T00:00:20Z");
    assert_eq!(entries[0]["fieldsV1"]["f:data"].as_object().unwrap().len(), 12);
}

#[test]
fn bounds() {
    let nested = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({ "a": inner }));
    let rejected = |result: Result<Value, PatchError>| assert!(matches!(result, Err(PatchError::Rejected { .. })));
    rejected(merge::apply(&json!({}), &nested(125)));
    assert!(merge::apply(&json!({}), &nested(100)).is_ok());
    let double = (0..60).map(|number| json!({ "op": "copy", "from": "", "path": format!("/{number}") })).collect();
    rejected(json::apply(&json!({ "x": 1 }), &Value::Array(double)));
    let deeper: Vec<_> =
        (1..200).map(|depth| json!({ "op": "add", "path": "/a".repeat(depth), "value": {} })).collect();
    rejected(json::apply(&json!({}), &Value::Array(deeper)));
    let many = Value::Array(vec![json!({ "op": "add", "path": "/a", "value": 1 }); 10_001]);
    assert!(matches!(json::apply(&json!({}), &many), Err(PatchError::TooLarge(_))));
}
