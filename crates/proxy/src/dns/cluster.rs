//! Answers from the names of a cluster. They say for sure that a name is not there: a client's search list depends on it.

use plan::dns::{Addresses, ClusterNames, Found, Target};

use super::answer::rotated;
use super::wire::{self, Answer, HEADER, LowerName, Query, Rcode, kind};

/// Lifetime of our records in seconds, that of CoreDNS.
const TTL_S: u32 = 5;
/// Aliases of aliases are followed this far.
const ALIASES_MAX: usize = 8;

/// What is known of the name that a query asks for; none if it is not for the cluster to say.
pub fn find<'t>(names: &'t ClusterNames, query: &Query<'_>) -> Option<Found<'t>> {
    let name = query.name.as_ref()?;
    match name.reverse() {
        Some(address) => names.pointer(address),
        None => names.find(name.as_str()?),
    }
}

/// Whether there is such a name.
pub fn rcode(found: &Found<'_>) -> Rcode {
    if *found == Found::Nothing { Rcode::NxDomain } else { Rcode::NoError }
}

/// Writes the records of the kind that is asked for. Where there are none, whose word that is.
pub fn write(names: &ClusterNames, found: &Found<'_>, query: &Query<'_>, turn: usize, answer: &mut Answer<'_>) {
    let asks = |kind: u16| query.kind == kind || query.kind == kind::ANY;
    let mut any = false;
    match found {
        Found::Addresses(addresses) => any = write_addresses(addresses, query.kind, turn, &QUESTION, answer),
        Found::Address(address) => {
            let mut addresses = Addresses::default();
            match address {
                std::net::IpAddr::V4(address) => addresses.v4.push(*address),
                std::net::IpAddr::V6(address) => addresses.v6.push(*address),
            }
            any = write_addresses(&addresses, query.kind, turn, &QUESTION, answer);
        }
        Found::Service(service) if query.kind == kind::SRV => any = write_targets(service.targets(), answer),
        Found::Service(service) => any = write_addresses(service.addresses(), query.kind, turn, &QUESTION, answer),
        Found::Targets(targets) if asks(kind::SRV) => any = write_targets(targets.iter().copied(), answer),
        Found::Alias(name) => any = write_alias(names, name, query, turn, answer),
        Found::Pointer(name) if asks(kind::PTR) => {
            if let Some(name) = wire::encode_name(name) {
                answer.record(kind::PTR, TTL_S, &name);
                any = true;
            }
        }
        Found::Version(version) if asks(kind::TXT) => {
            let mut text = vec![version.len() as u8];
            text.extend_from_slice(version.as_bytes());
            answer.record(kind::TXT, TTL_S, &text);
            any = true;
        }
        Found::Targets(_) | Found::Pointer(_) | Found::Version(_) | Found::Empty | Found::Nothing => {}
    }
    if !any {
        write_authority(names, query, answer);
    }
}

/// The name that a query leads to outside, where it asks for addresses of an alias.
pub fn outside(names: &ClusterNames, found: &Found<'_>, asked: u16) -> Option<String> {
    let &Found::Alias(mut name) = found else { return None };
    for _ in 0..ALIASES_MAX {
        match names.find(name) {
            Some(Found::Alias(next)) => name = next,
            Some(_) => return None,
            None => return matches!(asked, kind::A | kind::AAAA).then(|| name.to_owned()),
        }
    }
    None
}

/// Writes an alias and the addresses that were heard for it.
pub fn write_heard(target: &str, heard: &[u8], asked: u16, answer: &mut Answer<'_>) {
    let Some(owner) = wire::encode_name(target) else { return };
    answer.record(kind::CNAME, TTL_S, &owner);
    for (_, data) in wire::answered(heard).filter(|(kind, _)| *kind == asked) {
        answer.record_of(&owner, asked, TTL_S, data);
    }
}

/// A pointer to the name in question.
const QUESTION: [u8; 2] = [0xc0, HEADER as u8];

fn write_addresses(addresses: &Addresses, asked: u16, turn: usize, owner: &[u8], answer: &mut Answer<'_>) -> bool {
    let mut any = false;
    if matches!(asked, kind::A | kind::ANY) {
        for address in rotated(&addresses.v4, turn) {
            answer.record_of(owner, kind::A, TTL_S, &address.octets());
            any = true;
        }
    }
    if matches!(asked, kind::AAAA | kind::ANY) {
        for address in rotated(&addresses.v6, turn) {
            answer.record_of(owner, kind::AAAA, TTL_S, &address.octets());
            any = true;
        }
    }
    any
}

/// Priority, weight, port, and the name (RFC 2782).
fn write_targets<'t>(targets: impl Iterator<Item = &'t Target>, answer: &mut Answer<'_>) -> bool {
    let mut any = false;
    for target in targets {
        let Some(name) = wire::encode_name(&target.name) else { continue };
        let [high, low] = target.port.to_be_bytes();
        let mut data = vec![0, 0, 0, 100, high, low];
        data.extend_from_slice(&name);
        answer.record(kind::SRV, TTL_S, &data);
        any = true;
    }
    any
}

/// An alias, and where it leads within the cluster.
fn write_alias(names: &ClusterNames, name: &str, query: &Query<'_>, turn: usize, answer: &mut Answer<'_>) -> bool {
    let mut owner = QUESTION.to_vec();
    let mut name = name;
    for _ in 0..ALIASES_MAX {
        let Some(target) = wire::encode_name(name) else { return false };
        answer.record_of(&owner, kind::CNAME, TTL_S, &target);
        if query.kind == kind::CNAME {
            return true;
        }
        owner = target;
        match names.find(name) {
            Some(Found::Alias(next)) => name = next,
            Some(Found::Service(service)) => {
                write_addresses(service.addresses(), query.kind, turn, &owner, answer);
                return true;
            }
            Some(Found::Addresses(addresses)) => {
                write_addresses(addresses, query.kind, turn, &owner, answer);
                return true;
            }
            _ => return true,
        }
    }
    true
}

/// The start of authority of the cluster's domain, which a name below it ends with; of reverse lookups there is none to tell.
fn write_authority(names: &ClusterNames, query: &Query<'_>, answer: &mut Answer<'_>) {
    let within = |name: &LowerName| name.as_str().is_some_and(|name| name.ends_with(names.domain()));
    let Some(domain) = wire::encode_name(names.domain()) else { return };
    if !query.name.as_ref().is_some_and(within) {
        return;
    }
    // The question is the name, its type and class.
    let Some(at) = (HEADER + query.question.len()).checked_sub(4 + domain.len()) else { return };
    let [high, low] = (0xc000 | at as u16).to_be_bytes();
    let mut data = vec![2, b'n', b's', 3, b'd', b'n', b's', high, low];
    data.extend_from_slice(b"\x0ahostmaster");
    data.extend_from_slice(&[high, low]);
    // Serial, refresh, retry, expire, and how long "no" holds.
    for number in [1, 7200, 1800, 86_400, TTL_S] {
        data.extend_from_slice(&number.to_be_bytes());
    }
    answer.authority(&[high, low], TTL_S, &data);
}

#[cfg(test)]
mod tests;
