//! Links.

use std::collections::{BTreeMap, HashMap, HashSet};

use netstate::{
    NetState,
    link::{Admin, BridgePort, Hairpin, IfName, Link, LinkKey, LinkKind, MacAddr},
    netns::NetnsName,
};

use crate::{
    fault::Refusal,
    linux::Linux,
    netlink::{link::LinkFacts, route},
};

/// Names of our links by their index.
pub(crate) type Ours = HashMap<u32, IfName>;

/// Adds our links to the state, and gives their indexes by namespace. A veth that the kernel has yet to take along with the namespace
/// that we deleted counts as gone.
pub(crate) fn observe(
    linux: &mut Linux,
    names: &[String],
    state: &mut NetState,
) -> Result<BTreeMap<NetnsName, Ours>, Refusal> {
    let mut ours: BTreeMap<NetnsName, Ours> = BTreeMap::new();
    let host = facts(linux, &NetnsName::Host)?;
    let mut peers = peers(linux, names, &host)?;
    for facts in host.values().filter(|f| f.is_ours()) {
        let Some(key) = key(&NetnsName::Host, facts) else { continue };
        let kind = match facts.kind.as_deref() {
            Some("veth") => {
                let peer = facts.peer_namespace.zip(facts.peer).and_then(|end| peers.remove(&end));
                if peer.is_none() && linux.own.is_going(&facts.name) {
                    continue;
                }
                if let Some((key, peer)) = &peer {
                    ours.entry(key.netns.clone()).or_default().insert(peer.index, key.name.clone());
                }
                veth(&key, peer, state)
            }
            // A link of ours that is no veth can only be a bridge.
            _ => LinkKind::Bridge,
        };
        ours.entry(NetnsName::Host).or_default().insert(facts.index, key.name.clone());
        let hairpin = if facts.hairpin { Hairpin::On } else { Hairpin::Off };
        let port = facts.master.and_then(|index| host.get(&index)).and_then(|bridge| bridge.name.parse().ok());
        state.put(key, link(facts, kind, port.map(|bridge| BridgePort { bridge, hairpin })));
    }
    Ok(ours)
}

/// A veth's kind; its other end is added to the state. The other end of one whose namespace is going is nowhere.
fn veth(key: &LinkKey, peer: Option<(LinkKey, LinkFacts)>, state: &mut NetState) -> LinkKind {
    let Some((peer, facts)) = peer else {
        let nowhere = LinkKey { netns: NetnsName::named("gone"), name: key.name.clone() };
        return LinkKind::Veth { peer: nowhere, peer_mac: MacAddr([0; 6]) };
    };
    let peer_mac = MacAddr(facts.mac.unwrap_or_default());
    state.put(peer.clone(), link(&facts, LinkKind::VethPeer { of: key.clone() }, None));
    LinkKind::Veth { peer, peer_mac }
}

/// Other ends of veths, by the number of their namespace and their index there.
type Peers = HashMap<(i32, u32), (LinkKey, LinkFacts)>;

/// The other ends of the host's veths of ours that are in namespaces of ours.
fn peers(linux: &mut Linux, names: &[String], host: &BTreeMap<u32, LinkFacts>) -> Result<Peers, Refusal> {
    let wanted: HashSet<(i32, u32)> =
        host.values().filter(|f| f.is_ours()).filter_map(|f| f.peer_namespace.zip(f.peer)).collect();
    let namespaces: HashSet<i32> = wanted.iter().map(|(namespace, _)| *namespace).collect();
    let mut peers = Peers::new();
    for name in names {
        let file = linux.open_named(name)?;
        let id = route::namespace_id(&mut linux.sockets(&NetnsName::Host)?.route, &file)?;
        let Some(id) = id.filter(|id| namespaces.contains(id)) else { continue };
        let netns = NetnsName::named(name);
        for facts in facts(linux, &netns)?.into_values().filter(|f| wanted.contains(&(id, f.index))) {
            peers.extend(key(&netns, &facts).map(|key| ((id, facts.index), (key, facts))));
        }
    }
    Ok(peers)
}

fn facts(linux: &mut Linux, netns: &NetnsName) -> Result<BTreeMap<u32, LinkFacts>, Refusal> {
    route::links(&mut linux.sockets(netns)?.route)
}

fn key(netns: &NetnsName, facts: &LinkFacts) -> Option<LinkKey> {
    Some(LinkKey { netns: netns.clone(), name: facts.name.parse().ok()? })
}

fn link(facts: &LinkFacts, kind: LinkKind, port: Option<BridgePort>) -> Link {
    Link {
        kind,
        mac: MacAddr(facts.mac.unwrap_or_default()),
        mtu: facts.mtu,
        admin: if facts.up { Admin::Up } else { Admin::Down },
        port,
        alias: facts.alias.clone(),
    }
}
