//! The crates depend only downward, and the pure ones on nothing that has a clock or a socket.

use std::process::Command;

use serde_json::Value;

/// Top to bottom: a crate may use those below it.
const ORDER: &[&str] = &[
    "linkspan",
    "docker-api",
    "kube-api",
    "kube-agent",
    "engine",
    "runtime",
    "proxy",
    "kernel",
    "sim",
    "store",
    "plan",
    "netstate",
    "model",
];

/// What the pure crates may use from outside.
const PURE: &[&str] = &["imbl", "ipnet", "serde", "serde_json", "thiserror"];

#[test]
fn crates_depend_only_downward() {
    let packages = packages();
    let names: Vec<_> = packages.iter().map(|(name, _)| name.as_str()).collect();
    for name in ORDER {
        assert!(names.contains(name), "{name} is not in the workspace");
    }
    for (name, dependencies) in &packages {
        let Some(place) = ORDER.iter().position(|n| n == name) else {
            assert!(matches!(name.as_str(), "conformance" | "xtask"), "{name} has no place in the order");
            continue;
        };
        for dependency in dependencies {
            let below = ORDER.iter().position(|n| n == dependency).is_none_or(|other| other > place);
            assert!(below, "{name} must not depend on {dependency}, which is above it");
        }
    }
}

#[test]
fn the_core_is_pure() {
    for (name, dependencies) in
        packages().iter().filter(|(name, _)| ["model", "netstate", "plan"].contains(&name.as_str()))
    {
        for dependency in dependencies {
            let pure = PURE.contains(&dependency.as_str()) || ORDER.contains(&dependency.as_str());
            assert!(pure, "{name} must not depend on {dependency}");
        }
    }
    let pair = |a: &str, b: &str| packages().iter().any(|(name, uses)| name == a && uses.iter().any(|d| d == b));
    assert!(!pair("model", "netstate") && !pair("netstate", "model"), "model and netstate do not know each other");
}

/// The workspace's packages with their normal dependencies.
fn packages() -> Vec<(String, Vec<String>)> {
    let cargo =
        Command::new(env!("CARGO")).args(["metadata", "--no-deps", "--format-version=1"]).output().expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&cargo.stdout).expect("cargo metadata is JSON");
    let package = |package: &Value| {
        let dependencies = package["dependencies"].as_array()?.iter();
        let normal = dependencies.filter(|d| d["kind"].is_null()).filter_map(|d| Some(d["name"].as_str()?.to_owned()));
        Some((package["name"].as_str()?.to_owned(), normal.collect()))
    };
    metadata["packages"].as_array().expect("packages").iter().filter_map(package).collect()
}
