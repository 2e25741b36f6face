//! Part of what must be on the host, and the vocabulary to write it in.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use ipnet::IpNet;
use model::port::PortRange;
use netstate::{
    Key, Object,
    link::{IfName, LinkKey, MacAddr},
    netns::NetnsName,
    nft::{Element, ElementData, ElementKey, Family as TableFamily, SetKey, Span, TableKey, Value},
    sysctl::{Sysctl, SysctlKey},
};

/// Part of what must be on the host.
#[derive(Default)]
pub struct Fragment {
    pub objects: BTreeMap<Key, Object>,
}

impl Fragment {
    /// Adds an object.
    pub fn put(&mut self, key: impl Into<Key>, object: impl Into<Object>) {
        self.objects.insert(key.into(), object.into());
    }

    /// Adds a setting; the path is below `/proc/sys`.
    pub fn sysctl(&mut self, netns: &NetnsName, path: impl Into<String>, value: impl Into<String>) {
        self.put(SysctlKey { netns: netns.clone(), path: path.into() }, Sysctl { value: value.into() });
    }

    /// Adds an element to a set of the host's main table.
    pub fn member<const N: usize>(&mut self, set: &'static str, key: [Span; N]) {
        self.entry(main_set(set), key, ElementData::None);
    }

    /// Adds an element to a set of the host's bridge table.
    pub fn bridge_member<const N: usize>(&mut self, set: &'static str, key: [Span; N]) {
        let set = SetKey { table: bridge_table(), name: set.to_owned() };
        self.entry(set.into(), key, ElementData::None);
    }

    /// Adds an element to a map of the host's main table.
    pub fn mapping<const N: usize, const M: usize>(&mut self, map: &'static str, key: [Span; N], data: [Value; M]) {
        self.entry(main_set(map), key, ElementData::Values(data.into()));
    }

    fn entry<const N: usize>(&mut self, set: Arc<SetKey>, key: [Span; N], data: ElementData) {
        self.put(ElementKey { set, key: key.into() }, Element { data });
    }
}

/// The host's table for IPv4 and IPv6.
pub fn main_table() -> TableKey {
    TableKey { netns: NetnsName::Host, family: TableFamily::Inet }
}

/// A set of the host's main table. Elements are many, so what names their set is made once.
pub fn main_set(name: &'static str) -> Arc<SetKey> {
    static MADE: Mutex<BTreeMap<&'static str, Arc<SetKey>>> = Mutex::new(BTreeMap::new());
    // What a panicked thread left is whole.
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let make = || Arc::new(SetKey { table: main_table(), name: name.to_owned() });
    Arc::clone(made.entry(name).or_insert_with(make))
}

/// The host's table for frames between ports of one bridge.
pub fn bridge_table() -> TableKey {
    TableKey { netns: NetnsName::Host, family: TableFamily::Bridge }
}

/// A link of the host. None only for a name that the model would never have decided.
pub fn host_link(name: &str) -> Option<LinkKey> {
    link(NetnsName::Host, name)
}

/// A link. None only for a name that the model would never have decided.
pub fn link(netns: NetnsName, name: &str) -> Option<LinkKey> {
    Some(LinkKey { netns, name: IfName::try_from(name.to_owned()).ok()? })
}

/// The mark of ownership on links of the host.
pub fn alias(wish: &crate::Wish) -> Option<String> {
    Some(format!("linkspan:{wish}"))
}

/// An address as a value.
pub fn address(address: IpAddr) -> Value {
    address.into()
}

/// All addresses of a network.
pub fn net(net: IpNet) -> Span {
    Span { first: address(net.network()), last: address(net.broadcast()) }
}

/// An address of the host; the unspecified one stands for all of its family.
pub fn host_address(host: IpAddr) -> Span {
    if !host.is_unspecified() {
        return address(host).into();
    }
    // A prefix length of 0 is never too long.
    let all = IpNet::new(host, 0).map(net);
    all.unwrap_or_else(|_| address(host).into())
}

/// Ports.
pub fn ports(range: PortRange) -> Span {
    Span { first: Value::Port(range.first), last: Value::Port(range.last) }
}

/// A link name.
pub fn ifname(name: &str) -> Span {
    Value::IfName(name.to_owned()).into()
}

/// An Ethernet address.
pub fn mac(mac: model::address::Mac) -> MacAddr {
    MacAddr(mac.0)
}
