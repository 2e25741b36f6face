//! The downward API: what a pod is told of itself and of what its containers may use, in variables and in files.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ObjectFieldSelector, Pod, ResourceFieldSelector};

use super::{
    env::{ConfigError, Place},
    resources, spec,
};

/// What a field of a pod says: `metadata.name`, `metadata.labels['app']`, `status.podIP`.
pub fn field(pod: &Pod, selector: &ObjectFieldSelector, place: &Place) -> Result<String, ConfigError> {
    let (name, namespace, uid) = spec::names(pod);
    let spec = spec::of(pod);
    let path = selector.field_path.as_str();
    if let Some((of, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let values = match of {
            "metadata.labels" => &pod.metadata.labels,
            "metadata.annotations" => &pod.metadata.annotations,
            _ => return Err(unknown_field(path)),
        };
        return Ok(values.as_ref().and_then(|values| values.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => name,
        "metadata.namespace" => namespace,
        "metadata.uid" => uid,
        "metadata.labels" => listed(pod.metadata.labels.as_ref()),
        "metadata.annotations" => listed(pod.metadata.annotations.as_ref()),
        "spec.nodeName" => place.node.clone(),
        "spec.serviceAccountName" => spec.service_account_name.unwrap_or_default(),
        "status.hostIP" => place.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => place.host_ips.join(","),
        "status.podIP" => place.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => place.pod_ips.join(","),
        _ => return Err(unknown_field(path)),
    })
}

/// What a container may use, as `limits.cpu` and the like say it; what is not limited is what the node has.
pub fn resource(
    pod: &Pod,
    own: &Container,
    selector: &ResourceFieldSelector,
    place: &Place,
) -> Result<String, ConfigError> {
    let spec = spec::of(pod);
    let container = match selector.container_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => spec::container(&spec, name).map(|(_, container)| container),
        None => Some(own.clone()),
    };
    let container =
        container.ok_or_else(|| ConfigError::Invalid(format!("container {:?} not found", selector.container_name)))?;
    let unknown = || ConfigError::Invalid(format!("unsupported container resource : {}", selector.resource));
    let (of, name) = selector.resource.split_once('.').ok_or_else(unknown)?;
    let said = match of {
        "limits" => resources::limit(&container, name).and_then(resources::nano),
        "requests" => Some(resources::request(&container, name).and_then(resources::nano).unwrap_or_default()),
        _ => return Err(unknown()),
    };
    let whole = match name {
        "cpu" => i128::from(place.capacity.cpu_milli) * 1_000_000,
        "memory" => i128::from(place.capacity.memory) * 1_000_000_000,
        "ephemeral-storage" => i128::from(place.capacity.storage) * 1_000_000_000,
        _ if said.is_some() => 0,
        _ => return Err(unknown()),
    };
    Ok(resources::divided(
        said.filter(|value| *value > 0 || of == "requests").unwrap_or(whole),
        selector.divisor.as_ref(),
    )
    .to_string())
}

fn unknown_field(path: &str) -> ConfigError {
    ConfigError::Invalid(format!("unsupported fieldPath: {path}"))
}

/// Labels or annotations as a file has them: `key="value"`, one a line.
fn listed(values: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<_> = values.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}
