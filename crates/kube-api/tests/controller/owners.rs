//! Owners that contradict each other: whatever they say, a deletion comes to its end and takes nothing away that has another owner.

use std::time::Duration;

use kube_api::controller::Propagation;
use serde_json::{Value, json};

use super::world::World;

/// Config maps that own each other: `a: b c` is a, owned by b and c.
fn world(owned: &[(&str, &[&str])]) -> World {
    let mut world = World::new();
    for (name, _) in owned {
        world.create(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } }));
    }
    for (name, owners) in owned {
        let reference = |owner: &&str| {
            let uid = &world.get(&key(owner))["metadata"]["uid"];
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uid, "blockOwnerDeletion": true })
        };
        let references: Vec<Value> = owners.iter().map(reference).collect();
        world.edit(&key(name), |object| object["metadata"]["ownerReferences"] = references.into());
    }
    world.settle(Duration::from_secs(60));
    world
}

fn key(name: &str) -> String {
    format!("/core/configmaps/default/{name}")
}

fn check(owned: &[(&str, &[&str])], deleted: &[&str], left: &[&str]) {
    for propagation in [Propagation::Foreground, Propagation::Background] {
        let mut world = world(owned);
        assert_eq!(world.list("/core/configmaps/").count(), owned.len(), "{owned:?}: nothing goes by itself");
        for name in deleted {
            world.delete(&key(name), Some(propagation), None);
        }
        world.settle(Duration::from_secs(600));
        let found: Vec<_> = world.list("/core/configmaps/").map(|object| object["metadata"]["name"].clone()).collect();
        assert_eq!(found, left, "{owned:?} without {deleted:?}, {propagation:?}");
    }
}

#[test]
fn deletions_come_to_an_end() {
    check(&[("a", &[]), ("b", &["a"]), ("c", &["b"])], &["a"], &[]);
    check(&[("a", &["a"])], &["a"], &[]);
    check(&[("a", &["b"]), ("b", &["a"])], &["a"], &[]);
    check(&[("a", &["b"]), ("b", &["a"])], &["a", "b"], &[]);
    check(&[("a", &["c"]), ("b", &["a"]), ("c", &["b"])], &["b"], &[]);
    check(&[("a", &["b", "c"]), ("b", &["a", "c"]), ("c", &["a", "b"])], &["a", "b", "c"], &[]);
    // Who has another owner stays, also in a circle.
    check(&[("a", &[]), ("b", &["a", "d"]), ("d", &[])], &["a"], &["b", "d"]);
    check(&[("a", &["b"]), ("b", &["a", "d"]), ("d", &[])], &["a"], &["b", "d"]);
}
