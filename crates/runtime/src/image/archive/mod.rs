//! Images as files: `docker save` and OCI layouts, and bare root filesystems.

mod import;
mod load;
mod save;
mod spool;

use std::io::Read;

pub use import::ImportRequest;
pub use load::Loaded;
use serde::{Deserialize, Serialize};

/// A stream that blocking work reads.
pub type Source = Box<dyn Read + Send>;

const MANIFEST_JSON: &str = "manifest.json";
const INDEX_JSON: &str = "index.json";
const OCI_LAYOUT: &str = "oci-layout";

/// One image of `manifest.json`, the list at the root of a `docker save` archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

fn blob_path(digest: &super::digest::Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
