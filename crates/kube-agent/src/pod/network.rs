//! A pod's place on the network: its sandbox, and what its containers read as `/etc/hosts` and `/etc/resolv.conf`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
};

use k8s_openapi::api::core::v1::Pod;
use model::{
    NetworkId, Sandbox,
    command::{NewEndpoint, NewSandbox},
    endpoint::EndpointWish,
    port::{HostPorts, PortRange, PortWish, Protocol},
    sandbox::{DnsWish, Namespace, Stays, Up},
};
use plan::dns::ResolvConf;

use super::spec;
use crate::identity;

/// The longest host name that Linux takes, bytes (sethostname(2)).
const HOSTNAME_MAX: usize = 63;

/// The names of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNames {
    /// Where its DNS server is.
    pub server: Ipv4Addr,
    /// Its domain: `cluster.local`.
    pub domain: String,
}

/// A pod's sandbox on a network; in the host's namespace where the pod wants that.
pub fn sandbox(pod: &Pod, network: &NetworkId, hostname: String) -> NewSandbox {
    let spec = spec::of(pod);
    let (_, _, uid) = spec::names(pod);
    let of_host = spec.host_network == Some(true);
    let sysctls = spec.security_context.and_then(|context| context.sysctls).unwrap_or_default();
    let sysctls = sysctls.into_iter().filter(|sysctl| sysctl.name.starts_with("net.") && !of_host);
    let sandbox = Sandbox {
        id: identity::sandbox(&uid),
        namespace: if of_host { Namespace::Host } else { Namespace::Own },
        names: Vec::new(),
        hostname,
        domainname: String::new(),
        dns: DnsWish::default(),
        extra_hosts: Vec::new(),
        sysctls: sysctls.map(|sysctl| (sysctl.name, sysctl.value)).collect::<BTreeMap<_, _>>(),
        exposed: Vec::new(),
        ports: if of_host { Vec::new() } else { ports(pod) },
        published: Vec::new(),
        up: Up::Down,
        stays: Stays::UntilRemoved,
    };
    let endpoint =
        NewEndpoint { id: identity::endpoint(&uid), network: network.clone(), wish: EndpointWish::default() };
    NewSandbox { sandbox, endpoints: vec![endpoint] }
}

/// The ports of the host that lead to the pod.
fn ports(pod: &Pod) -> Vec<PortWish> {
    let spec = spec::of(pod);
    let all = spec::containers(&spec).flat_map(|(_, container)| container.ports.iter().flatten());
    let port = |number: i32| u16::try_from(number).ok().filter(|port| *port > 0).map(PortRange::single);
    let wish = |wanted: &k8s_openapi::api::core::v1::ContainerPort| {
        let protocol = match wanted.protocol.as_deref() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        };
        let host_ip =
            wanted.host_ip.as_deref().and_then(|ip| ip.parse().ok()).filter(|ip: &IpAddr| !ip.is_unspecified());
        let host = HostPorts::Range(port(wanted.host_port?)?);
        Some(PortWish { protocol, inside: port(wanted.container_port)?, host_ip, host })
    };
    all.filter_map(wish).collect()
}

/// The host name of a pod, and its name in the cluster if it has a subdomain.
pub fn hostname(pod: &Pod, names: &ClusterNames, node: &str) -> (String, Option<String>) {
    let spec = spec::of(pod);
    let (name, namespace, _) = spec::names(pod);
    if spec.host_network == Some(true) {
        return (node.to_owned(), None);
    }
    if let Some(said) = spec.hostname_override.filter(|said| !said.is_empty()) {
        return (said, None);
    }
    let own = spec.hostname.filter(|said| !said.is_empty()).unwrap_or(name);
    let own: String = own.chars().take(HOSTNAME_MAX).collect();
    let own = own.trim_end_matches(['-', '.']).to_owned();
    let full = spec.subdomain.filter(|subdomain| !subdomain.is_empty());
    let full = full.map(|subdomain| format!("{own}.{subdomain}.{namespace}.svc.{}", names.domain));
    match &full {
        Some(long) if spec.set_hostname_as_fqdn == Some(true) => (long.clone(), full),
        _ => (own, full),
    }
}

/// What a pod's containers read as `/etc/hosts`. In the host's namespace it is the host's own file, and what the pod adds.
pub fn hosts(pod: &Pod, addresses: &[IpAddr], (hostname, full): (&str, Option<&str>), of_host: &str) -> String {
    let spec = spec::of(pod);
    let mut text = String::new();
    // Writing to a String cannot fail, here and below.
    if spec.host_network == Some(true) {
        let _ = write!(text, "# Kubernetes-managed hosts file (host network).\n{of_host}");
    } else {
        text.push_str(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
        );
        let names = match full.filter(|full| *full != hostname) {
            Some(full) => format!("{full}\t{hostname}"),
            None => hostname.to_owned(),
        };
        for address in addresses {
            let _ = writeln!(text, "{address}\t{names}");
        }
    }
    let aliases = spec.host_aliases.unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let _ = writeln!(text, "{}\t{}", alias.ip, alias.hostnames.unwrap_or_default().join("\t"));
        }
    }
    text
}

/// What a pod's containers read as `/etc/resolv.conf`.
pub fn resolv_conf(pod: &Pod, names: &ClusterNames, host: &ResolvConf) -> String {
    let spec = spec::of(pod);
    let (_, namespace, _) = spec::names(pod);
    let of_host = spec.host_network == Some(true);
    let (mut servers, mut search, mut options): (Vec<String>, Vec<String>, Vec<String>);
    let host_servers = || host.servers.iter().map(ToString::to_string).collect();
    match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "None" => (servers, search, options) = Default::default(),
        "ClusterFirstWithHostNet" => (servers, search, options) = cluster(names, &namespace, host),
        "ClusterFirst" if !of_host => (servers, search, options) = cluster(names, &namespace, host),
        _ => (servers, search, options) = (host_servers(), host.search.clone(), host.options.clone()),
    }
    if let Some(config) = spec.dns_config {
        add(&mut servers, config.nameservers.unwrap_or_default());
        add(&mut search, config.searches.unwrap_or_default());
        for option in config.options.into_iter().flatten() {
            let name = option.name.unwrap_or_default();
            options.retain(|known| known.split(':').next() != Some(&name));
            options.push(option.value.map_or(name.clone(), |value| format!("{name}:{value}")));
        }
    }
    let mut text = String::new();
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

type Resolver = (Vec<String>, Vec<String>, Vec<String>);

fn cluster(names: &ClusterNames, namespace: &str, host: &ResolvConf) -> Resolver {
    let domain = &names.domain;
    let mut search = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    add(&mut search, host.search.clone());
    (vec![names.server.to_string()], search, vec!["ndots:5".to_owned()])
}

fn add(to: &mut Vec<String>, more: Vec<String>) {
    for one in more {
        if !to.contains(&one) {
            to.push(one);
        }
    }
}
