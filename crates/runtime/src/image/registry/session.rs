//! A conversation with one registry about one repository: which address answers, who we are, and what its errors mean.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Response, StatusCode, header};
use serde::Deserialize;

use super::Credentials;
use super::auth::{self, Challenge};
use super::endpoint::{Endpoint, EndpointKind, RegistrySettings};
use super::error::RegistryError;
use super::transport::{Call, Payload, Transport};
use crate::image::reference::Reference;

const TOKEN_MAX_LEN: usize = 1 << 20;
const ERROR_MAX_LEN: usize = 64 << 10;
const ERROR_SHOWN_LEN: usize = 300;

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
    pub(super) transport: Transport,
    /// Host and port, for messages.
    pub(crate) name: String,
    /// `http://127.0.0.1:5000`.
    pub(super) base: String,
    access: Access,
    credentials: Option<Credentials>,
    authorization: tokio::sync::Mutex<Option<String>>,
    pub(crate) stall_timeout: Duration,
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

    pub(crate) fn wrong_len(&self, what: &str, expected: u64, found: u64) -> RegistryError {
        RegistryError::Lied {
            registry: self.name.clone(),
            what: what.to_owned(),
            expected: format!("{expected} bytes"),
            found: format!("{found} bytes"),
        }
    }

    pub(super) fn url(&self, rest: &str) -> String {
        let path = match &self.access {
            Access::Login => "",
            Access::Pull(reference) | Access::Push(reference, _) => reference.path(),
        };
        format!("{}/v2/{path}/{rest}", self.base)
    }

    /// Makes a call; where the registry asks who we are, answers and makes it again.
    pub(super) async fn send(&self, call: &Call) -> Result<Response<Incoming>, RegistryError> {
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
    pub(super) async fn failure(&self, response: Response<Incoming>, doing: &str) -> RegistryError {
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
    pub(super) async fn words(&self, response: Response<Incoming>, doing: &str) -> Result<String, RegistryError> {
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

    pub(super) fn unexpected(&self, status: u16, doing: &str, body: &str) -> RegistryError {
        RegistryError::Answer { registry: self.name.clone(), status, doing: doing.to_owned(), body: body.to_owned() }
    }
}

impl Call {
    pub(super) fn get(url: String, doing: &str) -> Call {
        Call { method: Method::GET, url, headers: Vec::new(), payload: Payload::Nothing, doing: doing.to_owned() }
    }
}
