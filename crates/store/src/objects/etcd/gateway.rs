//! The way to etcd: its JSON gateway over HTTP, at whichever endpoint answers.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, header::CONTENT_TYPE};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Credentials,
    wire::{Line, Watched},
};
use crate::objects::ObjectsError;

const CONNECTING: Duration = Duration::from_secs(2);
const ANSWERING: Duration = Duration::from_secs(5);
/// After this long without a word, the kernel asks whether the other end is there.
const SILENCE: Duration = Duration::from_secs(10);

/// What may be asked again when it was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// A read, and what changes nothing when it is done twice.
    Always,
    /// A write: only if it did not leave.
    UnlessSent,
}

/// The way to etcd.
#[derive(Debug)]
pub struct Gateway {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoints: Vec<String>,
    /// The one that answered last.
    current: AtomicUsize,
}

impl Gateway {
    /// Endpoints are as `http://127.0.0.1:2379`; there is at least one.
    pub fn new(endpoints: Vec<String>, credentials: Option<&Credentials>) -> Result<Self, String> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECTING));
        http.set_keepalive(Some(SILENCE));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(credentials)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, endpoints, current: AtomicUsize::new(0) })
    }

    /// Asks, at each endpoint in turn until one answers.
    pub async fn call<T: DeserializeOwned>(&self, path: &str, body: &Value, again: Again) -> Result<T, ObjectsError> {
        let answer = async |response: Response<Incoming>| {
            let bytes = response.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>(bytes)
        };
        let mut outcome = None;
        for _ in 0..self.endpoints.len() {
            let (place, endpoint) = self.endpoint();
            let asked = async {
                let response = self.send(&endpoint, path, body).await?;
                let status = response.status();
                let bytes = answer(response).await.map_err(|error| unanswered(&endpoint, &error))?;
                if status.is_success() { Ok(bytes) } else { Err(refused(&endpoint, &bytes)) }
            };
            let result = tokio::time::timeout(ANSWERING, asked).await.unwrap_or_else(|_| {
                let what = format!("nothing came for {} seconds", ANSWERING.as_secs());
                Err(ObjectsError::Unanswered { endpoint: endpoint.clone(), what })
            });
            match result {
                Ok(bytes) => {
                    return serde_json::from_slice(&bytes).map_err(|error| ObjectsError::Refused {
                        what: format!("its answer cannot be read: {error}"),
                    });
                }
                Err(error @ ObjectsError::Refused { .. }) => return Err(error),
                Err(error) => {
                    self.move_on(place);
                    let sent = matches!(error, ObjectsError::Unanswered { .. });
                    if sent && again == Again::UnlessSent {
                        return Err(error);
                    }
                    outcome = Some(error);
                }
            }
        }
        Err(outcome.unwrap_or(ObjectsError::Closed))
    }

    /// Begins to watch.
    pub async fn watch(&self, body: &Value) -> Result<Lines, ObjectsError> {
        let (place, endpoint) = self.endpoint();
        let started = tokio::time::timeout(ANSWERING, self.send(&endpoint, "/v3/watch", body)).await;
        let started = started.unwrap_or_else(|_| {
            Err(ObjectsError::Unanswered { endpoint: endpoint.clone(), what: "the watch does not start".to_owned() })
        });
        let response = started.inspect_err(|_| self.move_on(place))?;
        if response.status().is_success() {
            return Ok(Lines { endpoint, body: response.into_body(), read: BytesMut::new() });
        }
        self.move_on(place);
        Err(ObjectsError::Refused { what: format!("watching: {}", response.status()) })
    }

    async fn send(&self, endpoint: &str, path: &str, body: &Value) -> Result<Response<Incoming>, ObjectsError> {
        let request = Request::post(format!("{endpoint}{path}"))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| ObjectsError::Given { given: endpoint.to_owned(), what: error.to_string() })?;
        self.client.request(request).await.map_err(|error| {
            if error.is_connect() {
                ObjectsError::Unreachable { endpoint: endpoint.to_owned(), what: chain(&error) }
            } else {
                unanswered(endpoint, &error)
            }
        })
    }

    fn endpoint(&self) -> (usize, String) {
        let place = self.current.load(Ordering::Relaxed);
        (place, self.endpoints[place % self.endpoints.len()].clone())
    }

    /// The next one shall be asked, unless somebody found that already.
    fn move_on(&self, from: usize) {
        let _ = self.current.compare_exchange(from, from.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// What a watch says, line by line.
#[derive(Debug)]
pub struct Lines {
    endpoint: String,
    body: Incoming,
    read: BytesMut,
}

impl Lines {
    /// The next; an error when the way broke.
    pub async fn next(&mut self) -> Result<Watched, ObjectsError> {
        // What was looked through for the end of the line.
        let mut looked = 0;
        loop {
            if let Some(end) = self.read[looked..].iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(looked + end + 1);
                let line: Line = serde_json::from_slice(&line)
                    .map_err(|error| ObjectsError::Refused { what: format!("its watch cannot be read: {error}") })?;
                return line.result.ok_or_else(|| ObjectsError::Refused {
                    what: format!("watching: {}", line.error.unwrap_or_default()),
                });
            }
            looked = self.read.len();
            match self.body.frame().await {
                Some(Ok(frame)) => self.read.extend(frame.into_data().ok()),
                Some(Err(error)) => return Err(unanswered(&self.endpoint, &error)),
                None => {
                    let what = "the watch ended".to_owned();
                    return Err(ObjectsError::Unanswered { endpoint: self.endpoint.clone(), what });
                }
            }
        }
    }
}

fn tls(credentials: Option<&Credentials>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let authorities = credentials.map_or(&[][..], |credentials| &credentials.authorities_pem);
    for authority in CertificateDer::pem_slice_iter(authorities) {
        let authority = authority.map_err(|error| format!("the authority's certificate cannot be read: {error}"))?;
        roots.add(authority).map_err(|error| format!("the authority's certificate cannot be used: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let Some((certificate, key)) = credentials.and_then(|credentials| credentials.client_pem.as_ref()) else {
        return Ok(config.with_no_client_auth());
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let certificates = certificates.map_err(|error| format!("the client's certificate cannot be read: {error}"))?;
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the client's key cannot be read: {error}"))?;
    config
        .with_client_auth_cert(certificates, key)
        .map_err(|error| format!("the client's certificate and key: {error}"))
}

/// What etcd says instead of an answer. That it has no leader now, another endpoint may not say.
fn refused(endpoint: &str, body: &[u8]) -> ObjectsError {
    /// gRPC's code for what may pass.
    const UNAVAILABLE: u64 = 14;
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let what = body["error"].as_str().unwrap_or("it gives no reason").to_owned();
    if body["code"].as_u64() == Some(UNAVAILABLE) {
        return ObjectsError::Unanswered { endpoint: endpoint.to_owned(), what };
    }
    ObjectsError::Refused { what }
}

fn unanswered(endpoint: &str, error: &dyn Error) -> ObjectsError {
    ObjectsError::Unanswered { endpoint: endpoint.to_owned(), what: chain(error) }
}

fn chain(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        told += &format!(": {error}");
        source = error.source();
    }
    told
}
