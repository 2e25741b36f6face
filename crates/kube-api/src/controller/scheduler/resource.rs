//! What pods ask for and nodes have, as numbers.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Node, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource;

use crate::schema::quantity::Quantity;

/// Amounts by name, in thousandths.
pub type Amounts = BTreeMap<String, i128>;

/// What a pod needs of a node: its containers and sidecars together, or whatever an init container needs beside the sidecars before it.
pub fn requests(spec: &PodSpec) -> Amounts {
    let mut running = Amounts::new();
    for container in &spec.containers {
        add(&mut running, &of_container(container));
    }
    let mut sidecars = Amounts::new();
    let mut starting = Amounts::new();
    for container in spec.init_containers.iter().flatten() {
        let mut own = of_container(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut running, &own);
            add(&mut sidecars, &own);
            raise(&mut starting, &sidecars);
        } else {
            add(&mut own, &sidecars);
            raise(&mut starting, &own);
        }
    }
    raise(&mut running, &starting);
    for (name, amount) in of_requirements(spec.resources.as_ref()) {
        running.insert(name, amount);
    }
    add(&mut running, &amounts(spec.overhead.as_ref()));
    running
}

/// What a node has for pods.
pub fn allocatable(node: &Node) -> Amounts {
    let status = node.status.as_ref();
    amounts(status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref())))
}

/// Adds amounts to others.
pub fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *to.entry(name.clone()).or_insert(0) += amount;
    }
}

fn of_container(container: &Container) -> Amounts {
    of_requirements(container.resources.as_ref())
}

/// A limit without a request is a request.
fn of_requirements(resources: Option<&ResourceRequirements>) -> Amounts {
    let mut all = amounts(resources.and_then(|resources| resources.limits.as_ref()));
    all.extend(amounts(resources.and_then(|resources| resources.requests.as_ref())));
    all
}

fn amounts(quantities: Option<&BTreeMap<String, resource::Quantity>>) -> Amounts {
    let quantities = quantities.into_iter().flatten();
    quantities.filter_map(|(name, quantity)| Some((name.clone(), Quantity::parse(&quantity.0)?.milli()))).collect()
}

fn raise(to: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let present = to.entry(name.clone()).or_insert(0);
        *present = (*present).max(*amount);
    }
}
