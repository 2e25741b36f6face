//! A folder is a case: a pod, and what happens to it on the node, step by step. What is to be done next and what its status is after
//! each step is recorded in `told`; UPDATE_GOLDEN=1 writes it.
//!
//! ```text
//! volumes ready
//! sandbox 10.244.0.2
//! run main
//! after 5
//! exit main 1
//! ```

mod stage;

use std::{fs, path::PathBuf};

use stage::Stage;

#[test]
fn pods_come_to_what_is_recorded() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pods/cases");
    let mut cases: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    for case in cases {
        let pod = serde_saphyr::from_str(&fs::read_to_string(case.join("pod.yaml")).unwrap()).unwrap();
        let mut stage = Stage::new(pod);
        let mut told = stage.tell();
        for line in fs::read_to_string(case.join("steps")).unwrap().lines() {
            told += &format!("\n{line}\n");
            stage.play(line);
            told += &stage.tell();
        }
        let golden = case.join("told");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(golden, told).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert!(expected == told, "{} differs:\n{told}\nUPDATE_GOLDEN=1 writes it", golden.display());
    }
}
