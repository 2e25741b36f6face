//! The addresses under which the gateway answers for an Ingress.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass, IngressLoadBalancerIngress, IngressLoadBalancerStatus};

use super::change::{Outcome, with_status};
use super::cluster::{Cluster, ObjectRef};
use super::endpoint_slice::families;
use super::load_balancer::node_addresses;

const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
const LEGACY_CLASS: &str = "kubernetes.io/ingress.class";

/// Writes them into the status of an Ingress of a class that is the gateway's.
pub fn reconcile(cluster: &Cluster, key: &ObjectRef, _now: Timestamp) -> Outcome {
    let Some(ingress) = cluster.get::<Ingress>(key.namespace(), key.name()) else { return Outcome::default() };
    let Some(gateway) = &cluster.settings.gateway else { return Outcome::default() };
    if !is_ours(cluster, ingress) {
        return Outcome::default();
    }
    let service = cluster.get::<Service>(gateway.service.namespace(), gateway.service.name());
    let addresses = service.map(|service| addresses(cluster, service)).unwrap_or_default();
    let mut status = ingress.status.clone().unwrap_or_default();
    let present = status.load_balancer.take().and_then(|status| status.ingress).unwrap_or_default();
    if present == addresses {
        return Outcome::default();
    }
    let list = Some(addresses).filter(|addresses| !addresses.is_empty());
    status.load_balancer = Some(IngressLoadBalancerStatus { ingress: list });
    Vec::from_iter(with_status(cluster, key, &status)).into()
}

/// Whether an Ingress is of a class that is the gateway's.
pub fn is_ours(cluster: &Cluster, ingress: &Ingress) -> bool {
    let annotations = ingress.metadata.annotations.as_ref();
    let legacy = annotations.and_then(|annotations| annotations.get(LEGACY_CLASS));
    let served = |class: &IngressClass| {
        let controller = class.spec.as_ref().and_then(|spec| spec.controller.as_deref());
        controller == Some(cluster.settings.ingress_controller.as_str())
    };
    match ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref()).or(legacy) {
        Some(name) => cluster.get::<IngressClass>("", name).is_some_and(served),
        None => cluster.list::<IngressClass>(None).any(|class| {
            let annotations = class.metadata.annotations.as_ref();
            let default = annotations.and_then(|annotations| annotations.get(DEFAULT_CLASS));
            served(class) && default.is_some_and(|default| default == "true")
        }),
    }
}

/// The balanced addresses of the gateway's Service, or those of the nodes if its ports are the nodes'.
fn addresses(cluster: &Cluster, gateway: &Service) -> Vec<IngressLoadBalancerIngress> {
    let Some(spec) = &gateway.spec else { return Vec::new() };
    if spec.type_.as_deref() == Some("NodePort") {
        let addresses = families(spec).into_iter().flat_map(|family| node_addresses(cluster, family));
        let ingress = |address: std::net::IpAddr| IngressLoadBalancerIngress {
            ip: Some(address.to_string()),
            ..IngressLoadBalancerIngress::default()
        };
        return addresses.map(ingress).collect();
    }
    let status = gateway.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let balanced = status.iter().flat_map(|status| status.ingress.iter().flatten());
    let copy = |address: &k8s_openapi::api::core::v1::LoadBalancerIngress| IngressLoadBalancerIngress {
        ip: address.ip.clone(),
        hostname: address.hostname.clone(),
        ports: None,
    };
    balanced.map(copy).collect()
}
