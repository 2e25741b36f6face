//! Validation of a pod's volumes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::variable;
use crate::{
    kind::{Errors, Path, syntax},
    object::Look,
};

/// Finds what is wrong with volumes; returns their names.
pub fn validate<'a>(volumes: &'a [Value], path: &Path, errors: &mut Errors) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (at, volume) in volumes.iter().enumerate() {
        let path = path.index(at);
        let name = volume.text("name");
        if !name.is_empty() {
            syntax::check(volume.at("name"), &path.field("name"), syntax::label, errors);
            if !names.insert(name) {
                errors.duplicate(&path.field("name"), name);
            }
        }
        let sources = volume.as_object().into_iter().flatten().filter(|(field, _)| *field != "name");
        let mut first = true;
        for (kind, told) in sources {
            if first {
                source(kind, told, &path.field(kind), errors);
            } else {
                errors.forbidden(&path.field(kind), "may not specify more than 1 volume type");
            }
            first = false;
        }
        if first {
            errors.required(&path, "must specify a volume type");
        }
    }
    names
}

/// Checks a path within a volume: relative, and not upward.
pub fn inner_path(text: &str, path: &Path, errors: &mut Errors) {
    if text.starts_with('/') {
        errors.invalid(path, text, "must be a relative path");
    }
    if text.split('/').any(|part| part == "..") {
        errors.invalid(path, text, "must not contain '..'");
    }
}

fn source(kind: &str, told: &Value, path: &Path, errors: &mut Errors) {
    match kind {
        "emptyDir" => {
            let medium = told.text("medium");
            if !matches!(medium, "" | "Memory" | "HugePages") && !medium.starts_with("HugePages-") {
                errors.not_supported(&path.field("medium"), medium, &["", "HugePages", "Memory"]);
            }
        }
        "hostPath" => {
            let known =
                ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
            if told.text("path").split('/').any(|part| part == "..") {
                errors.invalid(&path.field("path"), told.text("path"), "must not contain '..'");
            }
            if !known.contains(&told.text("type")) {
                errors.not_supported(&path.field("type"), told.text("type"), &known);
            }
        }
        "configMap" => keys(told, "name", path, errors),
        "secret" => keys(told, "secretName", path, errors),
        "downwardAPI" => downward(told, path, errors),
        "projected" => {
            for (at, source) in told.list("sources").iter().enumerate() {
                projected(source, &path.field("sources").index(at), errors);
            }
            permissions(told.at("defaultMode"), &path.field("defaultMode"), errors);
        }
        "gitRepo" => errors.forbidden(path, "gitRepo volumes are not supported any more"),
        _ => {}
    }
}

fn projected(source: &Value, path: &Path, errors: &mut Errors) {
    for (at, (kind, told)) in source.as_object().into_iter().flatten().enumerate() {
        let path = path.field(kind);
        if at > 0 {
            errors.forbidden(&path, "may not specify more than 1 volume type per source");
            continue;
        }
        match kind.as_str() {
            "configMap" | "secret" => keys(told, "name", &path, errors),
            "downwardAPI" => downward(told, &path, errors),
            "serviceAccountToken" => {
                let seconds = told.int("expirationSeconds").unwrap_or(3600);
                if seconds < 600 {
                    let wrong = "may not specify a duration less than 10 minutes";
                    errors.invalid(&path.field("expirationSeconds"), seconds, wrong);
                }
                inner_path(told.text("path"), &path.field("path"), errors);
            }
            _ => {}
        }
    }
}

fn keys(told: &Value, name: &str, path: &Path, errors: &mut Errors) {
    if told.text(name).is_empty() {
        errors.required(&path.field(name), "");
    }
    permissions(told.at("defaultMode"), &path.field("defaultMode"), errors);
    for (at, item) in told.list("items").iter().enumerate() {
        let path = path.field("items").index(at);
        inner_path(item.text("path"), &path.field("path"), errors);
        permissions(item.at("mode"), &path.field("mode"), errors);
    }
}

fn downward(told: &Value, path: &Path, errors: &mut Errors) {
    let known = ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
    permissions(told.at("defaultMode"), &path.field("defaultMode"), errors);
    for (at, item) in told.list("items").iter().enumerate() {
        let path = path.field("items").index(at);
        inner_path(item.text("path"), &path.field("path"), errors);
        match (item.at("fieldRef"), item.at("resourceFieldRef")) {
            (Some(_), Some(_)) => {
                errors.invalid(&path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
            }
            (None, None) => {
                errors.required(&path.field("fieldRef"), "one of fieldRef and resourceFieldRef is required")
            }
            (Some(reference), None) => variable::field(reference, &known, &path.field("fieldRef"), errors),
            (None, Some(reference)) if reference.text("containerName").is_empty() => {
                errors.required(&path.field("resourceFieldRef.containerName"), "");
            }
            (None, Some(_)) => {}
        }
        permissions(item.at("mode"), &path.field("mode"), errors);
    }
}

fn permissions(mode: Option<&Value>, path: &Path, errors: &mut Errors) {
    let rule = |mode: i64| {
        let wrong = "must be a number between 0 and 0777 (octal), both inclusive";
        (!(0..=0o777).contains(&mode)).then(|| wrong.to_owned())
    };
    syntax::check_number(mode, path, rule, errors);
}
