//! As Graphviz's DOT language.

use super::{Map, Pair, joined};

/// The map as a graph: bridges and namespaces are nodes, pairs are edges.
pub fn dot(map: &Map) -> String {
    let mut text = String::from("graph linkspan {\n  rankdir=LR;\n  node [shape=box, fontname=\"monospace\"];\n");
    for bridge in &map.bridges {
        let label = [bridge.link.name.to_string(), bridge.title(), joined(&bridge.addresses)].join("\n");
        text += &format!("  {} [label={}, style=bold];\n", quoted(&bridge.link.to_string()), quoted(&label));
    }
    let on_bridges =
        map.bridges.iter().flat_map(|bridge| bridge.ports.iter().map(|pair| (bridge.link.to_string(), pair)));
    let loose = map.pairs.iter().map(|pair| (pair.near.netns.to_string(), pair));
    for (from, pair) in on_bridges.chain(loose) {
        text += &edge(&from, pair);
    }
    for alone in &map.isolated {
        text += &format!("  {} [label={}];\n", quoted(&alone.netns.to_string()), quoted(&alone.title()));
    }
    text + "}\n"
}

fn edge(from: &str, pair: &Pair) -> String {
    let node = pair.far.netns.to_string();
    let published: Vec<String> = pair.published.iter().map(ToString::to_string).collect();
    let ends = [format!("{} · {}", pair.near.name, pair.far.name), joined(&pair.addresses)];
    let label = ends.into_iter().chain(published).collect::<Vec<_>>().join("\n");
    format!(
        "  {node} [label={title}];\n  {from} -- {node} [label={label}];\n",
        node = quoted(&node),
        title = quoted(&pair.title()),
        from = quoted(from),
        label = quoted(&label)
    )
}

/// A quoted string of DOT.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
