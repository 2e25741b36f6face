//! What pods ask for and nodes have, as numbers.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Node, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

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

/// A quantity in thousandths, rounded up; `None` if it is malformed.
pub fn parse(quantity: &str) -> Option<i128> {
    let end = quantity.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}").parse::<i128>().ok()?;
    let fraction = u32::try_from(fraction.len()).ok()?;
    let (factor, divisor): (i128, i128) = match suffix {
        "n" => (1, 1_000_000),
        "u" => (1, 1_000),
        "m" => (1, 1),
        "" => (1_000, 1),
        _ => (scale_of(suffix)?.checked_mul(1_000)?, 1),
    };
    let divisor = divisor.checked_mul(10_i128.checked_pow(fraction)?)?;
    let product = digits.checked_mul(factor)?;
    Some(product.div_euclid(divisor) + i128::from(product.rem_euclid(divisor) != 0))
}

fn scale_of(suffix: &str) -> Option<i128> {
    let decimal = ["k", "M", "G", "T", "P", "E"].iter().zip(1..).find(|(name, _)| **name == suffix);
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().zip(1..).find(|(name, _)| **name == suffix);
    match (decimal, binary) {
        (Some((_, power)), _) => 1_000_i128.checked_pow(power),
        (_, Some((_, power))) => 1_024_i128.checked_pow(power),
        _ => 10_i128.checked_pow(suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
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

fn amounts(quantities: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    quantities.into_iter().flatten().filter_map(|(name, quantity)| Some((name.clone(), parse(&quantity.0)?))).collect()
}

fn raise(to: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let present = to.entry(name.clone()).or_insert(0);
        *present = (*present).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        let check = |text: &str, expected| assert_eq!(parse(text), expected, "{text}");
        check("1", Some(1_000));
        check("250m", Some(250));
        check("0.5", Some(500));
        check("1.5Gi", Some(1_610_612_736_000));
        check("100k", Some(100_000_000));
        check("1e3", Some(1_000_000));
        check("1n", Some(1));
        check("two", None);
        check("3Wi", None);
    }
}
