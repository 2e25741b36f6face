//! A picture of a host: its bridges, what is plugged into them, addresses, published ports. The picture is data; one file each draws it.

mod dot;
mod json;
mod mermaid;
mod svg;
mod text;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use crate::{
    link::{Admin, Link, LinkKey, LinkKind},
    netns::NetnsName,
    nft::{ElementData, ElementKey, SetData, Value},
    state::{Key, NetState, Object},
};

pub use self::{dot::dot, json::json, mermaid::mermaid, svg::svg, text::text};

/// A host at a glance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Map {
    /// Bridges, with what is plugged into them.
    pub bridges: Vec<Bridge>,
    /// Pairs that are on no bridge.
    pub pairs: Vec<Pair>,
    /// Namespaces that nothing leads to.
    pub isolated: Vec<Isolated>,
    /// Published ports that lead to no address on the map.
    pub elsewhere: Vec<Publication>,
}

/// A bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bridge {
    /// Which.
    #[serde(serialize_with = "as_text")]
    pub link: LinkKey,
    /// What people call it.
    pub label: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// Whether it is up.
    pub admin: Admin,
    /// What is plugged in.
    pub ports: Vec<Pair>,
}

/// A veth pair, seen from its first end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The first end.
    #[serde(serialize_with = "as_text")]
    pub near: LinkKey,
    /// The second end.
    #[serde(serialize_with = "as_text")]
    pub far: LinkKey,
    /// What people call the second end's namespace.
    pub label: Option<String>,
    /// The second end's addresses.
    pub addresses: Vec<IpNet>,
    /// Down if either end is.
    pub admin: Admin,
    /// What is published of it.
    pub published: Vec<Publication>,
}

/// A namespace without a way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Isolated {
    /// Which.
    #[serde(serialize_with = "as_text")]
    pub netns: NetnsName,
    /// What people call it.
    pub label: Option<String>,
}

/// A published port, or a range of them: an element of a map from addresses and ports to an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Publication {
    /// Where it can be reached; none is every address.
    pub address: Option<IpAddr>,
    /// Transport protocol, in nft's words.
    pub proto: String,
    /// First and last port.
    pub ports: (u16, u16),
    /// Where it leads.
    pub to: IpAddr,
    /// The port there; none keeps it.
    pub to_port: Option<u16>,
}

impl fmt::Display for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.ports;
        let from = match self.address {
            Some(address) => SocketAddr::new(address, first).to_string(),
            None => format!("*:{first}"),
        };
        let range = if first == last { String::new() } else { format!("-{last}") };
        let to = self.to_port.map_or("same port".to_owned(), |port| port.to_string());
        write!(f, "{from}{range}/{} → {to}", self.proto)
    }
}

impl Map {
    /// The picture of a state. Labels are what people call a namespace, or the network of a bridge.
    pub fn of(state: &NetState, labels: &BTreeMap<Key, String>) -> Self {
        let mut published = publications(state);
        let mut map = Self::default();
        let links = state.objects.iter().filter_map(|pair| match pair {
            (Key::Link(key), Object::Link(link)) => Some((key, &**link)),
            _ => None,
        });
        for (key, link) in links.clone().filter(|(_, link)| link.kind == LinkKind::Bridge) {
            map.bridges.push(Bridge {
                link: key.clone(),
                label: labels.get(&Key::Link(key.clone())).cloned(),
                addresses: state.addrs(key).map(|addr| addr.address).collect(),
                admin: link.admin,
                ports: Vec::new(),
            });
        }
        for (key, link) in links {
            let LinkKind::Veth { peer, .. } = &link.kind else { continue };
            let pair = pair(state, labels, &mut published, (key, link), peer);
            let bridge = link.port.as_ref().map(|port| LinkKey { netns: key.netns.clone(), name: port.bridge.clone() });
            match map.bridges.iter_mut().find(|bridge_| Some(&bridge_.link) == bridge.as_ref()) {
                Some(bridge) => bridge.ports.push(pair),
                None => map.pairs.push(pair),
            }
        }
        map.isolated = isolated(state, labels, &map);
        map.elsewhere = published;
        map
    }
}

fn pair(
    state: &NetState,
    labels: &BTreeMap<Key, String>,
    published: &mut Vec<Publication>,
    (near, link): (&LinkKey, &Link),
    far: &LinkKey,
) -> Pair {
    let addresses: Vec<IpNet> = state.addrs(far).map(|addr| addr.address).collect();
    let leads_here = |publication: &mut Publication| addresses.iter().any(|address| address.addr() == publication.to);
    let far_is_up = state.link(far).is_none_or(|link| link.admin == Admin::Up);
    Pair {
        near: near.clone(),
        far: far.clone(),
        label: labels.get(&Key::Netns(far.netns.clone())).cloned(),
        admin: if far_is_up { link.admin } else { Admin::Down },
        published: published.extract_if(.., leads_here).collect(),
        addresses,
    }
}

fn isolated(state: &NetState, labels: &BTreeMap<Key, String>, map: &Map) -> Vec<Isolated> {
    let pairs = map.bridges.iter().flat_map(|bridge| &bridge.ports).chain(&map.pairs);
    let reached: BTreeSet<&NetnsName> = pairs.flat_map(|pair| [&pair.near.netns, &pair.far.netns]).collect();
    let alone = state.namespaces().filter(|netns| **netns != NetnsName::Host && !reached.contains(netns));
    alone
        .map(|netns| Isolated { netns: netns.clone(), label: labels.get(&Key::Netns(netns.clone())).cloned() })
        .collect()
}

/// The elements of all maps whose key has a port and whose data is an address.
fn publications(state: &NetState) -> Vec<Publication> {
    let elements = state.objects.iter().filter_map(|pair| match pair {
        (Key::Element(key), Object::Element(element)) => Some((key, &element.data)),
        _ => None,
    });
    elements
        .filter(|(key, _)| state.set(&key.set).is_some_and(|set| set.data != SetData::None))
        .filter_map(publication)
        .collect()
}

fn publication((key, data): (&ElementKey, &ElementData)) -> Option<Publication> {
    let ElementData::Values(values) = data else { return None };
    let mut values = values.iter();
    let to = values.next()?.address()?;
    let to_port = match values.next() {
        Some(Value::Port(port)) => Some(port),
        _ => None,
    };
    let mut publication = Publication { address: None, proto: String::new(), ports: (0, 0), to, to_port };
    for span in key.key.iter() {
        match (&span.first, &span.last) {
            (Value::Port(first), Value::Port(last)) => publication.ports = (*first, *last),
            (proto @ Value::Proto(_), _) => publication.proto = proto.to_string(),
            (first, last) if first == last => publication.address = first.address(),
            _ => {}
        }
    }
    (publication.ports.0 != 0).then_some(publication)
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Addresses in a row.
fn joined(addresses: &[IpNet]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Bridge {
    /// What people call it, or its link's name.
    fn title(&self) -> String {
        self.label.clone().unwrap_or_else(|| self.link.to_string())
    }
}

impl Pair {
    /// What people call the far namespace, or its name.
    fn title(&self) -> String {
        self.label.clone().unwrap_or_else(|| self.far.netns.to_string())
    }
}

impl Isolated {
    fn title(&self) -> String {
        self.label.clone().unwrap_or_else(|| self.netns.to_string())
    }
}
