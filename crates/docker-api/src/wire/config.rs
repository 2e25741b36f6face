//! `Config`: what runs in a container, as it is sent and shown.

use std::collections::BTreeMap;

use runtime::image::{Healthcheck, Present};
use serde::{Deserialize, Serialize};

use super::{null_default, port::ExposedPorts, words};

/// What runs in a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Config {
    #[serde(deserialize_with = "null_default")]
    pub(crate) hostname: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) domainname: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) user: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) attach_stdin: bool,
    #[serde(deserialize_with = "null_default")]
    pub(crate) attach_stdout: bool,
    #[serde(deserialize_with = "null_default")]
    pub(crate) attach_stderr: bool,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "ExposedPorts::is_empty")]
    pub(crate) exposed_ports: ExposedPorts,
    #[serde(deserialize_with = "null_default")]
    pub(crate) tty: bool,
    #[serde(deserialize_with = "null_default")]
    pub(crate) open_stdin: bool,
    #[serde(deserialize_with = "null_default")]
    pub(crate) stdin_once: bool,
    #[serde(deserialize_with = "null_default")]
    pub(crate) env: Vec<String>,
    #[serde(deserialize_with = "words")]
    pub(crate) cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) healthcheck: Option<Healthcheck>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) image: String,
    pub(crate) volumes: Option<BTreeMap<String, Present>>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) working_dir: String,
    #[serde(deserialize_with = "words")]
    pub(crate) entrypoint: Option<Vec<String>>,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) network_disabled: bool,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub(crate) mac_address: String,
    pub(crate) on_build: Option<Vec<String>>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub(crate) stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_timeout: Option<i64>,
    #[serde(deserialize_with = "words", skip_serializing_if = "Option::is_none")]
    pub(crate) shell: Option<Vec<String>>,
}
