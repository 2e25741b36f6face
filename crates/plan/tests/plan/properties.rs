//! Fragments: together they are the whole, and a change needs only those it is said to affect.

use std::collections::BTreeSet;

use netstate::Key;
use plan::{affected, desired, fragment, wishes};
use proptest::prelude::*;

use crate::steps::Stage;

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn affected_fragments_make_the_new_whole(lines in crate::random::lines()) {
        let mut stage = Stage::default();
        let mut net = desired(&stage.state).net;
        prop_assert!(net.objects.is_empty(), "an empty state wants something");
        for line in ["open pool=10.0.0.0/22,24".to_owned()].into_iter().chain(lines) {
            let mut before = stage.state.clone();
            for outcome in stage.play(&line) {
                let Ok(decision) = outcome else { continue };
                let after = before.with(&decision.change);
                let affected = affected(&before, &after, &decision.change);
                for wish in &affected {
                    for key in fragment(&before, wish).keys() {
                        net.objects.remove(key);
                    }
                }
                for wish in &affected {
                    net.objects.extend(fragment(&after, wish));
                }
                before = after;
            }
            let whole = desired(&stage.state).net;
            prop_assert!(net == whole, "after {line}\nfragments:\n{net}\nwhole:\n{whole}");
        }
    }

    #[test]
    fn every_object_has_one_owner(lines in crate::random::lines()) {
        let mut stage = Stage::default();
        stage.play("open pool=10.0.0.0/22,24");
        for line in lines {
            stage.play(&line);
            let mut seen: BTreeSet<Key> = BTreeSet::new();
            for wish in wishes(&stage.state) {
                for key in fragment(&stage.state, &wish).into_keys() {
                    prop_assert!(seen.insert(key.clone()), "after {line}: {key} has two owners, one is {wish}");
                }
            }
        }
    }
}
