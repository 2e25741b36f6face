//! How endpoints are spread over EndpointSlices with the least change: an endpoint stays in the slice it is in, a slice that changes anyway
//! takes in new ones first, and one that is no longer needed becomes the next that is.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::change::{ObjectChange, delete, json};

/// The most endpoints in one slice.
const CAPACITY: usize = 100;

/// Endpoints of one family that have the same ports.
#[derive(Debug, Clone)]
pub struct Group {
    /// IPv4 or IPv6.
    pub address_type: String,
    /// By name.
    pub ports: Vec<EndpointPort>,
    /// In a steady order.
    pub endpoints: Vec<Endpoint>,
}

/// What all slices of one service have alike.
#[derive(Debug, Clone)]
pub struct Frame {
    pub name: String,
    pub namespace: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub owner: OwnerReference,
}

/// A slice as it is to be, and what there is of it.
struct Draft<'a> {
    before: Option<&'a EndpointSlice>,
    address_type: &'a str,
    ports: &'a [EndpointPort],
    endpoints: Vec<Endpoint>,
}

/// The changes that make of the existing slices the ones that are wanted.
pub fn arrange(frame: &Frame, existing: &[&EndpointSlice], groups: &[Group]) -> Vec<ObjectChange> {
    let mut unused: Vec<_> = existing.to_vec();
    let mut drafts = Vec::new();
    for group in groups {
        let (same, other) = unused.into_iter().partition(|slice| belongs(slice, group));
        unused = other;
        fill(group, same, &mut drafts, &mut unused);
    }
    for draft in drafts.iter_mut().filter(|draft| draft.before.is_none()) {
        let reusable = unused.iter().position(|slice| slice.address_type == draft.address_type);
        draft.before = reusable.map(|index| unused.remove(index));
    }
    let written = drafts.iter().filter_map(|draft| write(frame, draft));
    written.chain(unused.iter().map(|slice| delete::<EndpointSlice>(&slice.metadata))).collect()
}

fn belongs(slice: &EndpointSlice, group: &Group) -> bool {
    slice.address_type == group.address_type && slice.ports.as_deref().unwrap_or_default() == group.ports
}

fn fill<'a>(
    group: &'a Group,
    same: Vec<&'a EndpointSlice>,
    drafts: &mut Vec<Draft<'a>>,
    unused: &mut Vec<&'a EndpointSlice>,
) {
    let mut wanted: BTreeMap<_, &Endpoint> =
        group.endpoints.iter().map(|endpoint| (identity(endpoint), endpoint)).collect();
    let mut kept: Vec<(Draft<'a>, bool)> = Vec::new();
    for slice in same {
        let before = slice.endpoints.as_deref().unwrap_or_default();
        let endpoints: Vec<Endpoint> =
            before.iter().filter_map(|endpoint| wanted.remove(&identity(endpoint)).cloned()).collect();
        let changed = endpoints != before;
        let draft = Draft { before: Some(slice), address_type: &group.address_type, ports: &group.ports, endpoints };
        kept.push((draft, changed));
    }
    // In the order in which they were given, not that of their identities.
    let mut new = group.endpoints.iter().filter(|endpoint| wanted.contains_key(&identity(endpoint))).cloned();
    let mut left = wanted.len();
    // Slices that are written anyway, the fullest first; then the one that the rest fits best; then new ones.
    kept.sort_by_key(|(draft, changed)| (!changed, usize::MAX - draft.endpoints.len()));
    for (draft, changed) in &mut kept {
        let room = CAPACITY.saturating_sub(draft.endpoints.len());
        if *changed || (left > 0 && room >= left) {
            let taken: Vec<_> = new.by_ref().take(room).collect();
            left -= taken.len();
            draft.endpoints.extend(taken);
        }
    }
    for (draft, _) in kept {
        match draft.before {
            Some(slice) if draft.endpoints.is_empty() && !group.endpoints.is_empty() => unused.push(slice),
            _ => drafts.push(draft),
        }
    }
    while left > 0 {
        let endpoints: Vec<_> = new.by_ref().take(CAPACITY).collect();
        left -= endpoints.len();
        drafts.push(Draft { before: None, address_type: &group.address_type, ports: &group.ports, endpoints });
    }
    let none = !drafts.iter().any(|draft| draft.address_type == group.address_type && draft.ports == group.ports);
    if none {
        let (address_type, ports) = (&group.address_type, &group.ports);
        drafts.push(Draft { before: None, address_type, ports, endpoints: Vec::new() });
    }
}

/// What makes two endpoints the same one, whatever its conditions.
fn identity(endpoint: &Endpoint) -> (&[String], Option<&str>) {
    (&endpoint.addresses, endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref()))
}

fn write(frame: &Frame, draft: &Draft<'_>) -> Option<ObjectChange> {
    let mut slice = draft.before.cloned().unwrap_or_else(|| EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", frame.name)),
            namespace: frame.namespace.clone(),
            owner_references: Some(vec![frame.owner.clone()]),
            ..ObjectMeta::default()
        },
        ..EndpointSlice::default()
    });
    slice.metadata.labels = Some(frame.labels.clone());
    slice.metadata.annotations = Some(frame.annotations.clone()).filter(|annotations| !annotations.is_empty());
    slice.address_type = draft.address_type.into();
    slice.ports = Some(draft.ports.to_vec()).filter(|ports| !ports.is_empty());
    slice.endpoints = Some(draft.endpoints.clone()).filter(|endpoints| !endpoints.is_empty());
    match draft.before {
        None => Some(ObjectChange::Create(json(&slice))),
        Some(before) if same(before, &slice) => None,
        Some(_) => Some(ObjectChange::Update(json(&slice))),
    }
}

/// An empty list and none are alike.
fn same(a: &EndpointSlice, b: &EndpointSlice) -> bool {
    a.metadata.labels == b.metadata.labels
        && a.metadata.annotations.iter().flatten().eq(b.metadata.annotations.iter().flatten())
        && a.address_type == b.address_type
        && a.ports.iter().flatten().eq(b.ports.iter().flatten())
        && a.endpoints.iter().flatten().eq(b.endpoints.iter().flatten())
}
