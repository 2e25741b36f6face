//! As a tree for a terminal.

use super::{Map, Pair, joined};
use crate::{link::Admin, netns::NetnsName};

/// The map as a tree, drawn with box characters. Ends with a line end.
pub fn text(map: &Map) -> String {
    let mut root = Node::new("host");
    for bridge in &map.bridges {
        let name = match bridge.link.netns {
            NetnsName::Host => bridge.link.name.to_string(),
            NetnsName::Named(_) => bridge.link.to_string(),
        };
        let words = [Some(name), bridge.label.clone(), Some(joined(&bridge.addresses)), down(bridge.admin)];
        root.children.push(Node { text: line(words), children: pairs(&bridge.ports) });
    }
    root.children.extend(pairs(&map.pairs));
    for alone in &map.isolated {
        root.children.push(Node::new(&format!("{}  on no network", alone.title())));
    }
    if !map.elsewhere.is_empty() {
        let children =
            map.elsewhere.iter().map(|published| Node::new(&format!("{published} of {}", published.to))).collect();
        root.children.push(Node { text: "published, leads nowhere here".to_owned(), children });
    }
    let mut text = format!("{}\n", root.text);
    draw(&root.children, "", &mut text);
    text
}

struct Node {
    text: String,
    children: Vec<Node>,
}

impl Node {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), children: Vec::new() }
    }
}

/// The pairs of one bridge, in columns.
fn pairs(pairs: &[Pair]) -> Vec<Node> {
    let columns =
        |pair: &Pair| [format!("{} ══ {}", pair.near.name, pair.far.name), pair.title(), joined(&pair.addresses)];
    let rows: Vec<_> = pairs.iter().map(columns).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), 0];
    let node = |(pair, row): (&Pair, &[String; 3])| {
        let cells = row.iter().zip(widths).map(|(cell, width)| Some(format!("{cell:<width$}")));
        let text = line(cells.chain([down(pair.admin)]));
        Node { text, children: pair.published.iter().map(|published| Node::new(&published.to_string())).collect() }
    };
    pairs.iter().zip(&rows).map(node).collect()
}

fn down(admin: Admin) -> Option<String> {
    (admin == Admin::Down).then(|| "down".to_owned())
}

fn line(words: impl IntoIterator<Item = Option<String>>) -> String {
    let words: Vec<String> = words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
    words.join("  ").trim_end().to_owned()
}

fn draw(nodes: &[Node], indent: &str, text: &mut String) {
    for (i, node) in nodes.iter().enumerate() {
        let (branch, below) = if i + 1 == nodes.len() { ("└── ", "    ") } else { ("├── ", "│   ") };
        text.push_str(&format!("{indent}{branch}{}\n", node.text));
        draw(&node.children, &format!("{indent}{below}"), text);
    }
}
