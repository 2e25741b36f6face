//! The requests of the registry protocol, with the token that each needs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Method, Response, StatusCode, header};
use serde::Deserialize;

use super::Credentials;
use super::auth::{self, Challenge};
use super::endpoint::{Endpoint, EndpointKind, RegistrySettings};
use super::error::RegistryError;
use super::transport::{Call, Payload, Transport};
use crate::image::digest::Digest;
use crate::image::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use crate::image::reference::Reference;

const MANIFEST_MAX_LEN: usize = 4 << 20;
const CONFIG_MAX_LEN: usize = 16 << 20;
const TOKEN_MAX_LEN: usize = 1 << 20;
const ERROR_MAX_LEN: usize = 64 << 10;
const ERROR_SHOWN_LEN: usize = 300;
const DIGEST_HEADER: &str = "docker-content-digest";

/// What will be done, which decides the token's scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    Login,
    Pull(Reference),
    /// And the paths of repositories on the same registry to mount layers from.
    Push(Reference, Vec<String>),
}

/// A conversation with one registry about one repository.
pub(crate) struct Registry {
    transport: Transport,
    /// Host and port, for messages.
    pub(crate) name: String,
    /// `http://127.0.0.1:5000`.
    base: String,
    access: Access,
    credentials: Option<Credentials>,
    authorization: tokio::sync::Mutex<Option<String>>,
    pub(crate) stall_timeout: Duration,
}

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
struct Answer {
    #[serde(default)]
    errors: Vec<AnswerError>,
}

#[derive(Deserialize)]
struct AnswerError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct TagList {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Registry {
    /// Finds out which base answers. A mirror gets no credentials.
    pub(crate) async fn connect(
        endpoint: &Endpoint,
        credentials: Option<&Credentials>,
        access: Access,
        settings: &RegistrySettings,
    ) -> Result<Registry, RegistryError> {
        let is_origin = endpoint.kind == EndpointKind::Origin;
        let mut registry = Registry {
            transport: Transport::new(endpoint, settings)?,
            name: endpoint.name.clone(),
            base: endpoint.bases.first().cloned().unwrap_or_default(),
            access,
            credentials: credentials.filter(|credentials| is_origin && !credentials.is_empty()).cloned(),
            authorization: tokio::sync::Mutex::default(),
            stall_timeout: settings.stall_timeout,
        };
        if endpoint.bases.len() > 1 {
            let mut last_error = None;
            for base in &endpoint.bases {
                let call = Call::get(format!("{base}/v2/"), "connecting");
                match registry.transport.call(&call, None).await {
                    Ok(_) => {
                        registry.base = base.clone();
                        return Ok(registry);
                    }
                    Err(error) => last_error = Some(error),
                }
            }
            return Err(last_error.unwrap_or(registry.unexpected(0, "connecting", "no address")));
        }
        Ok(registry)
    }

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

    pub(crate) fn wrong_len(&self, what: &str, expected: u64, found: u64) -> RegistryError {
        RegistryError::Lied {
            registry: self.name.clone(),
            what: what.to_owned(),
            expected: format!("{expected} bytes"),
            found: format!("{found} bytes"),
        }
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

    fn url(&self, rest: &str) -> String {
        let path = match &self.access {
            Access::Login => "",
            Access::Pull(reference) | Access::Push(reference, _) => reference.path(),
        };
        format!("{}/v2/{path}/{rest}", self.base)
    }

    /// Makes a call; where the registry asks who we are, answers and makes it again.
    async fn send(&self, call: &Call) -> Result<Response<Incoming>, RegistryError> {
        let authorization = self.authorization.lock().await.clone();
        // An upload may be on another host, which must not see who we are.
        let ours = call.url.strip_prefix(&self.base).is_some_and(|rest| rest.starts_with('/'));
        let response = self.transport.call(call, authorization.as_deref().filter(|_| ours)).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !ours {
            return Ok(response);
        }
        let headers = response.headers().get_all(header::WWW_AUTHENTICATE);
        let Some(challenge) = auth::challenge(headers.iter().filter_map(|value| value.to_str().ok())) else {
            return Ok(response);
        };
        let Some(fresh) = self.authorize(challenge).await? else {
            return Ok(response);
        };
        *self.authorization.lock().await = Some(fresh.clone());
        self.transport.call(call, Some(&fresh)).await
    }

    /// The `Authorization` header that meets a challenge; `None` where we have nothing to show.
    async fn authorize(&self, challenge: Challenge) -> Result<Option<String>, RegistryError> {
        match (challenge, &self.credentials) {
            (Challenge::Basic, credentials) => Ok(credentials.as_ref().map(auth::basic)),
            (_, Some(credentials)) if !credentials.registry_token.is_empty() => {
                Ok(Some(format!("Bearer {}", credentials.registry_token)))
            }
            (Challenge::Bearer { realm, service }, credentials) => {
                self.fetch_token(&realm, &service, credentials.as_ref()).await.map(Some)
            }
        }
    }

    async fn fetch_token(
        &self,
        realm: &str,
        service: &str,
        credentials: Option<&Credentials>,
    ) -> Result<String, RegistryError> {
        if self.base.starts_with("https:") && !realm.starts_with("https:") {
            let reason = "tokens are not fetched without encryption for a registry that has it";
            return Err(RegistryError::Redirect { registry: self.name.clone(), location: realm.to_owned(), reason });
        }
        let scopes = self.scopes();
        let account = credentials.map_or("", |credentials| credentials.username.as_str());
        let mut call = Call::get(auth::token_url(realm, service, &scopes, account), "fetching a token");
        let mut authorization = None;
        match credentials {
            Some(credentials) if !credentials.identity_token.is_empty() => {
                call.url = realm.to_owned();
                call.method = Method::POST;
                call.headers = vec![(header::CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned())];
                call.payload = Payload::Bytes(auth::refresh_form(service, &scopes, &credentials.identity_token).into());
            }
            Some(credentials) => authorization = Some(auth::basic(credentials)),
            None => {}
        }
        let response = self.transport.call(&call, authorization.as_deref()).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if credentials.is_some() => {
                let reason = self.words(response, &call.doing).await?;
                return Err(RegistryError::Unauthorized { registry: self.name.clone(), reason });
            }
            _ => return Err(self.failure(response, &call.doing).await),
        }
        let bytes = self.transport.read(response, TOKEN_MAX_LEN, &call.doing).await?;
        let answer: Option<auth::TokenAnswer> = serde_json::from_slice(&bytes).ok();
        let token = answer.and_then(auth::TokenAnswer::into_token);
        token.map(|token| format!("Bearer {token}")).ok_or_else(|| self.unexpected(200, &call.doing, "no token in it"))
    }

    fn scopes(&self) -> Vec<String> {
        match &self.access {
            Access::Login => Vec::new(),
            Access::Pull(reference) => vec![format!("repository:{}:pull", reference.path())],
            Access::Push(reference, mounts) => {
                let own = format!("repository:{}:pull,push", reference.path());
                [own].into_iter().chain(mounts.iter().map(|path| format!("repository:{path}:pull"))).collect()
            }
        }
    }

    /// The error that an answer other than the hoped for one means.
    async fn failure(&self, response: Response<Incoming>, doing: &str) -> RegistryError {
        let status = response.status();
        let (action, reference) = match &self.access {
            Access::Login => ("login", None),
            Access::Pull(reference) => ("pull", Some(reference)),
            Access::Push(reference, _) => ("push", Some(reference)),
        };
        match (status, reference) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Some(reference)) => {
                RegistryError::Denied { action, repository: reference.familiar_name() }
            }
            (StatusCode::NOT_FOUND, Some(reference)) if action == "pull" => {
                RegistryError::NotFound(reference.familiar())
            }
            _ => match self.words(response, doing).await {
                Ok(words) => self.unexpected(status.as_u16(), doing, &words),
                Err(error) => error,
            },
        }
    }

    /// What the registry said, shortened.
    async fn words(&self, response: Response<Incoming>, doing: &str) -> Result<String, RegistryError> {
        let bytes = self.transport.read(response, ERROR_MAX_LEN, doing).await?;
        let answer: Option<Answer> = serde_json::from_slice(&bytes).ok();
        let words = match answer.filter(|answer| !answer.errors.is_empty()) {
            Some(answer) => answer
                .errors
                .iter()
                .map(|e| format!("{}: {}", e.code.to_lowercase(), e.message))
                .collect::<Vec<_>>()
                .join("; "),
            None => String::from_utf8_lossy(&bytes).trim().to_owned(),
        };
        let printable = words.chars().map(|c| if c.is_control() { ' ' } else { c });
        Ok(printable.take(ERROR_SHOWN_LEN).collect())
    }

    fn unexpected(&self, status: u16, doing: &str, body: &str) -> RegistryError {
        RegistryError::Answer { registry: self.name.clone(), status, doing: doing.to_owned(), body: body.to_owned() }
    }
}

impl Call {
    fn get(url: String, doing: &str) -> Call {
        Call { method: Method::GET, url, headers: Vec::new(), payload: Payload::Nothing, doing: doing.to_owned() }
    }
}
