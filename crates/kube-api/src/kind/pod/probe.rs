//! Validation of probes and of what is done at moments of a container's life.

use serde_json::Value;

use crate::{
    kind::{Errors, Path, syntax},
    object::Look,
};

/// Finds what is wrong with a probe; `kind` is the name of its field.
pub fn validate(probe: &Value, kind: &str, path: &Path, errors: &mut Errors) {
    action(probe, &["exec", "grpc", "httpGet", "tcpSocket"], path, errors);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        syntax::check_number(probe.at(field), &path.field(field), syntax::not_negative, errors);
    }
    let threshold = probe.int("successThreshold").unwrap_or(1);
    if kind != "readinessProbe" && threshold != 1 {
        errors.invalid(&path.field("successThreshold"), threshold, "must be 1");
    }
    if let Some(seconds) = probe.int("terminationGracePeriodSeconds") {
        let path = path.field("terminationGracePeriodSeconds");
        if kind == "readinessProbe" {
            errors.invalid(&path, seconds, "must not be set for readinessProbes");
        } else if seconds <= 0 {
            errors.invalid(&path, seconds, "must be greater than 0");
        }
    }
}

/// Finds what is wrong with an action: one of these.
pub fn action(action: &Value, kinds: &[&str], path: &Path, errors: &mut Errors) {
    let given: Vec<&str> = kinds.iter().copied().filter(|kind| action.at(kind).is_some()).collect();
    if given.is_empty() {
        errors.required(path, "must specify a handler type");
    }
    for (at, kind) in given.iter().enumerate() {
        let path = path.field(kind);
        if at > 0 {
            errors.forbidden(&path, "may not specify more than 1 handler type");
            continue;
        }
        let told = action.at(kind).cloned().unwrap_or_default();
        match *kind {
            "exec" if told.list("command").is_empty() => errors.required(&path.field("command"), ""),
            "httpGet" => http(&told, &path, errors),
            "tcpSocket" => syntax::check_port(told.at("port"), &path.field("port"), errors),
            "grpc" => {
                let port = told.int("port").unwrap_or_default();
                if let Some(wrong) = syntax::port_number(port) {
                    errors.invalid(&path.field("port"), port, wrong);
                }
            }
            _ => {}
        }
    }
}

fn http(get: &Value, path: &Path, errors: &mut Errors) {
    if get.text("path").is_empty() {
        errors.required(&path.field("path"), "");
    }
    syntax::check_port(get.at("port"), &path.field("port"), errors);
    for (at, header) in get.list("httpHeaders").iter().enumerate() {
        let name = header.text("name");
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            let wrong = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
            errors.invalid(&path.field("httpHeaders").index(at).field("name"), name, wrong);
        }
    }
}
