//! Addresses of networks of ours that the host has a second way to: it has come after the network, or somebody asked for that subnet.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Check, bad, good, warning};
use crate::facts::HostRoute;

const WHAT: &str = "address overlaps";

/// Each route of somebody else's that meets one of ours. Half of everything is a default route in disguise.
pub(super) fn checks(routes: &[HostRoute]) -> Vec<Check> {
    let of_all_links = routes.iter().filter(|route| !is_of_one_link(route.destination.addr()));
    let (ours, others): (Vec<_>, Vec<_>) = of_all_links.partition(|route| route.ours);
    let others = others.into_iter().filter(|other| other.destination.prefix_len() > 1);
    let pairs = others.flat_map(|other| ours.iter().map(move |own| (other, *own)));
    let mut checks: Vec<Check> = pairs.filter_map(|(other, own)| check(other, own)).collect();
    if checks.is_empty() {
        checks.push(good(WHAT, "no other route leads to addresses of networks"));
    }
    checks
}

/// Every link has the same such addresses (RFC 4291, 2.5.6).
fn is_of_one_link(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn check(other: &HostRoute, own: &HostRoute) -> Option<Check> {
    let link = |route: &HostRoute| route.device.clone().unwrap_or_else(|| "several links".to_owned());
    let (net, at) = (own.destination, link(own));
    let found = format!("{} by {} overlaps {net} by {at}", other.destination, link(other));
    let inside = |inner: IpNet, outer: IpNet| outer.contains(&inner);
    if inside(other.destination, net) {
        let remedy = format!(
            "packets to containers with these addresses go to {}: make the network anew with another --subnet, or remove the route",
            link(other)
        );
        Some(bad(WHAT, found, remedy))
    } else if inside(net, other.destination) {
        let remedy = format!(
            "nobody here reaches that part of {}: if it is in use there, make the network anew with another --subnet",
            other.destination
        );
        Some(warning(WHAT, found, remedy))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Verdict;

    #[test]
    fn who_is_in_the_way_is_told() {
        let route = |(destination, device, ours): (&str, &str, bool)| HostRoute {
            destination: destination.parse().unwrap(),
            table: 254,
            metric: 0,
            device: Some(device.to_owned()),
            via: None,
            mtu: None,
            ours,
        };
        let own = [
            ("10.1.0.0/24", "br-net", true),
            ("172.17.0.0/16", "docker0", true),
            ("fd00:1::/64", "br-net", true),
            ("fe80::/64", "br-net", true),
        ];
        for (other, expected) in [
            ("10.1.0.0/25", "BAD 10.1.0.0/25 by vpn overlaps 10.1.0.0/24 by br-net"),
            ("10.1.0.0/24", "BAD 10.1.0.0/24 by vpn overlaps 10.1.0.0/24 by br-net"),
            ("172.16.0.0/12", "warning 172.16.0.0/12 by vpn overlaps 172.17.0.0/16 by docker0"),
            ("fd00:1::7/128", "BAD fd00:1::7/128 by vpn overlaps fd00:1::/64 by br-net"),
            ("fe80::/64", "no other route leads to addresses of networks"),
            ("10.2.0.0/24", "no other route leads to addresses of networks"),
            ("128.0.0.0/1", "no other route leads to addresses of networks"),
            ("0.0.0.0/0", "no other route leads to addresses of networks"),
        ] {
            let routes: Vec<_> = own.into_iter().chain([(other, "vpn", false)]).map(route).collect();
            let told = checks(&routes).into_iter().map(|check| match check.verdict {
                Verdict::Good(found) => found,
                Verdict::Warning { found, .. } => format!("warning {found}"),
                Verdict::Bad { found, .. } => format!("BAD {found}"),
            });
            assert_eq!(told.collect::<Vec<_>>(), [expected], "{other}");
        }
    }
}
