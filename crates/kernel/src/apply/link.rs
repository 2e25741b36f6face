//! Links.

use std::fs::File;

use libc::{NLM_F_CREATE, NLM_F_EXCL, RTM_DELLINK, RTM_NEWLINK, RTM_SETLINK};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use netstate::{
    Op,
    link::{Admin, BridgePort, Hairpin, Link, LinkKey, LinkKind},
    netns::NetnsName,
};

use super::{Failure, unless_gone};
use crate::{
    fault::Refusal,
    linux::Linux,
    mark::LINK_GROUP,
    netlink::{Request, link::LinkFacts, route},
};

/// Makes a link. One of ours that is there already is made to be as it must.
pub(crate) fn create(linux: &mut Linux, key: &LinkKey, link: &Link) -> Result<(), Refusal> {
    if let LinkKind::VethPeer { .. } = link.kind {
        return set(linux, key, Settings { mtu: Some(link.mtu), admin: Some(link.admin), ..Settings::default() });
    }
    match make(linux, key, link) {
        Err(refusal) if refusal.errno == libc::EEXIST => take_over(linux, key, link, refusal),
        other => other,
    }
}

/// Sets what differs. A link that would need another kind or another peer is made anew.
pub(crate) fn change(linux: &mut Linux, key: &LinkKey, from: &Link, to: &Link) -> Result<(), Refusal> {
    match (&from.kind, &to.kind) {
        (LinkKind::Veth { peer: a, .. }, LinkKind::Veth { peer: b, peer_mac }) if a == b => {
            if from.kind != to.kind {
                set(linux, b, Settings { mac: Some(peer_mac.0), ..Settings::default() })?;
            }
        }
        (LinkKind::Bridge, LinkKind::Bridge) | (LinkKind::VethPeer { .. }, LinkKind::VethPeer { .. }) => {}
        _ => {
            delete_one(linux, key)?;
            return create(linux, key, to);
        }
    }
    let port = (from.port != to.port).then(|| to.port.clone());
    set(
        linux,
        key,
        Settings {
            mtu: (from.mtu != to.mtu).then_some(to.mtu),
            mac: (from.mac != to.mac).then_some(to.mac.0),
            admin: (from.admin != to.admin).then_some(to.admin),
            port,
            alias: (from.alias != to.alias).then(|| to.alias.clone().unwrap_or_default()),
        },
    )
}

/// Deletes links of one namespace, all at once: the kernel waits for its readers once, not once for each.
pub(crate) fn delete(linux: &mut Linux, ops: &[Op]) -> Result<(), Failure> {
    let links = ops.iter().filter_map(|op| if let netstate::Key::Link(key) = op.key() { Some(key) } else { None });
    let (host, inside): (Vec<_>, Vec<_>) = links.partition(|key| key.netns == NetnsName::Host);
    delete_of_host(linux, &host).map_err(Failure::of(0))?;
    // Those go with their namespace or their other end as a rule.
    inside.iter().enumerate().try_for_each(|(at, key)| delete_inside(linux, key).map_err(Failure::of(at)))
}

fn delete_one(linux: &mut Linux, key: &LinkKey) -> Result<(), Refusal> {
    match key.netns {
        NetnsName::Host => delete_of_host(linux, &[key]),
        NetnsName::Named(_) => delete_inside(linux, key),
    }
}

fn delete_of_host(linux: &mut Linux, keys: &[&LinkKey]) -> Result<(), Refusal> {
    let socket = &mut linux.sockets(&NetnsName::Host)?.route;
    let there = keys.iter().map(|key| route::link_by_name(socket, key.name.as_str()));
    let there: Vec<_> = there.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    unless_gone(linux.reaper.delete(&there))
}

fn delete_inside(linux: &mut Linux, key: &LinkKey) -> Result<(), Refusal> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(key.name.to_string()));
    unless_gone(
        linux.sockets(&key.netns).and_then(|sockets| sockets.route.ask(route::request(RTM_DELLINK, 0, &message))),
    )
}

/// The two messages that make a link: the kernel takes an alias, and how a port behaves, only for a link that exists.
fn make(linux: &mut Linux, key: &LinkKey, link: &Link) -> Result<(), Refusal> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(key.name.to_string()));
    message.attributes.push(LinkAttribute::Address(link.mac.0.to_vec()));
    message.attributes.push(LinkAttribute::Mtu(link.mtu));
    message.attributes.push(LinkAttribute::Group(LINK_GROUP));
    if link.admin == Admin::Up {
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
    }
    if let Some(port) = &link.port {
        let bridge = route::index_of(&mut linux.sockets(&key.netns)?.route, port.bridge.as_str())?;
        message.attributes.push(LinkAttribute::Controller(bridge));
    }
    // The kernel looks the namespace up while it works the message off; until then the file stays open.
    let mut _namespace = None;
    match &link.kind {
        LinkKind::Bridge => message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)])),
        LinkKind::Veth { peer, peer_mac } => {
            let file = open_namespace(linux, &peer.netns)?;
            let mut other = LinkMessage::default();
            other.attributes.push(LinkAttribute::IfName(peer.name.to_string()));
            other.attributes.push(LinkAttribute::Address(peer_mac.0.to_vec()));
            other.attributes.push(LinkAttribute::Mtu(link.mtu));
            other.attributes.push(LinkAttribute::NetNsFd(std::os::fd::AsRawFd::as_raw_fd(&file)));
            let data = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other)));
            message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), data]));
            _namespace = Some(file);
        }
        LinkKind::VethPeer { .. } => return Err(super::mismatch()),
    }
    let socket = &mut linux.sockets(&key.netns)?.route;
    socket.ask(route::request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &message))?;
    socket.ask(finish_request(key, link))
}

/// A link of the name is there. One of ours is adopted if it is the right one, or else replaced: its peer's namespace may just be
/// going. A foreign one is left alone.
fn take_over(linux: &mut Linux, key: &LinkKey, link: &Link, refusal: Refusal) -> Result<(), Refusal> {
    let there = route::link_by_name(&mut linux.sockets(&key.netns)?.route, key.name.as_str())?;
    let Some(there) = there else {
        // It went meanwhile with its namespace, or it is not this end that is in the way.
        return make(linux, key, link).map_err(|refusal| match (&link.kind, refusal.errno) {
            (LinkKind::Veth { peer, .. }, libc::EEXIST) => refusal.because(format!(
                "a link {peer} that is not the other end of {key} is in the way; rename or delete it"
            )),
            _ => refusal,
        });
    };
    if !there.is_ours() {
        let kind = there.kind.as_deref().unwrap_or("link");
        let name = &key.name;
        return Err(refusal.because(format!(
            "a {kind} {name} is there that linkspan did not make; remove it with `ip link delete {name}` or choose another name"
        )));
    }
    if !is_same(linux, key, link, &there)? {
        delete_one(linux, key)?;
        return make(linux, key, link);
    }
    set(
        linux,
        key,
        Settings {
            mtu: Some(link.mtu),
            mac: Some(link.mac.0),
            admin: Some(link.admin),
            port: Some(link.port.clone()),
            alias: link.alias.clone(),
        },
    )
}

/// Whether the link that is there is of the same kind, and a veth has its other end in the right place.
fn is_same(linux: &mut Linux, key: &LinkKey, link: &Link, there: &LinkFacts) -> Result<bool, Refusal> {
    match &link.kind {
        LinkKind::Bridge => Ok(there.kind.as_deref() == Some("bridge")),
        LinkKind::Veth { peer, .. } => {
            let file = open_namespace(linux, &peer.netns)?;
            let id = route::namespace_id(&mut linux.sockets(&key.netns)?.route, &file)?;
            let other = route::link_by_name(&mut linux.sockets(&peer.netns)?.route, peer.name.as_str())?;
            Ok(id.is_some() && id == there.peer_namespace && other.map(|o| o.index) == there.peer)
        }
        LinkKind::VethPeer { .. } => Ok(false),
    }
}

/// What to set on a link that exists.
#[derive(Default)]
struct Settings {
    mtu: Option<u32>,
    mac: Option<[u8; 6]>,
    admin: Option<Admin>,
    /// The bridge to be a port of, or none.
    port: Option<Option<BridgePort>>,
    alias: Option<String>,
}

fn set(linux: &mut Linux, key: &LinkKey, settings: Settings) -> Result<(), Refusal> {
    let socket = &mut linux.sockets(&key.netns)?.route;
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(key.name.to_string()));
    message.attributes.extend(settings.mtu.map(LinkAttribute::Mtu));
    message.attributes.extend(settings.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
    message.attributes.extend(settings.alias.map(LinkAttribute::IfAlias));
    match &settings.port {
        Some(Some(port)) => {
            let bridge = route::index_of(socket, port.bridge.as_str())?;
            message.attributes.push(LinkAttribute::Controller(bridge));
        }
        Some(None) => message.attributes.push(LinkAttribute::Controller(0)),
        None => {}
    }
    if let Some(admin) = settings.admin {
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if admin == Admin::Up { LinkFlags::Up } else { LinkFlags::empty() };
    }
    let mut asked = socket.ask(route::request(RTM_SETLINK, 0, &message));
    if let (Ok(()), Some(Some(port))) = (&asked, &settings.port) {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName(key.name.to_string()), hairpin_mode(port.hairpin)];
        asked = socket.ask(route::request(RTM_NEWLINK, 0, &message));
    }
    asked.map_err(|refusal| match refusal.errno {
        libc::ENODEV => refusal.because(format!("there is no link {key}")),
        _ => refusal,
    })
}

fn finish_request(key: &LinkKey, link: &Link) -> Request {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(key.name.to_string()));
    message.attributes.extend(link.alias.clone().map(LinkAttribute::IfAlias));
    message.attributes.extend(link.port.as_ref().map(|port| hairpin_mode(port.hairpin)));
    // Only this kind of message may change a port; without NLM_F_CREATE it makes nothing.
    route::request(RTM_NEWLINK, 0, &message)
}

fn hairpin_mode(hairpin: Hairpin) -> LinkAttribute {
    let mode = InfoBridgePort::HairpinMode(hairpin == Hairpin::On);
    LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![mode])),
    ])
}

fn open_namespace(linux: &Linux, netns: &NetnsName) -> Result<File, Refusal> {
    match netns {
        NetnsName::Host => Ok(linux.host().try_clone()?),
        NetnsName::Named(name) => linux.open_named(name),
    }
}
