//! What the kernel answers, for the fuzzer: no reader may panic, whatever the bytes. Built for tests, which replay the corpora of `fuzz/`,
//! and by `cargo fuzz`; never into the product.

use netlink_packet_route::{address::AddressMessage, link::LinkMessage, nsid::NsidMessage, route::RouteProtocol};
use netstate::{
    netns::NetnsName,
    nft::{Datatype, Family, Set, SetData, SetKey, TableKey},
};

use crate::{
    conntrack, facts,
    netlink::{Socket, route},
    nft, observe,
};

/// Gives each reader of netlink replies one datagram as the kernel's answer.
pub fn netlink_replies(datagram: &[u8]) {
    let table = TableKey { netns: NetnsName::Host, family: Family::Inet };
    let key = SetKey { table: table.clone(), name: "set".to_owned() }.into();
    let set = |key: &[Datatype], interval| Set {
        key: key.to_vec(),
        data: SetData::Values(vec![Datatype::Ipv4Addr, Datatype::InetService]),
        interval,
        filled: Default::default(),
    };
    let [ports, pairs] = [set(&[Datatype::InetService], true), set(&[Datatype::IfName, Datatype::Ipv6Addr], true)];
    let readers: [&dyn Fn(&mut Socket); 13] = [
        &|s| drop(route::links(s)),
        &|s| drop(route::link_by_name(s, "eth0")),
        &|s| drop(route::dump::<NsidMessage>(s, libc::RTM_GETNSID, &NsidMessage::default())),
        &|s| drop(observe::addr::list(s).map(|found| found.iter().map(observe::addr::address).collect::<Vec<_>>())),
        &|s| drop(route::dump::<AddressMessage>(s, libc::RTM_GETADDR, &LinkMessage::default())),
        &|s| {
            let found = observe::route::list(s, RouteProtocol::Unspec);
            drop(found.map(|found| found.iter().map(observe::route::facts).collect::<Vec<_>>()));
        },
        &|s| drop(nft::table::list(s)),
        &|s| {
            drop(
                nft::chain::list(s)
                    .map(|all| all.iter().map(|seen| nft::chain::ours(&table, seen)).collect::<Vec<_>>()),
            )
        },
        &|s| drop(nft::set::list(s, &table)),
        &|s| drop(nft::element::list(s, &key, &ports)),
        &|s| drop(nft::element::list(s, &key, &pairs)),
        &|s| drop(nft::rule::list(s, &table, &nft::KnownRules::default())),
        &|s| drop(s.read(&mut |message| drop((conntrack::read(message.body), facts::parse_diag(message.body))))),
    ];
    for read in readers {
        let Ok((mut socket, _kernel)) = Socket::answered(datagram) else { return };
        read(&mut socket);
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn corpora() {
        super::replay::replay("netlink_replies", super::netlink_replies);
    }
}
