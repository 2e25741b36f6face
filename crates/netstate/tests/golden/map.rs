//! Drawings of the host.

use std::collections::BTreeMap;

use netstate::{Key, NetState, map};

use crate::{
    golden,
    host::{host, link, netns},
};

fn labels() -> BTreeMap<Key, String> {
    let containers = ["web", "db", "job", "alone"].map(|name| (Key::Netns(netns(name)), format!("container {name}")));
    let networks = [("docker0", "network bridge"), ("br-back", "network <back> & \"co\"")];
    let networks = networks.map(|(name, label)| (Key::Link(link("host", name)), label.to_owned()));
    containers.into_iter().chain(networks).collect()
}

#[test]
fn drawings() {
    let map = map::Map::of(&host(), &labels());
    golden("map.txt", &map::text(&map));
    golden("map.json", &map::json(&map));
    golden("map.dot", &map::dot(&map));
    golden("map.mmd", &map::mermaid(&map));
    golden("map.svg", &map::svg(&map));
}

#[test]
fn nothing_can_be_drawn() {
    let map = map::Map::of(&NetState::default(), &BTreeMap::new());
    assert_eq!(map::text(&map), "host\n");
    assert!(map::svg(&map).ends_with("</svg>\n"));
}
