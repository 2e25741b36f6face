//! As an SVG picture: bridges to the left, what is plugged in to the right. No script, no font from elsewhere.

use std::fmt::Write;

use super::{Map, Pair, joined};
use crate::link::Admin;

const WIDTH: usize = 860;
const LEFT_WIDTH: usize = 260;
const RIGHT_X: usize = 470;
const LINE: usize = 18;
const PAD: usize = 12;
const GAP: usize = 14;

const STYLE: &str = "text{font:13px ui-monospace,monospace;fill:#1d2733}.title{font-weight:bold}.dim{fill:#66788a}.port{fill:#0b6e4f}\
rect{fill:#fff;stroke:#8fa3b5;rx:6}.bridge rect{fill:#e8f1fa;stroke:#3d7ab8}.down rect{stroke-dasharray:5 4}path{stroke:#8fa3b5;fill:none}";

/// The map as an SVG document.
pub fn svg(map: &Map) -> String {
    let mut page = Page { body: String::new(), y: GAP };
    for bridge in &map.bridges {
        let lines = [bridge.link.to_string(), bridge.label.clone().unwrap_or_default(), joined(&bridge.addresses)];
        page.group("bridge", &lines, bridge.admin, &bridge.ports);
    }
    if !map.pairs.is_empty() {
        page.group("host", &["on no bridge".to_owned()], Admin::Up, &map.pairs);
    }
    for alone in &map.isolated {
        let lines = [alone.title(), "on no network".to_owned()];
        page.boxed("alone", RIGHT_X, page.y, WIDTH - RIGHT_X - GAP, &lines, Admin::Up);
        page.y += height(2) + GAP;
    }
    let (body, height) = (page.body, page.y);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\">\n\
         <title>Networks of this host</title>\n<style>{STYLE}</style>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" stroke=\"none\" style=\"fill:#f7f9fb\"/>\n{body}</svg>\n"
    )
}

struct Page {
    body: String,
    y: usize,
}

impl Page {
    /// A box on the left and its pairs on the right.
    fn group(&mut self, class: &str, lines: &[String], admin: Admin, pairs: &[Pair]) {
        let lines: Vec<String> = lines.iter().filter(|line| !line.is_empty()).cloned().collect();
        let top = self.y;
        let middle = top + height(lines.len()) / 2;
        for pair in pairs {
            self.pair(pair, middle);
        }
        self.boxed(class, GAP, top, LEFT_WIDTH, &lines, admin);
        self.y = self.y.max(top + height(lines.len()) + GAP);
    }

    fn pair(&mut self, pair: &Pair, from_y: usize) {
        let lines: Vec<String> = [pair.title(), format!("{}  {}", pair.far.name, joined(&pair.addresses))]
            .into_iter()
            .chain(pair.published.iter().map(ToString::to_string))
            .collect();
        let middle = self.y + height(lines.len()) / 2;
        let (from, bend) = (GAP + LEFT_WIDTH, GAP + LEFT_WIDTH + 30);
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "<path d=\"M{from} {from_y}H{bend}V{middle}H{RIGHT_X}\"/>");
        let near = escaped(pair.near.name.as_str());
        let _ = writeln!(self.body, "<text class=\"dim\" x=\"{}\" y=\"{}\">{near}</text>", bend + 8, middle - 5);
        self.boxed("netns", RIGHT_X, self.y, WIDTH - RIGHT_X - GAP, &lines, pair.admin);
        self.y += height(lines.len()) + GAP;
    }

    /// A box of lines; the first is its title, and from the third on a namespace's are its ports.
    fn boxed(&mut self, class: &str, x: usize, y: usize, width: usize, lines: &[String], admin: Admin) {
        let state = if admin == Admin::Down { " down" } else { "" };
        let height = height(lines.len());
        let _ = writeln!(
            self.body,
            "<g class=\"{class}{state}\"><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>"
        );
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

fn height(lines: usize) -> usize {
    2 * PAD + LINE * lines - 4
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
