//! `[kube]`: what the Kubernetes face is told, in the file and on the command line.

use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;
use ipnet::IpNet;
use serde::Deserialize;

use super::{
    ConfigError,
    ranges::{Pool, Ranges},
};

/// Where the Kubernetes API is, unless told.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 6443);
/// Where Ingresses are served, unless told.
const INGRESS_PORTS: IngressPorts = IngressPorts { http: 8080, https: 8443 };

/// `[kube]`, and the same on the command line.
#[derive(Args, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Kube {
    /// Serve no Kubernetes API and run no pods
    #[serde(skip)]
    #[arg(long = "no-kube", conflicts_with_all = ["kube_listen", "store", "ingress_ports"])]
    pub off: bool,
    /// The same in the file: `enabled = false`.
    #[arg(skip)]
    pub enabled: Option<bool>,
    /// Where the Kubernetes API is served; its kubeconfig is put into the run directory [default: 127.0.0.1:6443]
    #[arg(long = "kube-listen", id = "kube_listen", value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Keep the Kubernetes objects in an etcd, as etcd://HOST:PORT[,HOST:PORT...][/PREFIX] [default: in the data directory]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Ports of the gateway that is started when there is an Ingress for it; none: it is not [default: 8080,8443]
    #[arg(long, value_name = "HTTP,HTTPS|none")]
    pub ingress_ports: Option<String>,
    /// Addresses of pods: IPv4, and perhaps IPv6 [default: 10.244.0.0/16]
    #[arg(long, value_name = "CIDR[,CIDR6]", value_delimiter = ',')]
    pub cluster_cidr: Vec<IpNet>,
    /// Addresses of services, of the same families [default: 10.96.0.0/16]
    #[arg(long, value_name = "CIDR[,CIDR6]", value_delimiter = ',')]
    pub service_cluster_ip_range: Vec<IpNet>,
    /// Addresses of load balancers, as 192.0.2.200-192.0.2.210 or 192.0.2.192/28; may be repeated [default: this host's own, shared]
    #[arg(long = "load-balancer-pool", value_name = "CIDR|FIRST-LAST")]
    pub load_balancer_pools: Vec<Pool>,
}

/// What it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Face {
    /// Where the API is.
    pub listen: Listen,
    /// In which etcd the objects are, if in any.
    pub store: Option<String>,
    /// Where Ingresses are served; none: a gateway is somebody else's to start.
    pub ingress_ports: Option<IngressPorts>,
    /// The addresses of the cluster.
    pub ranges: Ranges,
}

/// Where the API is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// There, or the daemon does not start.
    Asked(SocketAddr),
    /// There if it is free, else at another port: somebody who wants containers only is not kept from them.
    Usual(SocketAddr),
}

/// Where Ingresses are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngressPorts {
    /// HTTP.
    pub http: u16,
    /// HTTPS.
    pub https: u16,
}

impl Kube {
    /// Lays what the command line says over what the file says.
    pub fn over(self, file: Self) -> Self {
        fn all<T>(mine: Vec<T>, file: Vec<T>) -> Vec<T> {
            if mine.is_empty() { file } else { mine }
        }
        Self {
            off: self.off || (file.enabled == Some(false) && self.listen.is_none()),
            enabled: None,
            listen: self.listen.or(file.listen),
            store: self.store.or(file.store),
            ingress_ports: self.ingress_ports.or(file.ingress_ports),
            cluster_cidr: all(self.cluster_cidr, file.cluster_cidr),
            service_cluster_ip_range: all(self.service_cluster_ip_range, file.service_cluster_ip_range),
            load_balancer_pools: all(self.load_balancer_pools, file.load_balancer_pools),
        }
    }

    /// The face, if there is one.
    pub fn face(self) -> Result<Option<Face>, ConfigError> {
        let ingress_ports = match self.ingress_ports.as_deref() {
            None => Some(INGRESS_PORTS),
            Some("none") => None,
            Some(text) => Some(ports(text)?),
        };
        let listen = self.listen.map_or(Listen::Usual(LISTEN), Listen::Asked);
        let ranges = Ranges::of(&self.cluster_cidr, &self.service_cluster_ip_range, &self.load_balancer_pools)?;
        Ok((!self.off).then_some(Face { listen, store: self.store, ingress_ports, ranges }))
    }
}

fn ports(text: &str) -> Result<IngressPorts, ConfigError> {
    let port = |text: &str| text.trim().parse().ok().filter(|port| *port != 0);
    let both = text.split_once(',').and_then(|(http, https)| Some((port(http)?, port(https)?)));
    match both {
        Some((http, https)) if http != https => Ok(IngressPorts { http, https }),
        _ => Err(ConfigError::Value(format!("ingress-ports {text:?} are not two ports as 80,443, nor none"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, file: &str, expected: Result<Option<Face>, &str>) {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            kube: Kube,
        }
        let said = <Line as clap::Parser>::try_parse_from(["up"].into_iter().chain(line.split_whitespace())).unwrap();
        let file: Kube = toml::from_str(file).unwrap();
        match said.kube.over(file).face() {
            Ok(face) => assert_eq!(Ok(face), expected, "{line}"),
            Err(error) => assert_eq!(Err(error.to_string()), expected.map_err(str::to_owned), "{line}"),
        }
    }

    #[test]
    fn the_command_line_goes_before_the_file_before_the_defaults() {
        let ranges = Ranges::of(&[], &[], &[]).unwrap();
        let usual = Face { listen: Listen::Usual(LISTEN), store: None, ingress_ports: Some(INGRESS_PORTS), ranges };
        let asked = "192.0.2.1:6443".parse().unwrap();
        check("", "", Ok(Some(usual.clone())));
        check("--no-kube", "listen = '192.0.2.1:6443'", Ok(None));
        check("", "enabled = false", Ok(None));
        check(
            "--kube-listen 192.0.2.1:6443",
            "enabled = false",
            Ok(Some(Face { listen: Listen::Asked(asked), ..usual.clone() })),
        );
        check("", "listen = '192.0.2.1:6443'", Ok(Some(Face { listen: Listen::Asked(asked), ..usual.clone() })));
        check(
            "--ingress-ports none",
            "ingress-ports = '80,443'",
            Ok(Some(Face { ingress_ports: None, ..usual.clone() })),
        );
        let well_known = Some(IngressPorts { http: 80, https: 443 });
        check("", "ingress-ports = '80,443'", Ok(Some(Face { ingress_ports: well_known, ..usual })));
        let refusal = "the configuration's ingress-ports \"80\" are not two ports as 80,443, nor none";
        check("--ingress-ports 80", "", Err(refusal));
    }
}
