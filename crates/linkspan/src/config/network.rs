//! `[network]`: what the network is told, in the file and on the command line, and the settings of the model that it comes to.

use std::{collections::BTreeMap, net::IpAddr};

use clap::Args;
use ipnet::{IpNet, Ipv4Net};
use model::{
    address::{Family, Pool},
    host::{BetweenOthers, DirectRouting, Forward, Listeners, MaskedMark, Settings},
    network::{BridgeWish, FamilyWish, Icc, Masquerade, SubnetWish},
    sandbox::DnsWish,
};
use serde::Deserialize;

use super::ConfigError;

/// `[network]`: keys that Docker's daemon has, too, have its names and its meaning.
#[derive(Args, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Network {
    /// The default network's bridge [default: docker0]
    #[arg(long, value_name = "NAME")]
    pub bridge: Option<String>,
    /// Address of the default network's bridge, as 172.17.0.1/16 [default: the first free subnet of the pools]
    #[arg(long, value_name = "ADDR/LEN")]
    pub bip: Option<IpNet>,
    /// IPv6 address of the default network's bridge, as fd00:17::1/64
    #[arg(long, value_name = "ADDR/LEN")]
    pub bip6: Option<IpNet>,
    /// Whether the default network has IPv6 [default: with a bip6 or fixed-cidr-v6]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ipv6: Option<bool>,
    /// Part of the default network that its containers get addresses from
    #[arg(long, value_name = "ADDR/LEN")]
    pub fixed_cidr: Option<IpNet>,
    /// Part of the default network's IPv6 subnet that its containers get addresses from
    #[arg(long, value_name = "ADDR/LEN")]
    pub fixed_cidr_v6: Option<IpNet>,
    /// Next hop of the default network's containers [default: the bridge]
    #[arg(long, value_name = "ADDR")]
    pub default_gateway: Option<IpAddr>,
    /// IPv6 next hop of the default network's containers [default: the bridge]
    #[arg(long, value_name = "ADDR")]
    pub default_gateway_v6: Option<IpAddr>,
    /// Whether containers of the default network may talk to each other [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub icc: Option<bool>,
    /// Whether the outside sees the host's address in place of the default network's containers' [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ip_masq: Option<bool>,
    /// Whether the host is told to forward packets [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ip_forward: Option<bool>,
    /// Whether packets between other links pass too, where it was linkspan that had the host forward [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ip_forward_no_drop: Option<bool>,
    /// Whether ports that translation cannot serve have a userspace listener [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub userland_proxy: Option<bool>,
    /// Whether published ports may be reached at the containers' own addresses [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub allow_direct_routing: Option<bool>,
    /// Packet mark that lets packets through to containers, as 1 or 0x100/0xff00
    #[arg(long, value_name = "MARK[/MASK]")]
    pub bridge_accept_fwmark: Option<String>,
    /// Driver options of networks that do not say otherwise, by driver.
    #[arg(skip)]
    pub default_network_opts: BTreeMap<String, BTreeMap<String, String>>,
    /// Pool that networks take subnets from, as base=172.30.0.0/16,size=24; may be repeated
    #[arg(long = "default-address-pool", value_name = "POOL", value_parser = PoolEntry::parse)]
    pub default_address_pools: Vec<PoolEntry>,
    /// Largest packet in bytes [default: that of the default route's link]
    #[arg(long, value_name = "BYTES")]
    pub mtu: Option<u32>,
    /// Name server of containers that do not say theirs; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub dns: Vec<IpAddr>,
    /// Search domain of containers that do not say theirs; may be repeated
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Resolver option of containers that do not say theirs; may be repeated
    #[arg(long = "dns-opt", value_name = "OPTION")]
    pub dns_opts: Vec<String>,
    /// Address that host-gateway stands for, one of each family [default: the default network's bridge]
    #[arg(long = "host-gateway-ip", value_name = "ADDR")]
    pub host_gateway_ips: Vec<IpAddr>,
    /// Address that ports are published on when -p does not say [default: all, of both families]
    #[serde(alias = "ip")]
    #[arg(long, alias = "ip", value_name = "ADDR")]
    pub publish_address: Option<IpAddr>,
}

/// A pool as the file has it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolEntry {
    /// The range.
    pub base: IpNet,
    /// The prefix length of each subnet.
    pub size: u8,
}

impl Network {
    /// Lays what the command line says over what the file says.
    pub fn over(self, file: Self) -> Self {
        fn all<T>(mine: Vec<T>, file: Vec<T>) -> Vec<T> {
            if mine.is_empty() { file } else { mine }
        }
        let mut options = file.default_network_opts;
        for (driver, mine) in self.default_network_opts {
            options.entry(driver).or_default().extend(mine);
        }
        Self {
            bridge: self.bridge.or(file.bridge),
            bip: self.bip.or(file.bip),
            bip6: self.bip6.or(file.bip6),
            ipv6: self.ipv6.or(file.ipv6),
            fixed_cidr: self.fixed_cidr.or(file.fixed_cidr),
            fixed_cidr_v6: self.fixed_cidr_v6.or(file.fixed_cidr_v6),
            default_gateway: self.default_gateway.or(file.default_gateway),
            default_gateway_v6: self.default_gateway_v6.or(file.default_gateway_v6),
            icc: self.icc.or(file.icc),
            ip_masq: self.ip_masq.or(file.ip_masq),
            ip_forward: self.ip_forward.or(file.ip_forward),
            ip_forward_no_drop: self.ip_forward_no_drop.or(file.ip_forward_no_drop),
            userland_proxy: self.userland_proxy.or(file.userland_proxy),
            allow_direct_routing: self.allow_direct_routing.or(file.allow_direct_routing),
            bridge_accept_fwmark: self.bridge_accept_fwmark.or(file.bridge_accept_fwmark),
            default_network_opts: options,
            default_address_pools: all(self.default_address_pools, file.default_address_pools),
            mtu: self.mtu.or(file.mtu),
            dns: all(self.dns, file.dns),
            dns_search: all(self.dns_search, file.dns_search),
            dns_opts: all(self.dns_opts, file.dns_opts),
            host_gateway_ips: all(self.host_gateway_ips, file.host_gateway_ips),
            publish_address: self.publish_address.or(file.publish_address),
        }
    }

    /// The settings of the model.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let pools = self.default_address_pools.iter().map(PoolEntry::pool).collect::<Result<Vec<_>, _>>()?;
        if self.mtu.is_some_and(|mtu| !(68..=65535).contains(&mtu)) {
            return Err(ConfigError::Value("mtu must be between 68 and 65535 bytes".to_owned()));
        }
        let unsaid = Settings::default();
        Ok(Settings {
            default_network: self.default_network(unsaid.default_network)?,
            pools: if pools.is_empty() { default_pools() } else { pools },
            mtu: self.mtu,
            publish_address: self.publish_address,
            dns: DnsWish { servers: self.dns.clone(), search: self.dns_search.clone(), options: self.dns_opts.clone() },
            host_gateway: self.host_gateway_ips.clone(),
            direct_routing: match self.allow_direct_routing {
                Some(true) => DirectRouting::Allowed,
                _ => DirectRouting::AsNetworksSay,
            },
            accept_mark: self.bridge_accept_fwmark.as_deref().map(mark).transpose()?,
            listeners: if self.userland_proxy == Some(false) { Listeners::Off } else { Listeners::WhereNeeded },
            forward: if self.ip_forward == Some(false) { Forward::Leave } else { Forward::TurnOn },
            forwarding_ipv4: unsaid.forwarding_ipv4,
            forwarding_ipv6: unsaid.forwarding_ipv6,
            between_others: match self.ip_forward_no_drop {
                Some(true) => BetweenOthers::Forwarded,
                _ => BetweenOthers::Dropped,
            },
        })
    }

    fn default_network(&self, unsaid: BridgeWish) -> Result<BridgeWish, ConfigError> {
        let ipv4 = FamilyAsked { address: self.bip, range: self.fixed_cidr, next_hop: self.default_gateway };
        let ipv6 = FamilyAsked { address: self.bip6, range: self.fixed_cidr_v6, next_hop: self.default_gateway_v6 };
        let (masquerade_ipv4, masquerade_ipv6) = match self.ip_masq {
            Some(false) => (Masquerade::Off, Masquerade::Off),
            _ => (Masquerade::Outgoing, Masquerade::Outgoing),
        };
        Ok(BridgeWish {
            link: self.bridge.clone().or(unsaid.link),
            ipv4: ipv4.wish(Family::V4)?.unwrap_or(FamilyWish::Pool),
            ipv6: match (self.ipv6, ipv6.wish(Family::V6)?) {
                (Some(false), _) | (None, None) => FamilyWish::Off,
                (Some(true), None) => FamilyWish::Pool,
                (_, Some(wish)) => wish,
            },
            icc: if self.icc == Some(false) { Icc::LinkedOnly } else { Icc::Allowed },
            masquerade_ipv4,
            masquerade_ipv6,
            ..unsaid
        })
    }
}

/// What is asked of one family of the default network.
struct FamilyAsked {
    address: Option<IpNet>,
    range: Option<IpNet>,
    next_hop: Option<IpAddr>,
}

impl FamilyAsked {
    /// The subnet is that of the bridge's address; without one, the range is all there is.
    fn wish(&self, family: Family) -> Result<Option<FamilyWish>, ConfigError> {
        let addresses = self.address.iter().chain(&self.range).map(IpNet::addr).chain(self.next_hop);
        if let Some(other) = addresses.into_iter().find(|address| Family::of(*address) != family) {
            return Err(ConfigError::Value(format!("{other} is not an IPv{} address", family.number())));
        }
        let Some(net) = self.address.or(self.range) else {
            return match self.next_hop {
                Some(address) => {
                    Err(ConfigError::Value(format!("default gateway {address} is of no use without a bip")))
                }
                None => Ok(None),
            };
        };
        if self.address.is_some_and(|address| {
            address.addr() == address.network() && address.prefix_len() < address.max_prefix_len()
        }) {
            return Err(ConfigError::Value(format!(
                "bip {net} must be an address of the network, not the network itself"
            )));
        }
        Ok(Some(FamilyWish::Subnet(SubnetWish {
            range: self.range.map(|range| range.trunc()).filter(|range| *range != net.trunc()),
            gateway: self.address.map(|address| address.addr()),
            next_hop: self.next_hop,
            ..SubnetWish::of(net.trunc())
        })))
    }
}

impl PoolEntry {
    /// Reads `base=ADDR/LEN,size=LEN`.
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not base=ADDR/LEN,size=LEN");
        let (base, size) = text.split_once(',').ok_or_else(wrong)?;
        let base = base.strip_prefix("base=").and_then(|b| b.parse().ok()).ok_or_else(wrong)?;
        let size = size.strip_prefix("size=").and_then(|s| s.parse().ok()).ok_or_else(wrong)?;
        Ok(Self { base, size })
    }

    fn pool(&self) -> Result<Pool, ConfigError> {
        let (least, most) = (self.base.prefix_len(), self.base.max_prefix_len() - 2);
        if !(least..=most).contains(&self.size) {
            return Err(ConfigError::Value(format!(
                "pool {} cannot be cut into /{}: use {least} to {most}",
                self.base, self.size
            )));
        }
        Ok(Pool { base: self.base.trunc(), size: self.size })
    }
}

/// `VALUE` or `VALUE/MASK`, decimal or hexadecimal.
fn mark(text: &str) -> Result<MaskedMark, ConfigError> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (number(value), number(mask)),
        None => (number(text), Some(u32::MAX)),
    };
    let (Some(value), Some(mask)) = (value, mask) else {
        return Err(ConfigError::Value(format!("bridge-accept-fwmark {text:?} is not MARK or MARK/MASK")));
    };
    Ok(MaskedMark { value: value & mask, mask })
}

/// Docker's first subnets in Docker's sizes, of which the default network gets the first, then thousands of smaller ones.
fn default_pools() -> Vec<Pool> {
    [
        ([172, 17, 0, 0], 16, 16),
        ([172, 18, 0, 0], 15, 16),
        ([172, 20, 0, 0], 14, 16),
        ([172, 24, 0, 0], 14, 16),
        ([172, 28, 0, 0], 15, 16),
        ([172, 30, 0, 0], 15, 24),
        ([192, 168, 0, 0], 16, 24),
        ([10, 128, 0, 0], 9, 24),
    ]
    .into_iter()
    .map(|(base, prefix, size)| Pool { base: net(base, prefix), size })
    .collect()
}

fn net(address: [u8; 4], prefix: u8) -> IpNet {
    // The prefixes above are all below 33.
    Ipv4Net::new_assert(address.into(), prefix).into()
}

#[cfg(test)]
mod tests {
    use crate::config::File;

    fn check(text: &str, expected: &str) {
        let file: Result<File, _> = toml::from_str(text);
        let said = match file {
            Err(error) => error.message().to_owned(),
            Ok(file) => match file.network.settings() {
                Ok(settings) => format!("{settings:?}"),
                Err(error) => error.to_string(),
            },
        };
        assert!(said.contains(expected), "{text:?}: {said}");
    }

    #[test]
    fn files() {
        check("", "link: Some(\"docker0\"), ipv4: Pool, ipv6: Off");
        check("[network]\nbridge = 'br0'\nipv6 = true", "link: Some(\"br0\"), ipv4: Pool, ipv6: Pool");
        check("[network]\nbip = '10.1.2.3/24'", "net: 10.1.2.0/24, range: None, gateway: Some(10.1.2.3)");
        check("[network]\nfixed-cidr = '10.1.2.0/24'", "net: 10.1.2.0/24, range: None, gateway: None");
        check(
            "[network]\nbip = '10.1.2.3/16'\nfixed-cidr = '10.1.4.0/24'\ndefault-gateway = '10.1.0.9'",
            "net: 10.1.0.0/16, range: Some(10.1.4.0/24), gateway: Some(10.1.2.3), reserved: {}, next_hop: Some(10.1.0.9)",
        );
        check("[network]\ndefault-gateway = '10.1.0.9'", "default gateway 10.1.0.9 is of no use without a bip");
        check("[network]\nbip = 'fd00::1/64'", "fd00::1 is not an IPv4 address");
        check("[network]\nicc = false\nip-masq = false", "icc: LinkedOnly");
        check("[network]\nip = '127.0.0.1'", "publish_address: Some(127.0.0.1)");
        check(
            "[network]\nbridge-accept-fwmark = '0x101/0xff'",
            "accept_mark: Some(MaskedMark { value: 1, mask: 255 })",
        );
        check("[network]\nbridge-accept-fwmark = 'one'", "bridge-accept-fwmark \"one\" is not MARK or MARK/MASK");
        check("[network]\nbip = '10.1.2.0/24'", "must be an address of the network");
        check("[network]\nmtu = 20", "between 68 and 65535");
        check("[network]\ndefault-address-pools = [{ base = '10.0.0.0/8', size = 7 }]", "cannot be cut into /7");
        check("[netwrok]", "unknown field `netwrok`");
    }
}
