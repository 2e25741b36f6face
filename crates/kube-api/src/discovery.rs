//! What the server has: groups, versions and resources, in the classic form and in the aggregated one
//! (`apidiscovery.k8s.io/v2`; the API concepts page, "API discovery").

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::{HeaderMap, header::ACCEPT};
use ring::digest;
use serde::Serialize;
use serde_json::{Value, json};

use crate::kind::{self, Kind, Scope, Verbs};

/// As what discovery is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `APIVersions`, `APIGroupList`, `APIResourceList`.
    Classic,
    /// `APIGroupDiscoveryList` of this version.
    Aggregated(&'static str),
}

impl Form {
    /// What the client takes first.
    pub fn asked(headers: &HeaderMap) -> Self {
        let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        for range in accept.split(',') {
            if range.contains("as=APIGroupDiscoveryList") && range.contains("g=apidiscovery.k8s.io") {
                if range.contains("v=v2beta1") {
                    return Self::Aggregated("v2beta1");
                }
                if range.contains("v=v2") {
                    return Self::Aggregated("v2");
                }
            } else if range.trim_start().starts_with("application/json") || range.trim_start().starts_with("*/*") {
                return Self::Classic;
            }
        }
        Self::Classic
    }

    /// The media type of the answer.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Classic => "application/json",
            Self::Aggregated("v2beta1") => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
            Self::Aggregated(_) => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        }
    }
}

/// The versions of each group, with their kinds.
fn groups() -> BTreeMap<&'static str, BTreeMap<&'static str, Vec<&'static Kind>>> {
    let mut groups: BTreeMap<_, BTreeMap<_, Vec<_>>> = BTreeMap::new();
    for kind in kind::ALL {
        groups.entry(kind.group).or_default().entry(kind.version).or_default().push(*kind);
    }
    groups
}

/// `/api` or `/apis`, aggregated.
pub fn aggregated(version: &str, core: bool) -> Value {
    let of_group = |(group, versions): (&str, BTreeMap<&str, Vec<&Kind>>)| {
        let versions: Vec<Value> = versions
            .into_iter()
            .map(|(version, kinds)| {
                let resources: Vec<Value> = kinds.into_iter().map(described).collect();
                json!({ "version": version, "freshness": "Current", "resources": resources })
            })
            .collect();
        let mut metadata = json!({ "creationTimestamp": null });
        if !group.is_empty() {
            metadata["name"] = group.into();
        }
        json!({ "metadata": metadata, "versions": versions })
    };
    let items: Vec<Value> = groups().into_iter().filter(|(group, _)| group.is_empty() == core).map(of_group).collect();
    json!({ "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items })
}

fn described(kind: &Kind) -> Value {
    let response = |group: &str, version: &str, kind: &str| json!({ "group": group, "version": version, "kind": kind });
    let subresources: Vec<Value> = kind
        .subresources
        .iter()
        .map(|part| {
            json!({
                "subresource": part.name, "responseKind": response(part.group, part.version, part.kind), "verbs": part.verbs.0,
            })
        })
        .collect();
    let mut resource = json!({
        "resource": kind.plural, "responseKind": response(kind.group, kind.version, kind.kind),
        "scope": if kind.scope == Scope::Namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular, "verbs": kind.verbs.0,
    });
    if !kind.short.is_empty() {
        resource["shortNames"] = json!(kind.short);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    if !subresources.is_empty() {
        resource["subresources"] = subresources.into();
    }
    resource
}

/// `/api`, classic.
pub fn versions(server: &str) -> Value {
    json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": server }],
    })
}

/// `/apis`, classic.
pub fn group_list() -> Value {
    let groups: Vec<Value> = groups()
        .into_iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, versions)| described_group(name, versions.keys()))
        .collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/GROUP`, classic.
pub fn group(name: &str) -> Option<Value> {
    let groups = groups();
    let versions = groups.get(name).filter(|_| !name.is_empty())?;
    let mut group = described_group(name, versions.keys());
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Some(group)
}

fn described_group<'v>(name: &str, versions: impl Iterator<Item = &'v &'static str>) -> Value {
    let version = |version: &&str| json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    let versions: Vec<Value> = versions.map(version).collect();
    json!({ "name": name, "preferredVersion": versions.first(), "versions": versions })
}

/// What a version of a group has. Those who look for something in its text find the members in Kubernetes' order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceList {
    kind: &'static str,
    api_version: &'static str,
    group_version: String,
    resources: Vec<Resource>,
}

/// A resource, or a part of its objects.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    name: String,
    singular_name: &'static str,
    namespaced: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    short_names: &'static [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    categories: &'static [&'static str],
    #[serde(skip_serializing_if = "String::is_empty")]
    storage_version_hash: String,
}

/// `/api/v1` or `/apis/GROUP/VERSION`, classic.
pub fn resource_list(group: &str, version: &str) -> Option<ResourceList> {
    let groups = groups();
    let kinds = groups.get(group)?.get(version)?;
    let resources = kinds.iter().flat_map(|kind| std::iter::once(whole(kind)).chain(parts(kind)));
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some(ResourceList { kind: "APIResourceList", api_version: "v1", group_version, resources: resources.collect() })
}

fn whole(kind: &'static Kind) -> Resource {
    Resource {
        name: kind.plural.to_owned(),
        singular_name: kind.singular,
        namespaced: kind.scope == Scope::Namespaced,
        group: "",
        version: "",
        kind: kind.kind,
        verbs: kind.verbs.0,
        short_names: kind.short,
        categories: kind.categories,
        storage_version_hash: if kind.verbs == Verbs::CREATE { String::new() } else { storage_hash(kind) },
    }
}

fn parts(kind: &'static Kind) -> impl Iterator<Item = Resource> {
    kind.subresources.iter().map(move |part| {
        let (group, version) = match (part.group, part.version) {
            own if own == (kind.group, kind.version) => ("", ""),
            other => other,
        };
        let name = format!("{}/{}", kind.plural, part.name);
        Resource {
            name,
            singular_name: "",
            group,
            version,
            kind: part.kind,
            verbs: part.verbs.0,
            short_names: &[],
            categories: &[],
            storage_version_hash: String::new(),
            ..whole(kind)
        }
    })
}

/// Changes when objects of the kind are kept as another version.
fn storage_hash(kind: &Kind) -> String {
    let kept = kind.kept_as();
    let name = format!("{}/{}/{}", kept.group, kept.version, kept.kind);
    BASE64_STANDARD.encode(&digest::digest(&digest::SHA256, name.as_bytes()).as_ref()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_in_kubernetes_order() {
        let text = serde_json::to_string(&resource_list("", "v1").expect("the core group")).expect("JSON");
        let has = |part: &str| assert!(text.contains(part), "no {part} in {text}");
        has(
            r#"{"name":"configmaps","singularName":"configmap","namespaced":true,"kind":"ConfigMap","verbs":["create","delete","deletecollection","get","list","patch","update","watch"],"shortNames":["cm"],"storageVersionHash":"#,
        );
        has(r#""shortNames":["po"],"categories":["all"],"storageVersionHash":"xPOwRZ+Yhw8="}"#);
        has(
            r#"{"name":"pods/eviction","singularName":"","namespaced":true,"group":"policy","version":"v1","kind":"Eviction","verbs":["create"]}"#,
        );
    }
}
