//! Validation of a pod's containers.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{probe, spec::identity, variable};
use crate::{
    kind::{Errors, Path, syntax},
    object::Look,
    schema::quantity::Quantity,
};

/// Finds what is wrong with all containers of a pod's spec; `volumes` are the names of its volumes.
pub fn validate_all(spec: &Value, volumes: &BTreeSet<&str>, path: &Path, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    let mut host_ports = BTreeSet::new();
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        for (at, container) in spec.list(kind).iter().enumerate() {
            let path = path.field(kind).index(at);
            let name = container.text("name");
            if !name.is_empty() {
                syntax::check(container.at("name"), &path.field("name"), syntax::label, errors);
                if !names.insert(name) {
                    errors.duplicate(&path.field("name"), name);
                }
            }
            one(container, volumes, &path, errors);
            ports(container, spec.is("hostNetwork"), &mut host_ports, &path.field("ports"), errors);
            if kind == "initContainers" && container.text("restartPolicy") != "Always" {
                for field in ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"] {
                    if container.at(field).is_some() {
                        errors.forbidden(
                            &path.field(field),
                            "may not be set for init containers without restartPolicy=Always",
                        );
                    }
                }
            }
        }
    }
}

fn one(container: &Value, volumes: &BTreeSet<&str>, path: &Path, errors: &mut Errors) {
    let image = container.text("image");
    if image.is_empty() {
        errors.required(&path.field("image"), "");
    } else if image.trim() != image {
        errors.invalid(&path.field("image"), image, "must not have leading or trailing whitespace");
    }
    variable::validate(container, path, errors);
    mounts(container, volumes, &path.field("volumeMounts"), errors);
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(asked) = container.at(kind) {
            probe::validate(asked, kind, &path.field(kind), errors);
        }
    }
    for moment in ["postStart", "preStop"] {
        if let Some(action) = container.at("lifecycle").and_then(|all| all.get(moment)) {
            probe::action(
                action,
                &["exec", "httpGet", "sleep", "tcpSocket"],
                &path.field("lifecycle").field(moment),
                errors,
            );
        }
    }
    resources(container.at("resources"), &path.field("resources"), errors);
    let security = path.field("securityContext");
    for field in ["runAsUser", "runAsGroup"] {
        identity(container.at("securityContext").and_then(|all| all.get(field)), &security.field(field), errors);
    }
    let context = |field: &str| container.at("securityContext").and_then(|all| all.get(field)).and_then(Value::as_bool);
    if context("allowPrivilegeEscalation") == Some(false) && context("privileged") == Some(true) {
        errors.invalid(
            &security,
            container.at("securityContext").cloned().unwrap_or_default(),
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        );
    }
}

fn ports(
    container: &Value,
    on_host: bool,
    taken: &mut BTreeSet<(String, String, i64)>,
    path: &Path,
    errors: &mut Errors,
) {
    let mut names = BTreeSet::new();
    for (at, port) in container.list("ports").iter().enumerate() {
        let path = path.index(at);
        let name = port.text("name");
        if !name.is_empty() {
            match syntax::port_name(name) {
                Some(wrong) => errors.invalid(&path.field("name"), name, wrong),
                None if !names.insert(name) => errors.duplicate(&path.field("name"), name),
                None => {}
            }
        }
        match port.int("containerPort").unwrap_or_default() {
            0 => errors.required(&path.field("containerPort"), ""),
            _ => syntax::check_number(
                port.at("containerPort"),
                &path.field("containerPort"),
                syntax::port_number,
                errors,
            ),
        }
        let host_port = port.int("hostPort").unwrap_or_default();
        if host_port == 0 {
            continue;
        }
        syntax::check_number(port.at("hostPort"), &path.field("hostPort"), syntax::port_number, errors);
        if on_host && port.int("containerPort") != Some(host_port) {
            errors.invalid(
                &path.field("containerPort"),
                port.int("containerPort").unwrap_or_default(),
                "must match `hostPort` when `hostNetwork` is true",
            );
        }
        let (protocol, address) = (port.text("protocol"), port.text("hostIP"));
        if !taken.insert((protocol.to_owned(), address.to_owned(), host_port)) {
            errors.duplicate(&path.field("hostPort"), format!("{protocol}/{address}/{host_port}"));
        }
        if !address.is_empty() {
            syntax::check(port.at("hostIP"), &path.field("hostIP"), syntax::ip, errors);
        }
    }
}

fn mounts(container: &Value, volumes: &BTreeSet<&str>, path: &Path, errors: &mut Errors) {
    let mut places = BTreeSet::new();
    for (at, mount) in container.list("volumeMounts").iter().enumerate() {
        let path = path.index(at);
        let (name, place) = (mount.text("name"), mount.text("mountPath"));
        if !name.is_empty() && !volumes.contains(name) {
            errors.not_found(&path.field("name"), name);
        }
        if !place.is_empty() && !places.insert(place) {
            errors.invalid(&path.field("mountPath"), place, "must be unique");
        }
        for field in ["subPath", "subPathExpr"] {
            super::volume::inner_path(mount.text(field), &path.field(field), errors);
        }
        if !mount.text("subPath").is_empty() && !mount.text("subPathExpr").is_empty() {
            errors.invalid(
                &path.field("subPathExpr"),
                mount.text("subPathExpr"),
                "subPathExpr and subPath are mutually exclusive",
            );
        }
        if mount.text("mountPropagation") == "Bidirectional" && !container.is("securityContext.privileged") {
            errors.forbidden(
                &path.field("mountPropagation"),
                "Bidirectional mount propagation is available only to privileged containers",
            );
        }
    }
}

/// Finds what is wrong with requests and limits.
pub fn resources(resources: Option<&Value>, path: &Path, errors: &mut Errors) {
    let Some(resources) = resources else { return };
    let empty = serde_json::Map::new();
    let limits = resources.map("limits").unwrap_or(&empty);
    let requests = resources.map("requests").unwrap_or(&empty);
    for (kind, amounts) in [("limits", limits), ("requests", requests)] {
        for (name, amount) in amounts {
            let path = path.field(kind).key(name);
            if let Some(wrong) = syntax::qualified_name(name) {
                errors.invalid(&path, name.as_str(), wrong);
            } else if !name.contains('/') && !is_known(name) {
                errors.invalid(&path, name.as_str(), "must be a standard resource type or fully qualified");
            }
            if Quantity::read(amount).is_some_and(|amount| amount.nano() < 0) {
                errors.invalid(&path, amount.clone(), "must be greater than or equal to 0");
            }
        }
    }
    for (name, request) in requests {
        let Some(limit) = limits.get(name) else { continue };
        if let (Some(asked), Some(most)) = (Quantity::read(request), Quantity::read(limit))
            && asked.nano() > most.nano()
        {
            let wrong = format!("must be less than or equal to {name} limit of {most}");
            errors.invalid(&path.field("requests"), asked.to_string(), wrong);
        }
    }
}

fn is_known(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory" | "ephemeral-storage") || resource.starts_with("hugepages-")
}
