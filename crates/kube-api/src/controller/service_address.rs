//! The addresses and node ports of Services.

use std::ops::RangeInclusive;

use ipnet::IpNet;

/// Where Services get their addresses and ports.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges {
    /// One network for each family that Services may have; the first is the family of those that ask for none.
    pub networks: Vec<IpNet>,
    /// Node ports and health check node ports.
    pub node_ports: RangeInclusive<u16>,
}

impl Default for Ranges {
    fn default() -> Self {
        let network = IpNet::new_assert(std::net::Ipv4Addr::new(10, 96, 0, 0).into(), 16);
        Ranges { networks: vec![network], node_ports: 30_000..=32_767 }
    }
}

/// Gives a Service the addresses and ports that it asks for. `old` is the Service before, if it is not new.
pub fn allocate(
    _cluster: &super::Cluster,
    _service: &mut serde_json::Value,
    _old: Option<&serde_json::Value>,
) -> Result<(), crate::kind::Errors> {
    Ok(())
}
