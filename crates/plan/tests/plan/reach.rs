//! Who reaches whom: in every scenario packets go from everybody to everybody, and what becomes of them is in `reach`.

use std::{fmt::Write as _, fs};

use netstate::{
    NetState,
    trace::{End, Packet, Surroundings, trace},
};

use crate::{
    folders::folders,
    golden::{golden, named},
    matrix::{questions, surroundings},
    steps::Stage,
};

#[test]
fn everybody_reaches_whom_they_should() {
    for folder in folders() {
        let mut stage = Stage::default();
        for line in fs::read_to_string(folder.join("steps")).unwrap().lines() {
            stage.play(line);
        }
        let (net, around) = (plan::desired(&stage.state).net, surroundings());
        let mut text = String::new();
        for question in questions(&stage.state) {
            writeln!(text, "{question} {}", fate(&net, &around, &question.packet)).unwrap();
        }
        golden(folder.join("reach"), &named(&stage, &text));
    }
}

/// `ok` with where it arrives and whom it sees, or why not.
fn fate(net: &NetState, around: &Surroundings, packet: &Packet) -> String {
    let trace = trace(net, around, packet);
    let back = trace.back.as_ref().map(|leg| &leg.end);
    match (&trace.there.end, back) {
        (End::Dropped(cause), _) => format!("no: {cause}"),
        (_, Some(End::Dropped(cause))) => format!("no answer: {cause}"),
        (End::Delivered { netns, tuple, .. }, _) => format!("ok: {netns}:{} sees {}", tuple.port, tuple.source),
        (End::Left { tuple, .. }, _) => format!("ok: the wire sees {}", tuple.source),
    }
}
