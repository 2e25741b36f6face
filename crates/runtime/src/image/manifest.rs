//! Manifests and indexes: which blobs make an image (OCI image spec `manifest.md`, `image-index.md`; Docker image
//! manifest version 2, schema 2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::error::ImageError;
use super::platform::Platform;

pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(crate) const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Where an archive keeps the name of an image, in full and as a tag alone.
pub(crate) const ANNOTATION_NAME: &str = "io.containerd.image.name";
pub(crate) const ANNOTATION_REF: &str = "org.opencontainers.image.ref.name";

/// A blob by what it is, its digest and its size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// Images for several platforms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageIndex {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) manifests: Vec<Descriptor>,
}

/// What a registry or archive has under a name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(ImageIndex),
}

impl Document {
    /// Reads a manifest or index. The document's own word counts, then `media_type` from outside, then its shape; a
    /// document that is both is refused (CVE-2021-41190).
    pub(crate) fn parse(bytes: &[u8], media_type: &str) -> Result<Document, ImageError> {
        let bad = |reason: &str| ImageError::format("the manifest cannot be used", reason);
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| bad(&e.to_string()))?;
        if value.get("fsLayers").is_some() || value.get("schemaVersion").and_then(|v| v.as_u64()) == Some(1) {
            return Err(bad(
                "Docker Image Format v1 and manifest version 2, schema 1 are no longer supported; ask the author to push it again with a newer client",
            ));
        }
        if value.get("manifests").is_some() && (value.get("layers").is_some() || value.get("config").is_some()) {
            return Err(bad("it claims to be an index and an image at once"));
        }
        let own = value.get("mediaType").and_then(|v| v.as_str()).unwrap_or(media_type).to_owned();
        let shape = if value.get("manifests").is_some() { OCI_INDEX } else { OCI_MANIFEST };
        let parsed = match own.split(';').next().unwrap_or_default().trim() {
            DOCKER_LIST | OCI_INDEX => serde_json::from_value(value).map(Document::Index),
            DOCKER_MANIFEST | OCI_MANIFEST => serde_json::from_value(value).map(Document::Manifest),
            "" | "application/json" if shape == OCI_INDEX => serde_json::from_value(value).map(Document::Index),
            "" | "application/json" => serde_json::from_value(value).map(Document::Manifest),
            other => return Err(bad(&format!("media type {other:?} is not an image"))),
        };
        parsed.map_err(|e| bad(&e.to_string()))
    }
}

impl ImageIndex {
    /// The image for this platform: the first that fits.
    pub(crate) fn choose(&self, platform: &Platform) -> Option<&Descriptor> {
        let mut candidates = self.manifests.iter();
        candidates.find(|image| image.platform.as_ref().is_some_and(|found| platform.accepts(found)))
    }
}

/// Fails on layers that no registry layer can be: attestations, charts, programs. Compression is told by the bytes.
pub(crate) fn check_layer_type(media_type: &str) -> Result<(), ImageError> {
    let known = ["application/vnd.docker.image.rootfs.", "application/vnd.oci.image.layer."];
    if known.iter().any(|prefix| media_type.starts_with(prefix)) && !media_type.contains("encrypted") {
        return Ok(());
    }
    Err(ImageError::format("this is not a container image", format!("a layer has media type {media_type:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_apart() {
        let digest = Digest::of(b"");
        let blob = format!(r#"{{"mediaType":"x","digest":"{digest}","size":0}}"#);
        let image = format!(r#""schemaVersion":2,"config":{blob},"layers":[{blob}]"#);
        let index = format!(r#""schemaVersion":2,"manifests":[{blob}]"#);
        let check = |json: &str, media_type: &str, expected: Option<bool>| {
            let found = Document::parse(json.as_bytes(), media_type).ok().map(|d| matches!(d, Document::Index(_)));
            assert_eq!(found, expected, "{json} {media_type}");
        };
        check(&format!("{{{image}}}"), "", Some(false));
        check(&format!("{{{image}}}"), OCI_MANIFEST, Some(false));
        check(&format!("{{{index}}}"), DOCKER_LIST, Some(true));
        check(&format!("{{{index}}}"), "", Some(true));
        check(&format!("{{{index}}}"), "application/json; charset=utf-8", Some(true));
        check(&format!("{{{index},{image}}}"), "", None);
        check(&format!(r#"{{"mediaType":"application/x",{image}}}"#), OCI_MANIFEST, None);
        check(r#"{"schemaVersion":1,"fsLayers":[]}"#, DOCKER_MANIFEST, None);
        check("[]", OCI_MANIFEST, None);
        check("{", OCI_MANIFEST, None);
    }
}
