//! What clients send, for the fuzzer: each target must neither panic nor take long, whatever the bytes. Built for tests, which replay
//! the corpora of `fuzz/`, and by `cargo fuzz`; never into the product.

use serde_json::{Value, json};

use crate::{
    patch::{
        FieldSet,
        apply::{self, OnConflict},
        json,
        managed::{self, Writer},
        merge, strategic,
    },
    schema,
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

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corpora() {
        replay::replay("patches", patches);
    }
}
