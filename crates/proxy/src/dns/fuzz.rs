//! What containers and servers send to the DNS server, for the fuzzer. Built for tests, which replay the corpus of `fuzz/`, and by
//! `cargo fuzz`; never into the product.

use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use model::NetworkId;
use plan::dns::{Attached, DnsView, EndpointNames, Forward, NetworkNames, Unqualified, Upstream, Way};

use super::{
    answer::{self, Scope, Transport, Verdict},
    wire,
};

/// A network `net` with a name of many addresses.
static SCOPE: LazyLock<Scope> = LazyLock::new(|| {
    let mut names = NetworkNames::new("net");
    for host in 1..=60_u8 {
        let addresses = vec![[10, 0, 0, host].into(), [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(host)].into()];
        names.insert(&EndpointNames { names: vec!["web".to_owned(), format!("web-{host}")], addresses });
    }
    let attached = Attached { network: NetworkId::from_bytes([1; 32]), links: [("db".into(), "web".into())].into() };
    let forward = Forward::Upstream(vec![Upstream { address: ([192, 0, 2, 53], 53).into(), by: Way::Host }]);
    let view = DnsView { networks: vec![attached], forward, unqualified: Unqualified::Keep };
    Scope { view: Arc::new(view), networks: vec![Arc::new(ArcSwap::from_pointee(names))], cluster: None }
});

/// A packet as a query and as an answer from outside. What is replied is a response to it, no longer than its sender takes.
pub fn dns_messages(packet: &[u8]) {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut reply = Vec::new();
        match answer::answer(&SCOPE, packet, transport, 3, &mut reply) {
            Verdict::Drop => assert!(reply.is_empty()),
            Verdict::Follow { target } => {
                answer::follow(packet, &target, packet, transport, &mut reply);
                check(packet, transport, &reply);
            }
            Verdict::Reply => check(packet, transport, &reply),
            Verdict::Forward { question } => {
                answer::fail(packet, transport, &mut reply);
                check(packet, transport, &reply);
                let asked = &packet[wire::HEADER..][..question];
                assert!(wire::answers(&reply, wire::id(packet), asked), "our own refusal is one");
            }
        }
    }
    // As what was heard of a name outside.
    let _ = wire::answered(packet).count();
    for question in [&b""[..], b"\x03web\0\0\x01\0\x01"] {
        wire::answers(packet, wire::id(packet), question);
    }
}

fn check(packet: &[u8], transport: Transport, reply: &[u8]) {
    assert_eq!(wire::id(reply), wire::id(packet));
    assert!(reply.len() >= wire::HEADER && reply[2] & 0x80 != 0, "no response: {reply:?}");
    let limit = if transport == Transport::Udp { wire::MAX_UDP } else { wire::MAX_TCP };
    assert!(reply.len() <= limit, "{} octets", reply.len());
}

#[cfg(test)]
mod tests {
    #[test]
    fn corpora() {
        crate::replay::replay("dns_messages", super::dns_messages);
    }
}
