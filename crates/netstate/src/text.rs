//! States and plans as text, for golden files and for people. One object a line; nftables in nft's language.

use std::fmt::{self, Write};

use crate::{
    apply::{Op, Plan},
    link::{Admin, Hairpin, Link, LinkKind},
    nft::{self, Chain, SetData},
    route::Route,
    state::{Key, NetState, Object},
};

/// One object a line, in order of creation; then the tables of each namespace.
impl fmt::Display for NetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, object) in &self.objects {
            if key.table().is_none() {
                writeln!(f, "{}", self::object(key, object))?;
            }
        }
        for key in self.objects.keys() {
            if let Key::Table(table) = key {
                write!(f, "\n# in {}\n{}", table.netns, nft::text::table(self, table))?;
            }
        }
        Ok(())
    }
}

/// One operation a line: `+` makes, `~` changes, `-` removes. Chains list their rules below; a changed chain lists only those that differ.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ops.iter().try_for_each(|op| f.write_str(&operation(op)))
    }
}

fn operation(op: &Op) -> String {
    match op {
        Op::Create { key, object: Object::Chain(chain) } => format!("+ {key}{}", rules_of(chain, "+")),
        Op::Create { key, object } => format!("+ {}\n", self::object(key, object)),
        Op::Change { key, from: Object::Chain(from), to: Object::Chain(to) } => {
            format!("~ {key}\n{}", changed_rules(from, to))
        }
        Op::Change { key, from, to } => format!("~ {}\n", change(key, from, to)),
        Op::Delete { key, with, .. } => {
            let with: String = with.iter().map(|key| format!("    with {key}\n")).collect();
            format!("- {key}\n{with}")
        }
    }
}

/// One object: its key, and what it is. A chain's rules follow below.
pub fn object(key: &Key, object: &Object) -> String {
    let body = match object {
        Object::Netns(_) | Object::Addr(_) | Object::Table(_) => String::new(),
        Object::Link(link) => link_body(link),
        Object::Sysctl(sysctl) => format!("= {}", sysctl.value),
        Object::Route(route) => route_body(route),
        Object::Set(set) => {
            let types = |types: &[nft::Datatype]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(" . ");
            let data = match &set.data {
                SetData::None => String::new(),
                SetData::Values(data) => format!(" : {}", types(data)),
                SetData::Verdict => " : verdict".to_owned(),
            };
            let flags = match (set.interval, set.filled) {
                (true, _) => " flags interval",
                (false, nft::Filled::ByPackets) => " flags dynamic,timeout",
                (false, nft::Filled::ByUs) => "",
            };
            format!("type {}{data}{flags}", types(&set.key))
        }
        Object::Element(element) => match &element.data {
            nft::ElementData::None => String::new(),
            nft::ElementData::Values(values) => format!(": {values}"),
            nft::ElementData::Verdict(nft::MapVerdict::Drop) => ": drop".to_owned(),
            nft::ElementData::Verdict(nft::MapVerdict::Jump(chain)) => format!(": jump {chain}"),
        },
        Object::Chain(chain) => rules_of(chain, " "),
    };
    format!("{key} {body}").trim_end().to_owned()
}

fn link_body(link: &Link) -> String {
    let mut body = match &link.kind {
        LinkKind::Bridge => "bridge".to_owned(),
        LinkKind::Veth { peer, peer_mac } => format!("veth peer {peer} {peer_mac}"),
        LinkKind::VethPeer { of } => format!("veth peer-of {of}"),
    };
    // Writing to a string cannot fail.
    let _ = write!(body, " mac {} mtu {} {}", link.mac, link.mtu, link.admin);
    if let Some(port) = &link.port {
        let _ = write!(body, " master {}", port.bridge);
        if port.hairpin == Hairpin::On {
            body.push_str(" hairpin on");
        }
    }
    if let Some(alias) = &link.alias {
        let _ = write!(body, " alias {alias}");
    }
    body
}

fn route_body(route: &Route) -> String {
    let via = route.via.map(|via| format!("via {via} ")).unwrap_or_default();
    format!("{via}dev {}", route.device)
}

/// Only what differs, `from -> to`.
fn change(key: &Key, from: &Object, to: &Object) -> String {
    match (from, to) {
        (Object::Link(from), Object::Link(to)) => {
            let port = |link: &Link| link.port.as_ref().map_or("none".to_owned(), |port| port.bridge.to_string());
            let alias = |link: &Link| link.alias.clone().unwrap_or("none".to_owned());
            let fields = [
                ("mac", from.mac.to_string(), to.mac.to_string()),
                ("mtu", from.mtu.to_string(), to.mtu.to_string()),
                ("admin", from.admin.to_string(), to.admin.to_string()),
                ("master", port(from), port(to)),
                ("alias", alias(from), alias(to)),
            ];
            let differs = fields.iter().filter(|(_, from, to)| from != to);
            let words: Vec<_> = differs.map(|(name, from, to)| format!("{name} {from} -> {to}")).collect();
            format!("{key} {}", words.join(", "))
        }
        (Object::Sysctl(from), Object::Sysctl(to)) => {
            format!("{key} = {} -> {}", from.value, to.value)
        }
        (Object::Route(from), Object::Route(to)) => {
            format!("{key} {} -> {}", route_body(from), route_body(to))
        }
        (_, to) => object(key, to),
    }
}

fn rules_of(chain: &Chain, sign: &str) -> String {
    let base = chain.base.as_ref().map(|base| format!(" {{ {} }}", nft::text::base(base))).unwrap_or_default();
    let rules = rules(&chain.rules, sign);
    format!("{base}\n{rules}")
}

fn changed_rules(from: &Chain, to: &Chain) -> String {
    let mut text = String::new();
    if from.base != to.base {
        let base = |chain: &Chain| chain.base.as_ref().map(nft::text::base).unwrap_or_default();
        text = format!("    {} -> {}\n", base(from), base(to));
    }
    let missing_in =
        |chain: &Chain, rule: &nft::Rule| !chain.rules.iter().any(|other| other.same(rule) || rule.same(other));
    text += &rules(from.rules.iter().filter(|rule| missing_in(to, rule)), "-");
    text += &rules(to.rules.iter().filter(|rule| missing_in(from, rule)), "+");
    text
}

fn rules<'a>(rules: impl IntoIterator<Item = &'a nft::Rule>, sign: &str) -> String {
    rules
        .into_iter()
        .flat_map(nft::text::rule)
        .map(|line| {
            format!(
                "    {sign} {line}
"
            )
        })
        .collect()
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}
