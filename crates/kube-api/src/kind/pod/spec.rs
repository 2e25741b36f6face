//! Validation of the spec of pods and pod templates.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{container, volume};
use crate::{
    kind::{Errors, Path, selector, syntax},
    object::Look,
    schema::quantity::Quantity,
};

/// Finds what is wrong with a pod's spec, apart from what the schema finds.
pub fn validate(spec: &Value, path: &Path, errors: &mut Errors) {
    let volumes = volume::validate(spec.list("volumes"), &path.field("volumes"), errors);
    container::validate_all(spec, &volumes, path, errors);
    syntax::check_labels(spec.at("nodeSelector"), &path.field("nodeSelector"), errors);
    names(spec, path, errors);
    dns(spec, path, errors);
    syntax::check_number(
        spec.at("terminationGracePeriodSeconds"),
        &path.field("terminationGracePeriodSeconds"),
        syntax::not_negative,
        errors,
    );
    if spec.int("activeDeadlineSeconds").is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds)) {
        let seconds = spec.int("activeDeadlineSeconds").unwrap_or_default();
        errors.invalid(&path.field("activeDeadlineSeconds"), seconds, "must be between 1 and 2147483647, inclusive");
    }
    for (at, toleration) in spec.list("tolerations").iter().enumerate() {
        self::toleration(toleration, &path.field("tolerations").index(at), errors);
    }
    for (at, alias) in spec.list("hostAliases").iter().enumerate() {
        let path = path.field("hostAliases").index(at);
        syntax::check(alias.at("ip"), &path.field("ip"), syntax::ip, errors);
        for (at, name) in alias.list("hostnames").iter().enumerate() {
            syntax::check(Some(name), &path.field("hostnames").index(at), syntax::subdomain, errors);
        }
    }
    spread(spec.list("topologySpreadConstraints"), &path.field("topologySpreadConstraints"), errors);
    security(spec, path, errors);
}

/// How much a pod is promised: `Guaranteed`, `Burstable` or `BestEffort` (the page "Pod Quality of Service Classes").
pub fn qos_class(pod: &Value) -> &'static str {
    let containers = || pod.list("spec.containers").iter().chain(pod.list("spec.initContainers"));
    let amount = |container: &Value, kind: &str, resource: &str| {
        let amounts = container.map("resources").and_then(|all| all.get(kind)).and_then(Value::as_object);
        amounts.and_then(|amounts| amounts.get(resource)).and_then(Quantity::read).map_or(0, Quantity::nano)
    };
    let is_asked = |container: &Value| {
        let asked = ["limits", "requests"];
        asked.iter().any(|kind| ["cpu", "memory"].iter().any(|resource| amount(container, kind, resource) > 0))
    };
    let is_promised = |container: &Value| {
        ["cpu", "memory"].iter().all(|resource| {
            let limit = amount(container, "limits", resource);
            let request = amount(container, "requests", resource);
            limit > 0 && (request == limit || request == 0)
        })
    };
    if !containers().any(is_asked) {
        "BestEffort"
    } else if containers().all(is_promised) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

fn names(spec: &Value, path: &Path, errors: &mut Errors) {
    let rules: [(&str, syntax::Rule); 7] = [
        ("serviceAccountName", syntax::subdomain),
        ("nodeName", syntax::subdomain),
        ("hostname", syntax::label),
        ("subdomain", syntax::label),
        ("priorityClassName", syntax::subdomain),
        ("runtimeClassName", syntax::subdomain),
        ("hostnameOverride", syntax::subdomain),
    ];
    for (field, rule) in rules {
        if !spec.text(field).is_empty() {
            syntax::check(spec.at(field), &path.field(field), rule, errors);
        }
    }
}

fn dns(spec: &Value, path: &Path, errors: &mut Errors) {
    let path = path.field("dnsConfig");
    let servers = spec.list("dnsConfig.nameservers");
    if spec.text("dnsPolicy") == "None" && servers.is_empty() {
        let wrong = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        errors.required(&path.field("nameservers"), wrong);
    }
    if servers.len() > 3 {
        errors.invalid(&path.field("nameservers"), servers.to_vec(), "must not have more than 3 nameservers");
    }
    for (at, server) in servers.iter().enumerate() {
        syntax::check(Some(server), &path.field("nameservers").index(at), syntax::ip, errors);
    }
    for (at, search) in spec.list("dnsConfig.searches").iter().enumerate() {
        let text = search.as_str().unwrap_or_default().trim_end_matches('.');
        if text.is_empty() && search.as_str() == Some(".") {
            continue;
        }
        if let Some(wrong) = syntax::subdomain(&text.replace('_', "-")) {
            errors.invalid(&path.field("searches").index(at), search.clone(), wrong);
        }
    }
    for (at, option) in spec.list("dnsConfig.options").iter().enumerate() {
        if option.text("name").is_empty() {
            errors.required(&path.field("options").index(at), "must not be empty");
        }
    }
}

fn toleration(toleration: &Value, path: &Path, errors: &mut Errors) {
    let (key, operator, value) = (toleration.text("key"), toleration.text("operator"), toleration.text("value"));
    if !key.is_empty() {
        syntax::check(toleration.at("key"), &path.field("key"), syntax::qualified_name, errors);
    } else if operator != "Exists" {
        errors.invalid(
            &path.field("operator"),
            operator,
            "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        );
    }
    if toleration.int("tolerationSeconds").is_some() && toleration.text("effect") != "NoExecute" {
        errors.invalid(
            &path.field("effect"),
            toleration.text("effect"),
            "effect must be 'NoExecute' when `tolerationSeconds` is set",
        );
    }
    match operator {
        "" | "Equal" => syntax::check(toleration.at("value"), &path.field("value"), syntax::label_value, errors),
        "Exists" if !value.is_empty() => {
            errors.invalid(path, toleration.clone(), "value must be empty when `operator` is 'Exists'");
        }
        _ => {}
    }
}

fn spread(constraints: &[Value], path: &Path, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (at, constraint) in constraints.iter().enumerate() {
        let path = path.index(at);
        let skew = constraint.int("maxSkew").unwrap_or_default();
        if skew <= 0 {
            errors.invalid(&path.field("maxSkew"), skew, "must be greater than zero");
        }
        if let Some(domains) = constraint.int("minDomains") {
            if domains <= 0 {
                errors.invalid(&path.field("minDomains"), domains, "must be greater than zero");
            } else if constraint.text("whenUnsatisfiable") != "DoNotSchedule" {
                let wrong = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway";
                errors.invalid(&path.field("minDomains"), domains, wrong);
            }
        }
        let pair = (constraint.text("topologyKey"), constraint.text("whenUnsatisfiable"));
        if !seen.insert(pair) {
            errors.duplicate(&path.field("{topologyKey, whenUnsatisfiable}"), format!("{{{}, {}}}", pair.0, pair.1));
        }
        if let Some(wanted) = constraint.at("labelSelector") {
            selector::validate(wanted, &path.field("labelSelector"), errors);
        }
    }
}

fn security(spec: &Value, path: &Path, errors: &mut Errors) {
    let path = path.field("securityContext");
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        identity(spec.at("securityContext").and_then(|all| all.get(field)), &path.field(field), errors);
    }
    for (at, group) in spec.list("securityContext.supplementalGroups").iter().enumerate() {
        identity(Some(group), &path.field("supplementalGroups").index(at), errors);
    }
    let mut seen = BTreeSet::new();
    for (at, sysctl) in spec.list("securityContext.sysctls").iter().enumerate() {
        if !sysctl.text("name").is_empty() && !seen.insert(sysctl.text("name")) {
            errors.duplicate(&path.field("sysctls").index(at).field("name"), sysctl.text("name"));
        }
    }
}

/// Checks the number of a user or a group.
pub fn identity(value: Option<&Value>, path: &Path, errors: &mut Errors) {
    let rule = |number: i64| {
        (!(0..=i64::from(i32::MAX)).contains(&number)).then(|| "must be between 0 and 2147483647, inclusive".to_owned())
    };
    syntax::check_number(value, path, rule, errors);
}
