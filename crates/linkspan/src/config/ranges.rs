//! The addresses of the cluster: of its pods, of its services, of its load balancers.

use std::{
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use serde::Deserialize;

use super::ConfigError;

/// Addresses of pods, unless told.
const PODS: &str = "10.244.0.0/16";
/// Addresses of services, unless told.
const SERVICES: &str = "10.96.0.0/16";
/// The place of the name service in the range of services, as is usual.
const DNS: u32 = 10;
/// Services need room for the API, the name service, and some more: so many bits of their addresses differ at least.
const SERVICES_BITS_MIN: u8 = 4;

/// The addresses of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// Of pods: IPv4, then perhaps IPv6.
    pub pods: Vec<IpNet>,
    /// Of services: of the same families.
    pub services: Vec<IpNet>,
    /// Of load balancers; none: they have the node's own.
    pub balancers: Vec<IpNet>,
    /// Where pods find the API.
    pub api: Ipv4Addr,
    /// Where pods find names.
    pub dns: Ipv4Addr,
}

/// Addresses for load balancers: `192.0.2.0/28`, without its own and its broadcast address, or `192.0.2.200-192.0.2.210`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pool {
    /// As it was written.
    text: String,
    networks: Vec<IpNet>,
}

impl Ranges {
    /// What they come to. Empty lists stand for the defaults.
    pub fn of(pods: &[IpNet], services: &[IpNet], pools: &[Pool]) -> Result<Self, ConfigError> {
        let pods = families("cluster-cidr", pods, PODS)?;
        let services = families("service-cluster-ip-range", services, SERVICES)?;
        if pods.len() != services.len() {
            return wrong("cluster-cidr and service-cluster-ip-range must be of the same families");
        }
        if let Some(net) = services.iter().find(|net| pods.iter().any(|other| overlap(net, other))) {
            return wrong(format!("service-cluster-ip-range {net} overlaps cluster-cidr"));
        }
        for net in &services {
            let longest = net.max_prefix_len() - SERVICES_BITS_MIN;
            if net.prefix_len() > longest {
                return wrong(format!(
                    "service-cluster-ip-range {net} has no room for services: give it /{longest} or larger"
                ));
            }
        }
        let Some(IpNet::V4(first)) = services.first() else {
            return wrong("service-cluster-ip-range must be an IPv4 range first");
        };
        let first = u32::from(first.network());
        pools.iter().try_for_each(|pool| pool.fits(&pods, &services))?;
        let balancers = pools.iter().flat_map(|pool| pool.networks.iter().copied()).collect();
        Ok(Self { pods, services, balancers, api: (first + 1).into(), dns: (first + DNS).into() })
    }

    /// The parts of the pods' addresses that are this node's: the first /24, the first /64.
    pub fn pods_of_node(&self) -> Vec<IpNet> {
        let part = |net: &IpNet| {
            let length = if net.addr().is_ipv4() { 24 } else { 64 };
            net.subnets(length).ok().and_then(|mut parts| parts.next()).unwrap_or(*net)
        };
        self.pods.iter().map(part).collect()
    }
}

/// An IPv4 range, and perhaps an IPv6 range after it.
fn families(key: &str, asked: &[IpNet], usual: &str) -> Result<Vec<IpNet>, ConfigError> {
    let all: Vec<IpNet> = match asked {
        // It is one.
        [] => usual.parse().into_iter().collect(),
        asked => asked.iter().map(IpNet::trunc).collect(),
    };
    match all.as_slice() {
        [IpNet::V4(_)] | [IpNet::V4(_), IpNet::V6(_)] => Ok(all),
        _ => wrong(format!("{key} must be an IPv4 range, or an IPv4 and an IPv6 range: 10.1.0.0/16,fd00:1::/48")),
    }
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

fn family(net: &IpNet) -> &'static str {
    if net.addr().is_ipv4() { "IPv4" } else { "IPv6" }
}

fn wrong<T>(words: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Value(words.into()))
}

impl Pool {
    /// Whether the cluster can lead to it: it is not its pods' nor its services', and of a family that they have.
    fn fits(&self, pods: &[IpNet], services: &[IpNet]) -> Result<(), ConfigError> {
        let Self { text, networks } = self;
        for (key, ranges) in [("cluster-cidr", pods), ("service-cluster-ip-range", services)] {
            if let Some(range) = ranges.iter().find(|range| networks.iter().any(|net| overlap(net, range))) {
                return wrong(format!(
                    "load-balancer-pool {text} overlaps {key} {range}: give it addresses of this host's own network"
                ));
            }
        }
        let is_served = |net: &&IpNet| pods.iter().any(|range| family(range) == family(net));
        match networks.iter().find(|net| !is_served(net)).map(family) {
            Some(family) => wrong(format!(
                "load-balancer-pool {text} is {family}, of which the cluster has no addresses: give cluster-cidr and service-cluster-ip-range an {family} range too"
            )),
            None => Ok(()),
        }
    }
}

impl FromStr for Pool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let not_one = || format!("{text:?} is neither a range as 192.0.2.0/28 nor one as 192.0.2.200-192.0.2.210");
        let networks = match text.parse::<IpNet>() {
            Ok(IpNet::V4(net)) if net.prefix_len() < 31 => {
                let (first, last) = (u32::from(net.network()) + 1, u32::from(net.broadcast()) - 1);
                Ipv4Subnets::new(first.into(), last.into(), 0).map(IpNet::V4).collect()
            }
            Ok(net) => vec![net.trunc()],
            Err(_) => {
                let (first, last) = text.split_once('-').ok_or_else(not_one)?;
                let address = |text: &str| text.trim().parse::<IpAddr>().map_err(|_| not_one());
                match (address(first)?, address(last)?) {
                    (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => {
                        Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect()
                    }
                    (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => {
                        Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect()
                    }
                    _ => return Err(not_one()),
                }
            }
        };
        Ok(Self { text: text.to_owned(), networks })
    }
}

impl TryFrom<String> for Pool {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools() {
        for (text, expected) in [
            ("192.0.2.200-192.0.2.202", Some("192.0.2.200/31 192.0.2.202/32")),
            ("192.0.2.8/30", Some("192.0.2.9/32 192.0.2.10/32")),
            ("192.0.2.9/32", Some("192.0.2.9/32")),
            ("2001:db8::/120", Some("2001:db8::/120")),
            ("2001:db8::1-2001:db8::1", Some("2001:db8::1/128")),
            ("192.0.2.9-192.0.2.8", None),
            ("192.0.2.9-2001:db8::1", None),
            ("192.0.2.9", None),
            ("many", None),
        ] {
            let found = text
                .parse::<Pool>()
                .ok()
                .map(|pool| pool.networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn ranges() {
        let check_pool = |pods: &str, services: &str, pool: &str, expected: Result<[&str; 3], &str>| {
            let pools: Vec<Pool> = pool.split_whitespace().map(|pool| pool.parse().unwrap()).collect();
            let nets = |text: &str| text.split_whitespace().map(|net| net.parse().unwrap()).collect::<Vec<IpNet>>();
            let found =
                Ranges::of(&nets(pods), &nets(services), &pools).map_err(|error| error.to_string()).map(|ranges| {
                    let of_node: Vec<_> = ranges.pods_of_node().iter().map(ToString::to_string).collect();
                    [of_node.join(" "), ranges.api.to_string(), ranges.dns.to_string()]
                });
            match expected {
                Ok(words) => assert_eq!(found, Ok(words.map(str::to_owned)), "{pods} {services} {pool}"),
                Err(words) => {
                    let is_refused = found.as_ref().is_err_and(|found| found.contains(words));
                    assert!(is_refused, "{pods} {services} {pool}: {found:?}");
                }
            }
        };
        let check = |pods: &str, services: &str, expected| check_pool(pods, services, "", expected);
        check("", "", Ok(["10.244.0.0/24", "10.96.0.1", "10.96.0.10"]));
        check(
            "10.1.0.0/16 fd00:1::/48",
            "10.2.0.0/24 fd00:2::/112",
            Ok(["10.1.0.0/24 fd00:1::/64", "10.2.0.1", "10.2.0.10"]),
        );
        check("10.1.0.0/26", "10.2.0.7/28", Ok(["10.1.0.0/26", "10.2.0.1", "10.2.0.10"]));
        check("10.1.0.0/16 fd00:1::/48", "", Err("same families"));
        check("fd00:1::/48 10.1.0.0/16", "", Err("cluster-cidr must be an IPv4 range"));
        check("10.96.0.0/12", "", Err("overlaps"));
        check(
            "",
            "10.2.0.0/29",
            Err("service-cluster-ip-range 10.2.0.0/29 has no room for services: give it /28 or larger"),
        );
        let (pods, services) = ("10.1.0.0/16 fd00:1::/48", "10.2.0.0/24 fd00:2::/124");
        check(pods, services, Ok(["10.1.0.0/24 fd00:1::/64", "10.2.0.1", "10.2.0.10"]));
        let small = "service-cluster-ip-range fd00::/128 has no room for services: give it /124 or larger";
        check(pods, "10.2.0.0/24 fd00::/128", Err(small));
        let usual = Ok(["10.244.0.0/24", "10.96.0.1", "10.96.0.10"]);
        check_pool("", "", "192.0.2.0/28 192.0.2.200-192.0.2.210", usual);
        let words = "load-balancer-pool 10.95.255.250-10.96.0.5 overlaps service-cluster-ip-range 10.96.0.0/16: give it addresses of this host's own network";
        check_pool("", "", "192.0.2.0/28 10.95.255.250-10.96.0.5", Err(words));
        check_pool("", "", "10.0.0.0/8", Err("load-balancer-pool 10.0.0.0/8 overlaps cluster-cidr 10.244.0.0/16"));
        check_pool(pods, services, "fd00:1::/112", Err("overlaps cluster-cidr fd00:1::/48"));
        let words = "load-balancer-pool 2001:db8::/120 is IPv6, of which the cluster has no addresses: give cluster-cidr and service-cluster-ip-range an IPv6 range too";
        check_pool("", "", "2001:db8::/120", Err(words));
        check_pool(pods, services, "2001:db8::/120", Ok(["10.1.0.0/24 fd00:1::/64", "10.2.0.1", "10.2.0.10"]));
    }
}
