//! `POST /volumes/create`: what a client asks for, as a volume of the model.

use std::collections::BTreeMap;

use model::{Volume, volume::Naming};
use serde::Deserialize;

use crate::ApiError;

/// The options of the local driver.
const OPTIONS: [&str; 4] = ["type", "o", "device", "size"];
/// Options that mean nothing without others.
const NEEDED: [(&str, &str); 4] = [("device", "type"), ("type", "device"), ("o", "device"), ("o", "type")];

/// The body of the request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Request {
    name: Option<String>,
    driver: Option<String>,
    driver_opts: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
    cluster_volume_spec: Option<serde_json::Value>,
}

/// The volume that is asked for; without a name it is called `fresh`.
pub(super) fn volume(request: Request, fresh: String, now_ms: i64) -> Result<Volume, ApiError> {
    if request.cluster_volume_spec.is_some() {
        return Err(crate::system::no_swarm());
    }
    let (name, naming) = match request.name.filter(|name| !name.is_empty()) {
        Some(name) => (name, Naming::Named),
        None => (fresh, Naming::Anonymous),
    };
    let driver = request.driver.unwrap_or_default();
    if !matches!(driver.as_str(), "" | "local") {
        return Err(ApiError::not_found(format!(
            "create {name}: error looking up volume plugin {driver}: plugin \"{driver}\" not found"
        )));
    }
    check_name(&name)?;
    let options = request.driver_opts.unwrap_or_default();
    check_options(&options)?;
    Ok(Volume { name, created_ms: now_ms, naming, options, labels: request.labels.unwrap_or_default() })
}

fn check_name(name: &str) -> Result<(), ApiError> {
    if name.len() < 2 {
        return Err(ApiError::invalid(
            "volume name is too short, names should be at least two alphanumeric characters",
        ));
    }
    // It becomes a directory.
    if name.len() > 255 {
        return Err(ApiError::invalid("volume name is too long, names should be at most 255 characters"));
    }
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if first && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')) {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "{name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you \
         intended to pass a host directory, use absolute path"
    )))
}

fn check_options(options: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if let Some(unknown) = options.keys().find(|option| !OPTIONS.contains(&option.as_str())) {
        return Err(ApiError::invalid(format!("invalid option: {unknown:?}")));
    }
    if options.contains_key("size") {
        return Err(ApiError::invalid("quota size requested but no quota support"));
    }
    let lacks = |(option, needed): &&(&str, &str)| options.contains_key(*option) && !options.contains_key(*needed);
    match NEEDED.iter().find(lacks) {
        Some((_, needed)) => Err(ApiError::invalid(format!("missing required option: {needed:?}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(request: Value, expected: Result<Value, &str>) {
        let found = volume(serde_json::from_value(request.clone()).unwrap(), "fresh".repeat(2), 7);
        let found = found.map(|volume| serde_json::to_value(volume).unwrap()).map_err(|error| error.message);
        assert_eq!(found, expected.map_err(str::to_owned), "{request}");
    }

    #[test]
    fn volumes_are_asked_for() {
        let plain = |name: &str, naming: &str| json!({"name": name, "created_ms": 7, "naming": naming, "options": {}, "labels": {}});
        check(json!({}), Ok(plain("freshfresh", "Anonymous")));
        check(
            json!({"Name": "", "Driver": null, "DriverOpts": null, "Labels": null}),
            Ok(plain("freshfresh", "Anonymous")),
        );
        check(json!({"Name": "db-1_x.y", "Driver": "local"}), Ok(plain("db-1_x.y", "Named")));
        check(
            json!({"Name": "db", "DriverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}, "Labels": {"a": "b"}}),
            Ok(json!({
                "name": "db", "created_ms": 7, "naming": "Named", "labels": {"a": "b"},
                "options": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"},
            })),
        );
    }

    #[test]
    fn nonsense_is_refused() {
        check(
            json!({"Name": "a"}),
            Err("volume name is too short, names should be at least two alphanumeric characters"),
        );
        check(json!({"Name": "a".repeat(256)}), Err("volume name is too long, names should be at most 255 characters"));
        for name in ["a/b", "../x", ".x", "-x", "a b", "ä1"] {
            let words = format!(
                "{name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. \
                 If you intended to pass a host directory, use absolute path"
            );
            check(json!({ "Name": name }), Err(&words));
        }
        check(
            json!({"Name": "db", "Driver": "nfs.x"}),
            Err("create db: error looking up volume plugin nfs.x: plugin \"nfs.x\" not found"),
        );
        check(json!({"Name": "db", "DriverOpts": {"x": "y"}}), Err("invalid option: \"x\""));
        check(json!({"Name": "db", "DriverOpts": {"size": "1g"}}), Err("quota size requested but no quota support"));
        check(json!({"Name": "db", "DriverOpts": {"device": "/x"}}), Err("missing required option: \"type\""));
        check(json!({"Name": "db", "DriverOpts": {"o": "bind"}}), Err("missing required option: \"device\""));
    }
}
