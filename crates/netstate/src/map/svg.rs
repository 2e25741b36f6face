//! As an SVG picture: bridges to the left, what is plugged in to the right. No script, no font from elsewhere.

use std::fmt::Write;

use super::{Bridge, Isolated, Map, Pair, joined};
use crate::link::Admin;

/// Between the columns, where the near ends' names are.
const MIDDLE: usize = 190;
/// Height of a line, and of a letter's width in the 13 pixel monospaced font.
const LINE: usize = 18;
const LETTER: usize = 8;
const PAD: usize = 12;
const GAP: usize = 14;

const STYLE: &str = "text{font:13px ui-monospace,monospace;fill:#1d2733}.title{font-weight:bold}.dim{fill:#66788a}.port{fill:#0b6e4f}\
rect{fill:#fff;stroke:#8fa3b5;rx:6}.bridge rect{fill:#e8f1fa;stroke:#3d7ab8}.down rect{stroke-dasharray:5 4}\
.paper{fill:#f7f9fb;stroke:none}path{stroke:#8fa3b5;fill:none}";

/// The map as an SVG document.
pub fn svg(map: &Map) -> String {
    let pairs = map.bridges.iter().flat_map(|bridge| &bridge.ports).chain(&map.pairs);
    let left = map.bridges.iter().map(bridge_lines).chain([loose_lines()]).map(|lines| width(&lines)).max();
    let right = pairs.map(pair_lines).chain(map.isolated.iter().map(isolated_lines)).map(|lines| width(&lines)).max();
    let mut page = Page { body: String::new(), y: GAP, left: left.unwrap_or(0), right: right.unwrap_or(0) };
    for bridge in &map.bridges {
        page.group("bridge", &bridge_lines(bridge), bridge.admin, &bridge.ports);
    }
    if !map.pairs.is_empty() {
        page.group("host", &loose_lines(), Admin::Up, &map.pairs);
    }
    for alone in &map.isolated {
        page.namespace("alone", &isolated_lines(alone), Admin::Up);
    }
    let (width, height, body) = (page.right_x() + page.right + GAP, page.y, page.body);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
         <title>Networks of this host</title>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n{body}</svg>\n"
    )
}

fn bridge_lines(bridge: &Bridge) -> Vec<String> {
    let lines = [bridge.link.to_string(), bridge.label.clone().unwrap_or_default(), joined(&bridge.addresses)];
    lines.into_iter().filter(|line| !line.is_empty()).collect()
}

fn pair_lines(pair: &Pair) -> Vec<String> {
    let published = pair.published.iter().map(ToString::to_string);
    [pair.title(), format!("{}  {}", pair.far.name, joined(&pair.addresses))].into_iter().chain(published).collect()
}

fn isolated_lines(alone: &Isolated) -> Vec<String> {
    vec![alone.title(), "on no network".to_owned()]
}

fn loose_lines() -> Vec<String> {
    vec!["on no bridge".to_owned()]
}

fn width(lines: &[String]) -> usize {
    2 * PAD + LETTER * lines.iter().map(|line| line.chars().count()).max().unwrap_or(0)
}

fn height(lines: &[String]) -> usize {
    2 * PAD + LINE * lines.len() - 4
}

/// What is drawn, how far down, and how wide the columns are.
struct Page {
    body: String,
    y: usize,
    left: usize,
    right: usize,
}

impl Page {
    fn right_x(&self) -> usize {
        GAP + self.left + MIDDLE
    }

    /// A box on the left and its pairs on the right.
    fn group(&mut self, class: &str, lines: &[String], admin: Admin, pairs: &[Pair]) {
        let top = self.y;
        let middle = top + height(lines) / 2;
        self.boxed(class, (GAP, self.left), lines, admin);
        for pair in pairs {
            self.wire(pair, middle);
            self.namespace("netns", &pair_lines(pair), pair.admin);
        }
        self.y = self.y.max(top + height(lines) + GAP);
    }

    /// A line to where the pair's box will be, with the near end's name on it.
    fn wire(&mut self, pair: &Pair, from_y: usize) {
        let y = self.y + height(&pair_lines(pair)) / 2;
        let (from, bend, to) = (GAP + self.left, GAP + self.left + 30, self.right_x());
        let near = escaped(pair.near.name.as_str());
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "<path d=\"M{from} {from_y}H{bend}V{y}H{to}\"/>");
        let _ = writeln!(self.body, "<text class=\"dim\" x=\"{}\" y=\"{}\">{near}</text>", bend + 8, y - 5);
    }

    fn namespace(&mut self, class: &str, lines: &[String], admin: Admin) {
        self.boxed(class, (self.right_x(), self.right), lines, admin);
        self.y += height(lines) + GAP;
    }

    /// A box of lines. The first is its title; a namespace's are ports from the third on.
    fn boxed(&mut self, class: &str, (x, width): (usize, usize), lines: &[String], admin: Admin) {
        let down = if admin == Admin::Down { " down" } else { "" };
        let (y, height) = (self.y, height(lines));
        let frame = format!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>");
        let _ = writeln!(self.body, "<g class=\"{class}{down}\">{frame}");
        for (i, line) in lines.iter().enumerate() {
            let style = match (i, class) {
                (0, _) => "title",
                (1, _) | (_, "bridge") => "dim",
                _ => "port",
            };
            let (x, y) = (x + PAD, y + PAD + LINE * i + 11);
            let _ = writeln!(self.body, "<text class=\"{style}\" x=\"{x}\" y=\"{y}\">{}</text>", escaped(line));
        }
        self.body.push_str("</g>\n");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
