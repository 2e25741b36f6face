//! What clients send, for the fuzzer: each target must neither panic nor take long, whatever the bytes. Built for tests, which replay
//! the corpora of `fuzz/`, and by `cargo fuzz`; never into the product.

use jiff::Timestamp;
use serde_json::{Value, json};
use store::objects::{Revision, Stored};

use crate::{
    body,
    controller::{self, Cluster, Settings},
    kind::{self, Errors, Kind},
    object::{
        Look, encoding, meta,
        selector::{FieldSelector, LabelSelector},
    },
    patch::{
        FieldSet,
        apply::{self, OnConflict},
        json,
        managed::{self, Writer},
        merge, strategic,
    },
    path, protobuf,
    query::{Query, WriteOptions},
    schema, server,
    table::{Include, Rows},
    verb::{delete::DeleteOptions, list},
};

/// Two lines of JSON, a Deployment and what is to become of it, by each of the four patch types. To apply the same again changes
/// nothing, and what was said of who owns what is read as it was written.
pub fn patches(lines: &[u8]) {
    let text = String::from_utf8_lossy(lines);
    let mut lines = text.lines().map(serde_json::from_str::<Value>);
    let (Some(Ok(object)), Some(Ok(patch))) = (lines.next(), lines.next()) else { return };
    let Some(of) = schema::lookup("Deployment") else { return };
    for result in [json::apply(&object, &patch), merge::apply(&object, &patch), strategic::apply(of, &object, &patch)] {
        let Ok(mut new) = result else { continue };
        let untouched = FieldSet::of_fields(&[&["status"]]);
        let writer = Writer { manager: "fuzz", subresource: "", now: "2026-01-01T00:00:00Z", untouched: &untouched };
        managed::record(of, Some(&object), &mut new, &writer);
        managed::record(of, None, &mut new, &writer);
        applied(&new, &patch);
    }
    applied(&json!({}), &patch);
    applied(&object, &patch);
}

fn applied(live: &Value, config: &Value) {
    let Some(of) = schema::lookup("Deployment") else { return };
    let untouched = FieldSet::of_fields(&[&["status"]]);
    let writer = |now| Writer { manager: "kubectl", subresource: "", now, untouched: &untouched };
    let apply = |live: &Value, now, on_conflict| apply::apply(of, Some(live), config, (&writer(now), on_conflict));
    // Refused or not, it must come to an end.
    let _ = apply(live, "2026-01-01T00:00:00Z", OnConflict::Refuse);
    let Ok(once) = apply(live, "2026-01-01T00:00:00Z", OnConflict::Force) else { return };
    let twice = apply(&once, "2026-01-02T00:00:00Z", OnConflict::Refuse).expect("one's own fields are no conflict");
    assert_eq!(once, twice);
    for entry in twice["metadata"]["managedFields"].as_array().into_iter().flatten() {
        let set = FieldSet::from_json(&entry["fieldsV1"]).expect("a record that can be read");
        assert_eq!(set.to_json(), entry["fieldsV1"]);
    }
}

/// An object as JSON or YAML, from its body to what the controllers make of it.
pub fn objects(text: &[u8]) {
    for read in [body::json(text), body::yaml(text)].into_iter().flatten() {
        object_is_borne(read.value);
    }
}

/// An object as Kubernetes' protobuf.
pub fn protobufs(message: &[u8]) {
    if let Ok(object) = protobuf::object(message) {
        object_is_borne(object);
    }
}

/// What is taken stays as it is when it is defaulted again, is kept and served as it was written, can be shown, is read by the controllers,
/// and none of them breaks because of it.
pub fn object_is_borne(mut object: Value) {
    let group = object.text("apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
    let Some(kind) = kind::by_kind(group, object.text("kind")) else { return };
    let _unknown = schema::prune(kind.schema(), &mut object);
    if schema::check(kind.schema(), &object).is_err() {
        return;
    }
    kind.fill(&mut object);
    (kind.prepare)(&mut object, None);
    let mut errors = Errors::default();
    kind.check(&object, None, &mut errors);
    // What is said of it is said in full.
    let _ = errors.to_string();
    if !errors.is_empty() {
        return;
    }
    let mut again = object.clone();
    kind.fill(&mut again);
    assert_eq!(again, object, "defaults of defaults");
    meta::born(&mut object, "b4c7c9f6-0000-4000-8000-000000000000".to_owned(), Timestamp::UNIX_EPOCH);
    let stored = Stored { created: Revision(7), modified: Revision(7), value: encoding::encode(&object) };
    object.put("metadata.resourceVersion", "7");
    assert_eq!(encoding::decode(&stored), object);
    let served: Value = serde_json::from_slice(&encoding::serve(&stored)).expect("what is served is JSON");
    assert_eq!(served, object);
    let rows = Rows { kind, version: "v1", include: Include::Object, now: Timestamp::UNIX_EPOCH };
    let table = rows.table(std::slice::from_ref(&object), json!({}));
    assert_eq!(table["rows"][0]["cells"].as_array().map(Vec::len), Some(rows.columns().len()));
    controllers_bear(kind, &object, &stored);
}

fn controllers_bear(kind: &Kind, object: &Value, stored: &Stored) {
    let mut cluster = Cluster::new(Settings::default());
    let key = server::key(kind, meta::namespace(object), meta::name(object));
    let change = cluster.put(&key, 7, stored.value.clone()).expect("what was taken can be read");
    for key in controller::wakes(&cluster, &change) {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        for change in controller::reconcile(&cluster, &key, now).changes {
            let _ = controller::refused(&cluster, &key, &change, "no", now);
        }
    }
    let change = cluster.delete(&key);
    let _ = controller::wakes(&cluster, &change);
}

/// A line with a path, one with a query, and a body: what is asked is understood or refused.
pub fn requests(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let mut lines = text.splitn(3, '\n');
    let (path, query) = (lines.next().unwrap_or_default(), Query::parse(lines.next()));
    let _ = path::parse(path);
    let _ = WriteOptions::read(&query, path);
    let _ = (query.int("limit"), query.labels(), query.fields(), list::revision(query.text("resourceVersion")));
    let _ = list::read_token(query.text("continue"));
    if let Ok(body) = body::json(lines.next().unwrap_or_default().as_bytes()) {
        let _ = DeleteOptions::read(&body.value, &query);
    }
}

/// A label selector and a field selector, each of a line.
pub fn selectors(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let (labels, fields) = text.split_once('\n').unwrap_or((&text, ""));
    let object = json!({ "metadata": { "name": "web", "labels": { "app": "web", "weight": "7", "a.io/b": "" } } });
    if let Ok(selector) = LabelSelector::parse(labels) {
        // What asks for nothing takes all.
        assert!(selector.matches(&object) || !selector.is_empty());
    }
    if let Ok(selector) = FieldSelector::parse(fields) {
        assert!(selector.matches(|field| object.text(field).to_owned()) || !selector.is_empty());
        assert_eq!(selector.is_empty(), selector.fields().next().is_none());
    }
}

/// Two sets of fields (`fieldsV1`), each of a line: what is read is what is written, and sets are sets.
pub fn field_sets(lines: &[u8]) {
    let text = String::from_utf8_lossy(lines);
    let mut sets = text.lines().map(|line| FieldSet::from_json(&serde_json::from_str(line).ok()?));
    let (Some(Some(one)), other) = (sets.next(), sets.next().flatten().unwrap_or_default()) else { return };
    assert_eq!(FieldSet::from_json(&one.to_json()).as_ref(), Some(&one));
    let _ = one.paths();
    let both = one.clone().union(other.clone());
    assert_eq!(both, other.clone().union(one.clone()));
    assert_eq!(one.intersection(&other), other.intersection(&one));
    assert_eq!(one.difference(&other).intersection(&other), FieldSet::default());
    assert_eq!(one.difference(&other).union(one.intersection(&other)), one);
    assert_eq!(both.difference(&one).union(one.clone()), both);
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corpora() {
        replay::replay("patches", patches);
        replay::replay("kube_objects", objects);
        replay::replay("kube_protobufs", protobufs);
        replay::replay("kube_requests", requests);
        replay::replay("kube_selectors", selectors);
        replay::replay("kube_field_sets", field_sets);
    }

    /// The same numbers in every run.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from((self.0 >> 33) % bound.max(1) as u64).expect("small")
        }
    }

    /// What values may be, where something else is expected.
    const ODD: &[&str] = &[
        "null",
        "true",
        "0",
        "-1",
        "1",
        "65536",
        "2147483647",
        "2147483648",
        "-2147483649",
        "9223372036854775807",
        "18446744073709551615",
        "1e308",
        "1.5",
        "\"\"",
        "\"a\"",
        "\"0\"",
        "\"-1\"",
        "\"100%\"",
        "\"-5%\"",
        "\"99999999999%\"",
        "\"1e99\"",
        "\"10.96.0.1\"",
        "\"::\"",
        "\"::ffff:1.2.3.4\"",
        "\"None\"",
        "\"$(A)\"",
        "\"$(\"",
        "\"../..\"",
        "\"/\"",
        "\"2026-01-01T00:00:00Z\"",
        "\"9999-12-31T23:59:59Z\"",
        "\"-9999-01-01T00:00:00Z\"",
        "\"名\"",
        "\"a/b\"",
        "\"Always\"",
        "\"UDP\"",
        "\"ExternalName\"",
        "\"Recreate\"",
        "\"NodePort\"",
        "[]",
        "{}",
        "[null]",
        "[{}]",
        "[[]]",
        "{\"a\":\"b\"}",
    ];

    /// Changes a place of a value at random: its members and elements, or itself.
    fn change(random: &mut Random, value: &mut Value, depth: usize) {
        let odd = |random: &mut Random| serde_json::from_str(ODD[random.below(ODD.len())]).expect("JSON");
        match value {
            Value::Object(members) if !members.is_empty() && random.below(8) > 0 => {
                let place = random.below(members.len());
                let name = members.keys().nth(place).cloned().unwrap_or_default();
                match random.below(12) {
                    0 => drop(members.remove(&name)),
                    1 => {
                        let moved = members.values().nth(random.below(members.len())).cloned().unwrap_or_default();
                        members.insert(name, moved);
                    }
                    _ => change(random, &mut members[&name], depth + 1),
                }
            }
            Value::Array(elements) if !elements.is_empty() && random.below(8) > 0 => {
                let place = random.below(elements.len());
                match random.below(12) {
                    0 => drop(elements.remove(place)),
                    1 => elements.push(elements[place].clone()),
                    _ => change(random, &mut elements[place], depth + 1),
                }
            }
            value if depth > 0 => *value = odd(random),
            _ => {}
        }
    }

    /// Objects that are nearly as they should be; `LINKSPAN_MANY=1000000` looks at more of them.
    #[test]
    fn objects_changed_at_random_are_borne() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/kube_objects");
        let mut paths: Vec<_> =
            std::fs::read_dir(corpus).expect("a corpus").map(|input| input.expect("a file").path()).collect();
        paths.sort();
        let read = |path| serde_json::from_slice(&std::fs::read(path).expect("a readable input")).ok();
        let seeds: Vec<Value> = paths.iter().filter_map(read).collect();
        let many = std::env::var("LINKSPAN_MANY").ok().and_then(|many| many.parse().ok()).unwrap_or(5_000);
        let mut random = Random(1);
        for _ in 0..many {
            let mut object = seeds[random.below(seeds.len())].clone();
            for _ in 0..=random.below(3) {
                change(&mut random, &mut object, 0);
            }
            // Shown when it fails: this is the object that made it.
            let shown = object.to_string();
            let outcome = std::panic::catch_unwind(|| object_is_borne(object));
            assert!(outcome.is_ok(), "{shown}");
        }
    }
}
