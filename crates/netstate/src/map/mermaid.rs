//! As a Mermaid flowchart, for Markdown.

use std::collections::BTreeMap;

use super::{Map, Pair, joined};

/// The map as a flowchart: bridges and namespaces are nodes, pairs are lines.
pub fn mermaid(map: &Map) -> String {
    let mut chart = Chart { text: String::from("flowchart LR\n"), ids: BTreeMap::new() };
    for bridge in &map.bridges {
        let title = [bridge.link.name.to_string(), bridge.title(), joined(&bridge.addresses)].join("<br/>");
        chart.node(&bridge.link.to_string(), &title);
    }
    for bridge in &map.bridges {
        bridge.ports.iter().for_each(|pair| chart.pair(&bridge.link.to_string(), pair));
    }
    for pair in &map.pairs {
        chart.node(&pair.near.netns.to_string(), &pair.near.netns.to_string());
        chart.pair(&pair.near.netns.to_string(), pair);
    }
    for alone in &map.isolated {
        chart.node(&alone.netns.to_string(), &alone.title());
    }
    chart.text
}

/// Mermaid's identifiers are letters and digits, so nodes are numbered.
struct Chart {
    text: String,
    ids: BTreeMap<String, usize>,
}

impl Chart {
    fn node(&mut self, name: &str, title: &str) {
        if self.ids.contains_key(name) {
            return;
        }
        let id = self.ids.len();
        self.text += &format!("  n{id}[\"{}\"]\n", escaped(title));
        self.ids.insert(name.to_owned(), id);
    }

    fn pair(&mut self, from: &str, pair: &Pair) {
        let far = pair.far.netns.to_string();
        self.node(&far, &pair.title());
        let published: Vec<String> = pair.published.iter().map(ToString::to_string).collect();
        let label = [joined(&pair.addresses)].into_iter().chain(published).collect::<Vec<_>>().join("<br/>");
        let id = |name: &str| self.ids.get(name).copied().unwrap_or_default();
        let line = format!("  n{} ---|\"{}\"| n{}\n", id(from), escaped(&label), id(&far));
        self.text += &line;
    }
}

/// Quotes end a label; the line breaks are ours.
fn escaped(text: &str) -> String {
    text.replace('"', "#quot;")
}
