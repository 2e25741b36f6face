//! What a container can resolve: the names on each network, what one sandbox sees of them, and the text of the two files that
//! every resolver library reads. Answering queries is the proxy's work; choosing names and addresses is the model's.

mod cluster;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod hosts;
mod names;
mod resolv_conf;
mod view;

pub use cluster::{ClusterNames, Found, ServiceNames, Target, cluster_names};
pub use hosts::hosts_file;
pub use names::{Addresses, EndpointNames, NetworkNames, endpoint_names, network_names};
pub use resolv_conf::{EMBEDDED, HostFiles, PATH, ResolvConf, resolv_conf};
pub use view::{Attached, DnsView, Forward, Unqualified, Upstream, Way, dns_view, host_servers};

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
