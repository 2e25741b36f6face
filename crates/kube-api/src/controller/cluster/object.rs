//! One object, and its place in the store.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::index::{self, Spec};
use crate::object::encoding::bare;

/// The key of an object in the store: `/GROUP/RESOURCE/NAMESPACE/NAME`, with `core` for the empty group and an empty namespace for what
/// belongs to the cluster. It orders as the store does, and clones for nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef(Arc<str>);

impl ObjectRef {
    /// The object of kind `T`. `namespace` is empty for kinds that belong to the cluster.
    pub fn of<T: Resource>(namespace: &str, name: &str) -> Self {
        ObjectRef(format!("{}{namespace}/{name}", prefix::<T>()).into())
    }

    /// The object that the store keeps under `key`; `None` if that is not of the form above.
    pub fn parse(key: &str) -> Option<Self> {
        (key.starts_with('/') && key.split('/').count() == 5).then(|| ObjectRef(key.into()))
    }

    /// The key in the store.
    pub fn key(&self) -> &str {
        &self.0
    }

    /// `core` for the empty group.
    pub fn group(&self) -> &str {
        self.part(1)
    }

    /// The plural name of the kind.
    pub fn resource(&self) -> &str {
        self.part(2)
    }

    /// Empty for an object of the cluster.
    pub fn namespace(&self) -> &str {
        self.part(3)
    }

    /// The object's own name.
    pub fn name(&self) -> &str {
        self.part(4)
    }

    /// Whether the object is of kind `T`.
    pub fn is<T: Resource>(&self) -> bool {
        self.0.starts_with(&prefix::<T>())
    }

    fn part(&self, number: usize) -> &str {
        self.0.split('/').nth(number).unwrap_or_default()
    }
}

impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn prefix<T: Resource>() -> String {
    format!("/{}/{}/", if T::GROUP.is_empty() { "core" } else { T::GROUP }, T::URL_PATH_SEGMENT)
}

/// One object at one revision.
pub struct Object {
    /// Its place in the store.
    pub reference: ObjectRef,
    /// As written in the object.
    pub api_version: String,
    /// As written in the object.
    pub kind: String,
    /// With `resourceVersion` set to the revision.
    pub meta: ObjectMeta,
    /// The entries of the index that something in `spec` gives it: pods by node, Services by selector, address and port.
    pub(super) found_by: Vec<String>,
    value: Bytes,
    typed: OnceLock<Option<Box<dyn Any + Send + Sync>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Option<Spec>,
}

impl Object {
    /// Reads an object as the store keeps it.
    pub(super) fn read(reference: ObjectRef, revision: u64, value: Bytes) -> serde_json::Result<Self> {
        let mut head: Head = serde_json::from_slice(&bare(&value))?;
        head.metadata.resource_version = Some(revision.to_string());
        let found_by = head.spec.map(|spec| index::found_by(&reference, &spec)).unwrap_or_default();
        Ok(Object {
            reference,
            api_version: head.api_version,
            kind: head.kind,
            meta: head.metadata,
            found_by,
            value,
            typed: OnceLock::new(),
        })
    }

    /// The object as `T`, parsed when first asked for, without `managedFields`: they are half of it, no controller looks at them, and who
    /// writes an object without them leaves them as they are. `None` if it is of another kind or does not parse: what is malformed is seen by
    /// no controller, so that it harms itself only.
    pub fn typed<T>(&self) -> Option<&T>
    where
        T: Resource + k8s_openapi::Metadata<Ty = ObjectMeta> + DeserializeOwned + Send + Sync + 'static,
    {
        if !self.reference.is::<T>() {
            return None;
        }
        let parsed = self.typed.get_or_init(|| {
            let mut object: T = serde_json::from_slice(&bare(&self.value)).ok()?;
            object.metadata_mut().resource_version = self.meta.resource_version.clone();
            Some(Box::new(object) as Box<dyn Any + Send + Sync>)
        });
        parsed.as_ref()?.downcast_ref()
    }

    /// The object as JSON, with its `resourceVersion`.
    pub fn json(&self) -> Option<serde_json::Value> {
        let mut value: serde_json::Value = serde_json::from_slice(&self.value).ok()?;
        value.get_mut("metadata")?.as_object_mut()?.insert("resourceVersion".into(), self.version().into());
        Some(value)
    }

    /// The uid, empty if it has none.
    pub fn uid(&self) -> &str {
        self.meta.uid.as_deref().unwrap_or_default()
    }

    /// The resourceVersion.
    pub fn version(&self) -> &str {
        self.meta.resource_version.as_deref().unwrap_or_default()
    }

    /// Everybody who owns it.
    pub fn owners(&self) -> &[OwnerReference] {
        self.meta.owner_references.as_deref().unwrap_or_default()
    }

    /// The one owner that steers it.
    pub fn controlled_by(&self) -> Option<&OwnerReference> {
        self.owners().iter().find(|owner| owner.controller == Some(true))
    }

    /// Whether its deletion has begun.
    pub fn deleting(&self) -> bool {
        self.meta.deletion_timestamp.is_some()
    }

    /// Whether `name` holds up its deletion.
    pub fn has_finalizer(&self, name: &str) -> bool {
        self.meta.finalizers.iter().flatten().any(|finalizer| finalizer == name)
    }
}
