//! `/etc/hosts` of a sandbox (hosts(5)), in the layout that Docker writes and programs have come to parse: one tab after the
//! address, spaces between names.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use model::endpoint::Link;
use model::network::Names;
use model::sandbox::{HostAddress, Namespace};
use model::{Sandbox, SandboxId, State};

use super::names::addresses;
use super::view::{Place, places};

/// The file of a sandbox. None means the host's own file as it is: the sandbox is the host's namespace and adds nothing.
pub fn hosts_file(state: &State, sandbox: &SandboxId) -> Option<String> {
    let sandbox = state.sandboxes.get(sandbox)?;
    if sandbox.namespace == Namespace::Host && sandbox.extra_hosts.is_empty() {
        return None;
    }
    let places = places(state, sandbox);
    let mut lines = extra_lines(sandbox, &host_gateway(state));
    for place in places.iter().filter(|place| place.bridge.names == Names::HostsFile) {
        lines.extend(link_lines(state, place));
    }
    let names = own_names(&sandbox.hostname, &sandbox.domainname);
    for place in &places {
        let Some(lease) = &place.endpoint.lease else { continue };
        lines.extend(addresses(lease).map(|address| HostsLine { address, names: names.clone() }));
    }
    let disabled = sandbox.sysctls.get("net.ipv6.conf.all.disable_ipv6").is_some_and(|value| value.trim() == "1");
    Some(hosts_text(&lines, if disabled { Ipv6::Disabled } else { Ipv6::Enabled }))
}

/// The host as sandboxes see it: as the settings say, else the default network's bridge.
fn host_gateway(state: &State) -> Vec<IpAddr> {
    match state.settings.as_ref().map(|settings| &settings.host_gateway) {
        Some(said) if !said.is_empty() => said.clone(),
        _ => {
            let bridge = state.default_network().and_then(|network| network.bridge());
            let subnets = bridge.into_iter().flat_map(|bridge| [&bridge.ipv4, &bridge.ipv6]).flatten();
            subnets.filter_map(|subnet| subnet.gateway).collect()
        }
    }
}

fn extra_lines(sandbox: &Sandbox, gateway: &[IpAddr]) -> Vec<HostsLine> {
    let mut lines = Vec::new();
    for extra in &sandbox.extra_hosts {
        let addresses = match &extra.address {
            HostAddress::Is(address) => std::slice::from_ref(address),
            HostAddress::HostGateway => gateway,
        };
        lines.extend(addresses.iter().map(|&address| HostsLine { address, names: extra.name.clone() }));
    }
    lines
}

/// On a network without DNS, a link is a line with the alias, the host name and the container's name.
fn link_lines(state: &State, place: &Place<'_>) -> Vec<HostsLine> {
    let line = |link: &Link| {
        let container = state.linked(link)?;
        let sandbox = state.sandboxes.get(&container.sandbox)?;
        let endpoint = state.endpoints_of(&sandbox.id).find(|endpoint| endpoint.network == place.network.id)?;
        let mut names = format!("{} {}", link.alias, sandbox.hostname);
        if container.name != link.alias {
            names.extend([" ", &container.name]);
        }
        let address = addresses(endpoint.lease.as_ref()?).next()?;
        Some(HostsLine { address, names })
    };
    place.endpoint.wish.links.iter().filter_map(line).collect()
}

/// One line: an address and its names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostsLine {
    /// The address.
    address: IpAddr,
    /// At least one name; more are separated by spaces.
    names: String,
}

/// Whether a sandbox has IPv6 at all (`net.ipv6.conf.all.disable_ipv6`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ipv6 {
    /// It has.
    Enabled,
    /// It has not: no line may name an IPv6 address.
    Disabled,
}

/// The text of the file. `lines` follow the ones for localhost, in the order given.
fn hosts_text(lines: &[HostsLine], ipv6: Ipv6) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n");
    if ipv6 == Ipv6::Enabled {
        for (address, names) in IPV6_LINES {
            line(&mut text, address, names);
        }
    }
    for entry in lines.iter().filter(|entry| ipv6 == Ipv6::Enabled || entry.address.is_ipv4()) {
        line(&mut text, entry.address, &entry.names);
    }
    text
}

/// The names of a sandbox in its own file: the full name, and the bare one when they differ.
fn own_names(hostname: &str, domainname: &str) -> String {
    let full = match domainname {
        "" => hostname.to_owned(),
        domain => format!("{hostname}.{domain}"),
    };
    match full.split_once('.') {
        Some((bare, _)) if !bare.is_empty() => format!("{full} {bare}"),
        _ => full,
    }
}

const IPV6_LINES: [(Ipv6Addr, &str); 5] = [
    (Ipv6Addr::LOCALHOST, "localhost ip6-localhost ip6-loopback"),
    (Ipv6Addr::new(0xfe00, 0, 0, 0, 0, 0, 0, 0), "ip6-localnet"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), "ip6-mcastprefix"),
    (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), "ip6-allnodes"),
    (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2), "ip6-allrouters"),
];

fn line(text: &mut String, address: impl Into<IpAddr>, names: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}\t{names}", address.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_have_the_full_name_first() {
        for (hostname, domainname, expected) in [
            ("web", "", "web"),
            ("web", "example.org", "web.example.org web"),
            ("web.example.org", "", "web.example.org web"),
            ("a.b", "c", "a.b.c a"),
            (".odd", "", ".odd"),
        ] {
            assert_eq!(own_names(hostname, domainname), expected, "{hostname:?} {domainname:?}");
        }
    }

    #[test]
    fn text() {
        let lines = [
            HostsLine { address: "10.0.0.9".parse().unwrap(), names: "printer".into() },
            HostsLine { address: "fd00::9".parse().unwrap(), names: "printer".into() },
            HostsLine { address: "172.17.0.2".parse().unwrap(), names: "4c01db0b339c".into() },
        ];
        assert_eq!(
            hosts_text(&lines, Ipv6::Enabled),
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
             ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n10.0.0.9\tprinter\nfd00::9\tprinter\n172.17.0.2\t4c01db0b339c\n"
        );
        assert_eq!(
            hosts_text(&lines, Ipv6::Disabled),
            "127.0.0.1\tlocalhost\n10.0.0.9\tprinter\n172.17.0.2\t4c01db0b339c\n"
        );
    }
}
