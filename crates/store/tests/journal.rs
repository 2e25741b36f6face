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

/// A crash may leave SQLite's log cut anywhere, or with other bytes at its end: what was acknowledged before the damage stays, in
/// order, and nothing is made up.
#[test]
fn a_torn_log_keeps_what_came_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let (mut store, mut state) = Store::open(&path).unwrap();
    // How long the log is once each change is acknowledged.
    let log = dir.path().join("state.db-wal");
    let length = || fs::metadata(&log).map_or(0, |found| found.len() as usize);
    let mut acknowledged = vec![(length(), state.clone())];
    for n in 0..6 {
        state = write(&mut store, &state, &Change { puts: vec![volume(&format!("v{n}"))], deletes: vec![] });
        acknowledged.push((length(), state.clone()));
    }
    // As the process that dies leaves them: closing would empty the log.
    let (whole, torn) = (fs::read(&path).unwrap(), fs::read(&log).unwrap());
    let check = |name: &str, bytes: &[u8], sound: usize| {
        let copy = tempfile::tempdir().unwrap();
        let path = copy.path().join("state.db");
        fs::write(&path, &whole).unwrap();
        fs::write(copy.path().join("state.db-wal"), bytes).unwrap();
        let (_, found) = Store::open(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = acknowledged.iter().rev().find(|(length, _)| *length <= sound).map(|(_, state)| state);
        assert_eq!(Some(&found), expected, "{name}");
    };
    // The log's header, and in each frame its header and its page.
    let mut cuts: Vec<usize> = vec![0, 1, 31, 32, 33];
    cuts.extend((32..torn.len()).step_by(4096 + 24).flat_map(|frame| [frame, frame + 1, frame + 24, frame + 2000]));
    for cut in cuts.into_iter().filter(|cut| *cut <= torn.len()) {
        check(&format!("cut at {cut}"), &torn[..cut], cut);
        let mut zeros = torn.clone();
        zeros[cut..].fill(0);
        check(&format!("zeros from {cut}"), &zeros, cut);
        if cut < torn.len() {
            let mut flipped = torn.clone();
            flipped[cut] ^= 0x55;
            check(&format!("another byte at {cut}"), &flipped, cut);
        }
    }
    check("whole", &torn, torn.len());
}

#[test]
fn every_cut_of_the_file_is_refused() {
    let length = {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let (mut store, state) = Store::open(&path).unwrap();
        let many = (0..200).map(|n| volume(&format!("v{n}"))).collect();
        write(&mut store, &state, &Change { puts: many, deletes: vec![] });
        drop(store);
        fs::metadata(&path).unwrap().len()
    };
    for cut in [1, 15, 16, 50, 99, 100, 1000].into_iter().chain((512..length).step_by(512)).chain([length - 1]) {
        check(
            |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(cut).unwrap(),
            |error| matches!(error, StoreError::Damaged { .. } | StoreError::Foreign { .. }),
        );
    }
}

#[test]
fn what_cannot_be_opened_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("missing/state.db"), dir.path().to_owned()] {
        let error = Store::open(&path).expect_err("refused").to_string();
        assert!(error.contains(&path.display().to_string().replace(".db", "")), "{error}");
    }
}
