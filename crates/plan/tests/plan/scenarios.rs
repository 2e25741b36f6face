//! Every scenario, and what the host must have at its end: `tests/scenarios/NAME/steps` gives `desired`.

use std::fs;

use crate::{
    folders::folders,
    golden::{golden, named},
    steps::Stage,
};

#[test]
fn scenarios_come_to_what_is_recorded() {
    for folder in folders() {
        let mut stage = Stage::default();
        for line in fs::read_to_string(folder.join("steps")).unwrap().lines() {
            stage.play(line);
        }
        let desired = plan::desired(&stage.state);
        let text = named(&stage, &desired.net.to_string());
        golden(folder.join("desired"), &text);
    }
}
