//! Every scenario, and what is decided in it: `tests/scenarios/NAME/steps` gives `decided`.

use std::{fmt::Write as _, fs};

use crate::{
    folders::folders,
    golden::{golden, named},
    steps::Stage,
};

#[test]
fn scenarios_are_decided_as_recorded() {
    for folder in folders() {
        let mut stage = Stage::default();
        let mut text = String::new();
        for line in fs::read_to_string(folder.join("steps")).unwrap().lines() {
            let outcomes = stage.play(line);
            writeln!(text, "{line}").unwrap();
            for told in outcomes.iter().flat_map(crate::told::lines) {
                writeln!(text, "    {}", named(&stage, &told)).unwrap();
            }
        }
        golden(folder.join("decided"), &text);
    }
}
