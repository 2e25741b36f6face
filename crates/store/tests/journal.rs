//! The journal keeps what it acknowledged, and refuses what it cannot read.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use model::{Change, Record, RecordKey, State, Volume, volume::Naming};
use store::{Store, StoreError};

fn volume(name: &str) -> Record {
    Record::Volume(Arc::new(Volume {
        name: name.to_owned(),
        created_ms: 7,
        naming: Naming::Named,
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
    }))
}

fn write(store: &mut Store, state: &State, change: &Change) -> State {
    let next = state.with(change);
    store.append(change, next.revision).unwrap();
    next
}

#[test]
fn what_was_written_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let (mut store, state) = Store::open(&path).unwrap();
    let state = write(&mut store, &state, &Change { puts: vec![volume("a"), volume("b")], deletes: vec![] });
    let state = write(&mut store, &state, &Change { puts: vec![], deletes: vec![RecordKey::Volume("a".to_owned())] });
    drop(store);
    let (_, read) = Store::open(&path).unwrap();
    assert_eq!(read, state);
    assert_eq!(read.revision, 2);
}

/// Damages the file and opens it again; never an empty state.
fn check(damage: impl Fn(&Path), expected: fn(&StoreError) -> bool) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let (mut store, state) = Store::open(&path).unwrap();
    let many = (0..200).map(|n| volume(&format!("v{n}"))).collect();
    write(&mut store, &state, &Change { puts: many, deletes: vec![] });
    drop(store);
    damage(&path);
    let error = Store::open(&path).expect_err("a damaged journal was opened");
    assert!(expected(&error), "{error}");
}

#[test]
fn a_damaged_file_is_refused() {
    let damaged = |e: &StoreError| matches!(e, StoreError::Damaged { .. } | StoreError::Foreign { .. });
    check(|p| fs::write(p, b"").unwrap(), damaged);
    check(|p| fs::write(p, b"not a database at all, but long enough to look at").unwrap(), damaged);
    check(|p| fs::OpenOptions::new().write(true).open(p).unwrap().set_len(8192).unwrap(), damaged);
    check(
        |p| {
            let mut bytes = fs::read(p).unwrap();
            for byte in &mut bytes[4200..9000] {
                *byte ^= 0x5a;
            }
            fs::write(p, bytes).unwrap();
        },
        damaged,
    );
}

#[test]
fn a_second_daemon_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let (mut store, state) = Store::open(&path).unwrap();
    write(&mut store, &state, &Change { puts: vec![volume("a")], deletes: vec![] });
    assert!(matches!(Store::open(&path), Err(StoreError::Busy { .. })));
}
