//! Which families of addresses a Service has: as many as its policy wants and the cluster can give.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::ServiceSpec;

use super::Ranges;
use crate::kind::{Errors, Path};

/// `IPv4` or `IPv6`.
pub fn of(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// Completes `ipFamilyPolicy` and `ipFamilies`. What it had before is kept, whatever the cluster can give now.
pub fn complete(spec: &mut ServiceSpec, ranges: &Ranges, had: Option<&ServiceSpec>, errors: &mut Errors) {
    let available: Vec<&str> = ranges.networks.iter().map(|network| of(&network.addr())).collect();
    let mut families = spec.ip_families.clone().unwrap_or_default();
    if families.is_empty() {
        let addresses = spec.cluster_ips.iter().flatten().chain(spec.cluster_ip.iter().take(1));
        for family in addresses.filter_map(|address| address.parse::<IpAddr>().ok()).map(|address| of(&address)) {
            if families.iter().all(|other| other != family) {
                families.push(family.into());
            }
        }
    }
    let headless = spec.cluster_ip.as_deref() == Some("None");
    if headless && spec.cluster_ips.as_ref().is_none_or(Vec::is_empty) {
        spec.cluster_ips = Some(vec!["None".into()]);
    }
    let selects = spec.selector.as_ref().is_some_and(|selector| !selector.is_empty());
    if families.is_empty() {
        families.extend(available.first().map(ToString::to_string));
    }
    // Its endpoints are whatever somebody writes.
    let anything = headless && !selects;
    if anything || families.len() > 1 {
        spec.ip_family_policy.get_or_insert_with(|| "RequireDualStack".into());
    }
    let policy = spec.ip_family_policy.get_or_insert_with(|| "SingleStack".into()).clone();
    let path = Path::new("spec");
    if !anything {
        let had_policy = had.and_then(|had| had.ip_family_policy.as_deref());
        if policy == "RequireDualStack" && available.len() < 2 && had_policy != Some(&policy) {
            let detail = "this cluster is not configured for dual-stack services";
            errors.invalid(&path.field("ipFamilyPolicy"), policy.clone(), detail);
        }
        let had_family =
            |family: &String| had.is_some_and(|had| had.ip_families.iter().flatten().any(|of| of == family));
        let is_wrong = |family: &String| !available.contains(&family.as_str()) && !had_family(family);
        for (index, family) in families.iter().enumerate().filter(|(_, family)| is_wrong(family)) {
            let detail = "not configured on this cluster";
            errors.invalid(&path.field("ipFamilies").index(index), family.clone(), detail);
        }
    }
    let second = ["IPv4", "IPv6"].into_iter().find(|family| families.iter().all(|other| other != family));
    let wanted = policy != "SingleStack" && families.len() == 1;
    families.extend(second.filter(|family| wanted && (anything || available.contains(family))).map(Into::into));
    if policy == "SingleStack" {
        families.truncate(1);
    }
    spec.ip_families = Some(families);
}
