//! The requests of the registry protocol: manifests, blobs, uploads, tags.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Method, StatusCode, header};
use serde::Deserialize;

use super::auth;
use super::error::RegistryError;
use super::session::Registry;
use super::transport::{Call, Payload};
use crate::image::digest::Digest;
use crate::image::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};

const MANIFEST_MAX_LEN: usize = 4 << 20;
const CONFIG_MAX_LEN: usize = 16 << 20;
const DIGEST_HEADER: &str = "docker-content-digest";

/// A manifest or index as it came.
pub(crate) struct Fetched {
    pub(crate) bytes: Vec<u8>,
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
}

/// A blob on its way.
pub(crate) struct Blob {
    pub(crate) body: Incoming,
    /// Where in the blob the body begins.
    pub(crate) offset: u64,
    /// Bytes of the body, if the registry says.
    pub(crate) len: Option<u64>,
}

/// What became of the wish to upload.
pub(crate) enum Uploading {
    /// The registry took the blob from another repository.
    Mounted,
    /// Send it here.
    To(String),
}

#[derive(Deserialize)]
struct TagList {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Registry {
    /// Whether the registry is one and lets us in.
    pub(crate) async fn ping(&self) -> Result<(), RegistryError> {
        let call = Call::get(format!("{}/v2/", self.base), "logging in");
        let response = self.send(&call).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RegistryError::Unauthorized {
                registry: self.name.clone(),
                reason: self.words(response, &call.doing).await?,
            }),
            _ => Err(self.failure(response, &call.doing).await),
        }
    }

    /// The manifest under a tag or digest, its digest computed here and compared with all that was promised.
    pub(crate) async fn manifest(&self, reference: &str) -> Result<Fetched, RegistryError> {
        let mut call = Call::get(self.url(&format!("manifests/{reference}")), "pulling the manifest");
        let accept = [DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX];
        call.headers = accept.map(|media_type| (header::ACCEPT, media_type.to_owned())).to_vec();
        let response = self.send(&call).await?;
        if response.status() != StatusCode::OK {
            return Err(self.failure(response, &call.doing).await);
        }
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let media_type = header("content-type").unwrap_or_default();
        let promised: Option<Digest> = header(DIGEST_HEADER).and_then(|digest| digest.parse().ok());
        let bytes = self.transport.read(response, MANIFEST_MAX_LEN, &call.doing).await?;
        let digest = Digest::of(&bytes);
        let asked: Option<Digest> = reference.parse().ok();
        match asked.or(promised) {
            Some(expected) if expected != digest => {
                Err(RegistryError::wrong_digest(&self.name, "manifest", &expected, &digest))
            }
            _ => Ok(Fetched { bytes, media_type, digest }),
        }
    }

    /// A small blob, verified.
    pub(crate) async fn config(&self, digest: &Digest, len: u64) -> Result<Vec<u8>, RegistryError> {
        let call = Call::get(self.url(&format!("blobs/{digest}")), "pulling the configuration");
        let response = self.send(&call).await?;
        if response.status() != StatusCode::OK {
            return Err(self.failure(response, &call.doing).await);
        }
        let bytes = self.transport.read(response, CONFIG_MAX_LEN, &call.doing).await?;
        if bytes.len() as u64 != len {
            return Err(self.wrong_len("configuration size", len, bytes.len() as u64));
        }
        match Digest::of(&bytes) {
            found if found == *digest => Ok(bytes),
            found => Err(RegistryError::wrong_digest(&self.name, "configuration", digest, &found)),
        }
    }

    /// A large blob from this offset on; a registry that cannot begin there begins at 0. Not verified.
    pub(crate) async fn blob(&self, digest: &Digest, offset: u64) -> Result<Blob, RegistryError> {
        let doing = format!("pulling layer {}", digest.short());
        let mut call = Call::get(self.url(&format!("blobs/{digest}")), &doing);
        if offset > 0 {
            call.headers.push((header::RANGE, format!("bytes={offset}-")));
        }
        let response = self.send(&call).await?;
        let length = response.headers().get(header::CONTENT_LENGTH);
        let len = length.and_then(|value| value.to_str().ok()).and_then(|value| value.parse().ok());
        match response.status() {
            StatusCode::OK => Ok(Blob { body: response.into_body(), offset: 0, len }),
            StatusCode::PARTIAL_CONTENT => Ok(Blob { body: response.into_body(), offset, len }),
            _ => Err(self.failure(response, &doing).await),
        }
    }

    /// The size of a blob that the repository has.
    pub(crate) async fn blob_len(&self, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        let mut call = Call::get(self.url(&format!("blobs/{digest}")), "asking for a layer");
        call.method = Method::HEAD;
        let response = self.send(&call).await?;
        let length = response.headers().get(header::CONTENT_LENGTH);
        let len = length.and_then(|value| value.to_str().ok()).and_then(|value| value.parse().ok());
        match response.status() {
            StatusCode::OK => Ok(len),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.failure(response, &call.doing).await),
        }
    }

    /// Asks to upload a blob, or to take it from another repository of the registry.
    pub(crate) async fn begin_upload(&self, mount: Option<(&Digest, &str)>) -> Result<Uploading, RegistryError> {
        let query = mount.map(|(digest, from)| format!("?mount={digest}&from={}", auth::percent_encode(from)));
        let url = self.url("blobs/uploads/") + &query.unwrap_or_default();
        let mut call = Call::get(url, "beginning an upload");
        call.method = Method::POST;
        call.payload = Payload::Bytes(Bytes::new());
        let response = self.send(&call).await?;
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        match (response.status(), location) {
            (StatusCode::CREATED, _) if mount.is_some() => Ok(Uploading::Mounted),
            (StatusCode::ACCEPTED, Some(location)) => Ok(Uploading::To(self.transport.resolve(&call.url, location)?)),
            _ => Err(self.failure(response, &call.doing).await),
        }
    }

    /// Uploads a file that has this digest.
    pub(crate) async fn upload_file(
        &self,
        location: &str,
        digest: &Digest,
        file: (PathBuf, u64),
        tell: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<(), RegistryError> {
        self.upload(location, digest, Payload::File(file.0, file.1, tell)).await
    }

    /// Uploads bytes that have this digest.
    pub(crate) async fn upload_bytes(
        &self,
        location: &str,
        digest: &Digest,
        bytes: Vec<u8>,
    ) -> Result<(), RegistryError> {
        self.upload(location, digest, Payload::Bytes(bytes.into())).await
    }

    /// Puts a manifest under a tag.
    pub(crate) async fn put_manifest(
        &self,
        tag: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::of(&bytes);
        let mut call = Call::get(self.url(&format!("manifests/{tag}")), "pushing the manifest");
        call.method = Method::PUT;
        call.headers = vec![(header::CONTENT_TYPE, media_type.to_owned())];
        call.payload = Payload::Bytes(bytes.into());
        let response = self.send(&call).await?;
        if response.status() != StatusCode::CREATED {
            return Err(self.failure(response, &call.doing).await);
        }
        let promised = response.headers().get(DIGEST_HEADER).and_then(|value| value.to_str().ok());
        match promised.and_then(|promised| promised.parse::<Digest>().ok()) {
            Some(found) if found != digest => {
                Err(RegistryError::wrong_digest(&self.name, "answer about the manifest", &digest, &found))
            }
            _ => Ok(digest),
        }
    }

    /// The tags of the repository.
    pub(crate) async fn tags(&self) -> Result<Vec<String>, RegistryError> {
        let call = Call::get(self.url("tags/list"), "listing tags");
        let response = self.send(&call).await?;
        if response.status() != StatusCode::OK {
            return Err(self.failure(response, &call.doing).await);
        }
        let bytes = self.transport.read(response, MANIFEST_MAX_LEN, &call.doing).await?;
        let list: TagList =
            serde_json::from_slice(&bytes).map_err(|error| self.unexpected(200, &call.doing, &error.to_string()))?;
        Ok(list.tags.unwrap_or_default())
    }

    async fn upload(&self, location: &str, digest: &Digest, payload: Payload) -> Result<(), RegistryError> {
        let separator = if location.contains('?') { '&' } else { '?' };
        let doing = format!("pushing layer {}", digest.short());
        let mut call =
            Call::get(format!("{location}{separator}digest={}", auth::percent_encode(digest.as_str())), &doing);
        call.method = Method::PUT;
        call.headers = vec![(header::CONTENT_TYPE, "application/octet-stream".to_owned())];
        call.payload = payload;
        let response = self.send(&call).await?;
        match response.status() {
            StatusCode::CREATED => Ok(()),
            _ => Err(self.failure(response, &doing).await),
        }
    }
}
