//! `Mount`: a file system of a container, as `HostConfig.Mounts` has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::null_default;

/// A file system of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Mount {
    #[serde(rename = "Type", deserialize_with = "null_default")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub(crate) source: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) target: String,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) read_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bind_options: Option<BindOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) volume_options: Option<VolumeOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tmpfs_options: Option<TmpfsOptions>,
}

/// More about a bind mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct BindOptions {
    #[serde(deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub(crate) propagation: String,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) non_recursive: bool,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) create_mountpoint: bool,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) read_only_non_recursive: bool,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) read_only_force_recursive: bool,
}

/// More about a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct VolumeOptions {
    #[serde(deserialize_with = "null_default", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_copy: bool,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) driver_config: Option<DriverConfig>,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub(crate) subpath: String,
}

/// A driver with its options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct DriverConfig {
    #[serde(deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) options: BTreeMap<String, String>,
}

/// More about a tmpfs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct TmpfsOptions {
    #[serde(deserialize_with = "null_default")]
    pub(crate) size_bytes: i64,
    #[serde(deserialize_with = "null_default")]
    pub(crate) mode: u32,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) options: Vec<Vec<String>>,
}
