//! What is said to etcd's JSON gateway and what it says. Keys and values are base64, whole numbers are text, and what is zero is left out.
//! Source: etcd's `api-grpc-gateway` documentation and `rpc.proto`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Value, json};

use crate::objects::{Expect, Revision, Stored};

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// All keys that begin with the prefix: it, and the first key after them.
pub fn range_of(prefix: &str) -> (String, String) {
    let mut end = prefix.as_bytes().to_vec();
    // A prefix is text, and text has no byte 0xff.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    (base64(prefix.as_bytes()), base64(&end))
}

/// A write with its condition. What is there otherwise comes with the answer.
pub fn transaction(key: &str, expect: Expect, value: Option<&[u8]>) -> Value {
    let key = base64(key.as_bytes());
    let compare = |target: &str, result: &str, field: &str, revision: u64| json!({ "key": key, "target": target, "result": result, field: revision.to_string() });
    let absent = compare("CREATE", "EQUAL", "create_revision", 0);
    let present = compare("CREATE", "GREATER", "create_revision", 0);
    let conditions = match (expect, value) {
        (Expect::Absent, Some(_)) => vec![absent],
        // It must not be there, and yet be deleted: never done.
        (Expect::Absent, None) => vec![absent, present],
        (Expect::At(Revision(revision)), _) => vec![compare("MOD", "EQUAL", "mod_revision", revision)],
        (Expect::Any, Some(_)) => vec![],
        (Expect::Any, None) => vec![present],
    };
    let write = match value {
        Some(value) => json!({ "request_put": { "key": key, "value": base64(value), "prev_kv": true } }),
        None => json!({ "request_delete_range": { "key": key, "prev_kv": true } }),
    };
    json!({ "compare": conditions, "success": [write], "failure": [{ "request_range": { "key": key } }] })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Header {
    #[serde(deserialize_with = "number")]
    pub revision: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct KeyValue {
    #[serde(deserialize_with = "text")]
    pub key: String,
    #[serde(deserialize_with = "number")]
    pub create_revision: u64,
    #[serde(deserialize_with = "number")]
    pub mod_revision: u64,
    #[serde(deserialize_with = "bytes")]
    pub value: Bytes,
}

impl KeyValue {
    pub fn stored(&self) -> Stored {
        Stored {
            created: Revision(self.create_revision),
            modified: Revision(self.mod_revision),
            value: self.value.clone(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Range {
    pub header: Header,
    pub kvs: Vec<KeyValue>,
    pub more: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Transaction {
    pub header: Header,
    pub succeeded: bool,
    pub responses: Vec<Response>,
}

impl Transaction {
    /// What was there before a write that was done.
    pub fn before(&self) -> Option<Stored> {
        let response = self.responses.first()?;
        let put = response.response_put.as_ref().and_then(|put| put.prev_kv.as_ref());
        let deleted = response.response_delete_range.as_ref().and_then(|deleted| deleted.prev_kvs.first());
        put.or(deleted).map(KeyValue::stored)
    }

    /// What is there, when it was not done.
    pub fn current(&self) -> Option<Stored> {
        self.responses.first()?.response_range.as_ref()?.kvs.first().map(KeyValue::stored)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Response {
    response_put: Option<Put>,
    response_delete_range: Option<Deleted>,
    response_range: Option<Range>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Put {
    prev_kv: Option<KeyValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Deleted {
    prev_kvs: Vec<KeyValue>,
}

/// A line of a watch.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Line {
    pub result: Option<Watched>,
    pub error: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Watched {
    pub header: Header,
    pub created: bool,
    pub canceled: bool,
    #[serde(deserialize_with = "number")]
    pub compact_revision: u64,
    pub cancel_reason: String,
    pub events: Vec<Happened>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Happened {
    #[serde(rename = "type")]
    pub kind: String,
    pub kv: KeyValue,
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => text.parse().map_err(D::Error::custom),
        other => other.as_u64().ok_or_else(|| D::Error::custom("not a whole number")),
    }
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    STANDARD.decode(String::deserialize(deserializer)?).map(Bytes::from).map_err(D::Error::custom)
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let bytes = bytes(deserializer)?;
    // One that is not text is nobody's of ours, and is told apart by its prefix.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
