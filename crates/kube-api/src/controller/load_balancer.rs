//! The addresses of Services of type LoadBalancer.

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;

/// Where they come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Pool {
    /// All ready nodes' own addresses, shared by all Services.
    #[default]
    Nodes,
    /// One of these for each Service and family.
    Addresses(Vec<IpNet>),
}

/// Whether a Service of this type has no address yet.
pub fn waits(service: &Service) -> bool {
    let balanced = service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"));
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    balanced && status.is_none_or(|status| status.ingress.as_ref().is_none_or(Vec::is_empty))
}
