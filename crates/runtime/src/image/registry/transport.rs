//! HTTP to a registry: TLS, redirects, and the patience with one that stalls.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::AsyncReadExt;

use super::connect::Connector;
use super::endpoint::{Endpoint, RegistrySettings, Verify};
use super::error::RegistryError;
use super::proxy::Proxies;

type Body = UnsyncBoxBody<Bytes, io::Error>;

const REDIRECTS_MAX: usize = 5;
const USER_AGENT: &str = concat!("linkspan/", env!("CARGO_PKG_VERSION"));
const CHUNK_LEN: usize = 64 << 10;

/// One request that can be made again.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: Vec<(header::HeaderName, String)>,
    pub(super) payload: Payload,
    /// What is under way, for messages: `pulling the manifest of x`.
    pub(super) doing: String,
}

/// What a request carries.
#[derive(Clone)]
pub(super) enum Payload {
    Nothing,
    Bytes(Bytes),
    /// A file, its length, and who is told how much of it went.
    File(PathBuf, u64, Arc<dyn Fn(u64) + Send + Sync>),
}

/// A connection pool to one registry.
pub(super) struct Transport {
    client: Client<HttpsConnector<Connector>, Body>,
    proxies: Proxies,
    registry: String,
    stall_timeout: Duration,
}

/// A request without an answer.
struct Failed {
    why: Why,
    error: RegistryError,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The connection was closed before the first byte of an answer.
    Closed,
    Other,
}

impl Why {
    fn of(error: &(dyn std::error::Error + 'static)) -> Why {
        match error.downcast_ref::<hyper::Error>() {
            Some(error) if error.is_incomplete_message() || error.is_closed() => Why::Closed,
            _ => error.source().map_or(Why::Other, Why::of),
        }
    }
}

impl From<RegistryError> for Failed {
    fn from(error: RegistryError) -> Failed {
        Failed { why: Why::Other, error }
    }
}

impl Transport {
    pub(super) fn new(endpoint: &Endpoint, settings: &RegistrySettings) -> Result<Transport, RegistryError> {
        let tls = tls_config(endpoint, settings)
            .map_err(|reason| RegistryError::Unreachable { registry: endpoint.name.clone(), reason })?;
        let tcp = Connector::new(&settings.proxies, settings.stall_timeout);
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        Ok(Transport {
            client: Client::builder(TokioExecutor::new()).build(connector),
            proxies: settings.proxies.clone(),
            registry: endpoint.name.clone(),
            stall_timeout: settings.stall_timeout,
        })
    }

    /// Makes a request and follows redirects of reads. `authorization` goes only to the origin of the first URL.
    pub(super) async fn call(
        &self,
        call: &Call,
        authorization: Option<&str>,
    ) -> Result<Response<Incoming>, RegistryError> {
        let origin = self.parse(&call.url)?;
        let mut url = origin.clone();
        for _ in 0..=REDIRECTS_MAX {
            let authorization = authorization.filter(|_| same_origin(&url, &origin));
            let is_read = matches!(call.method, Method::GET | Method::HEAD);
            let response = match self.once(call, &url, authorization).await {
                // The other side was about to close a connection that was kept for more: a new one is tried (RFC 9112 section 9.3.1).
                Err(Failed { why: Why::Closed, .. }) if is_read => self.once(call, &url, authorization).await,
                response => response,
            };
            let response = response.map_err(|failed| failed.error)?;
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            match location {
                Some(location) if is_read && response.status().is_redirection() => {
                    url = self.redirect(&url, location)?;
                }
                _ => return Ok(response),
            }
        }
        Err(self.refuse_redirect(&url.to_string(), "too many redirects in a row"))
    }

    /// Reads a whole small answer.
    pub(super) async fn read(
        &self,
        response: Response<Incoming>,
        max_len: usize,
        doing: &str,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = read_frame(&mut body, &self.registry, self.stall_timeout, doing).await? {
            bytes.extend_from_slice(&frame);
            if bytes.len() > max_len {
                return Err(RegistryError::Lied {
                    registry: self.registry.clone(),
                    what: format!("amount of bytes while {doing}"),
                    expected: format!("at most {max_len}"),
                    found: "more".to_owned(),
                });
            }
        }
        Ok(bytes)
    }

    /// Resolves the `Location` of an answer.
    pub(super) fn resolve(&self, base: &str, location: &str) -> Result<String, RegistryError> {
        Ok(self.redirect(&self.parse(base)?, location)?.to_string())
    }

    async fn once(&self, call: &Call, url: &Uri, authorization: Option<&str>) -> Result<Response<Incoming>, Failed> {
        let sent = Arc::new(AtomicU64::new(0));
        let mut request = Request::builder().method(&call.method).uri(url).header(header::USER_AGENT, USER_AGENT);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        // A tunnel has its own; what is not encrypted is read by the proxy itself.
        if url.scheme_str() == Some("http")
            && let Ok(Some(proxy)) = self.proxies.of(url)
            && let Some(authorization) = proxy.authorization
        {
            request = request.header(header::PROXY_AUTHORIZATION, authorization);
        }
        if let Payload::File(_, len, _) = &call.payload {
            request = request.header(header::CONTENT_LENGTH, *len);
        }
        let body = call.payload.body(sent.clone()).await.map_err(|e| self.unreachable(&e))?;
        let request = request.body(body).map_err(|e| self.unreachable(&e))?;
        let mut answer = std::pin::pin!(self.client.request(request));
        let mut sent_before = 0;
        loop {
            match tokio::time::timeout(self.stall_timeout, &mut answer).await {
                Ok(answer) => {
                    return answer.map_err(|e| Failed { why: Why::of(&e), error: self.unreachable(&e) });
                }
                // An upload that moves is no stall, however long the answer takes.
                Err(_) if sent.load(Ordering::Relaxed) > sent_before => sent_before = sent.load(Ordering::Relaxed),
                Err(_) => return Err(stalled(&self.registry, self.stall_timeout, &call.doing).into()),
            }
        }
    }

    fn redirect(&self, from: &Uri, location: &str) -> Result<Uri, RegistryError> {
        let absolute = if location.starts_with("//") {
            format!("{}:{location}", from.scheme_str().unwrap_or("https"))
        } else if location.starts_with('/') {
            let authority = from.authority().map_or("", |authority| authority.as_str());
            format!("{}://{authority}{location}", from.scheme_str().unwrap_or("https"))
        } else {
            location.to_owned()
        };
        let to = self.parse(&absolute)?;
        match (from.scheme_str(), to.scheme_str()) {
            (Some("https"), Some("http")) => Err(self.refuse_redirect(location, "it leads from HTTPS to plain HTTP")),
            (_, Some("http" | "https")) => Ok(to),
            _ => Err(self.refuse_redirect(location, "it is not an HTTP address")),
        }
    }

    fn parse(&self, url: &str) -> Result<Uri, RegistryError> {
        let uri = url.parse::<Uri>().ok().filter(|uri| uri.authority().is_some());
        uri.ok_or_else(|| self.refuse_redirect(url, "it is not an HTTP address"))
    }

    fn refuse_redirect(&self, location: &str, reason: &'static str) -> RegistryError {
        RegistryError::Redirect { registry: self.registry.clone(), location: location.to_owned(), reason }
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> RegistryError {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        if reason.contains("InvalidContentType") {
            reason.push_str(
                "; the server does not speak TLS: if it is meant to be plain HTTP, list it as an insecure registry",
            );
        } else if reason.contains("UnknownIssuer") {
            reason.push_str("; its certificate is signed by nobody known here: add the authority, or list it as an insecure registry");
        }
        RegistryError::Unreachable { registry: self.registry.clone(), reason }
    }
}

/// The next bytes of a body; `None` at its end.
pub(crate) async fn read_frame(
    body: &mut Incoming,
    registry: &str,
    stall_timeout: Duration,
    doing: &str,
) -> Result<Option<Bytes>, RegistryError> {
    loop {
        let frame = tokio::time::timeout(stall_timeout, body.frame()).await;
        match frame.map_err(|_| stalled(registry, stall_timeout, doing))? {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
            Some(Err(error)) => {
                let reason = format!("the connection broke while {doing}: {error}");
                return Err(RegistryError::Unreachable { registry: registry.to_owned(), reason });
            }
        }
    }
}

impl Payload {
    async fn body(&self, sent: Arc<AtomicU64>) -> io::Result<Body> {
        match self {
            Payload::Nothing => Ok(Empty::new().map_err(io::Error::other).boxed_unsync()),
            Payload::Bytes(bytes) => Ok(Full::new(bytes.clone()).map_err(io::Error::other).boxed_unsync()),
            Payload::File(path, _, tell) => {
                let state = (tokio::fs::File::open(path).await?, tell.clone(), sent);
                let frames = futures_util::stream::try_unfold(state, |(mut file, tell, sent)| async move {
                    let mut chunk = vec![0; CHUNK_LEN];
                    let n = file.read(&mut chunk).await?;
                    if n == 0 {
                        return Ok::<_, io::Error>(None);
                    }
                    chunk.truncate(n);
                    let total = sent.fetch_add(n as u64, Ordering::Relaxed) + n as u64;
                    tell(total);
                    Ok(Some((Frame::data(Bytes::from(chunk)), (file, tell, sent))))
                });
                Ok(StreamBody::new(frames).boxed_unsync())
            }
        }
    }
}

fn stalled(registry: &str, stall_timeout: Duration, doing: &str) -> RegistryError {
    RegistryError::Stalled { registry: registry.to_owned(), doing: doing.to_owned(), seconds: stall_timeout.as_secs() }
}

fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
    a.scheme_str() == b.scheme_str() && a.host() == b.host() && port(a) == port(b)
}

fn tls_config(endpoint: &Endpoint, settings: &RegistrySettings) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    if endpoint.verify == Verify::Never {
        let verifier = Arc::new(AnyCertificate(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(extra_authorities(&settings.certs_dir.join(&endpoint.name)));
    if roots.is_empty() && endpoint.bases.iter().all(|base| base.starts_with("https:")) {
        return Err("this machine has no certificate authorities: install ca-certificates".to_owned());
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn extra_authorities(directory: &std::path::Path) -> Vec<CertificateDer<'static>> {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "crt"))
        .filter_map(|path| CertificateDer::pem_file_iter(path).ok())
        .flat_map(|certificates| certificates.flatten().collect::<Vec<_>>())
        .collect()
}

/// For registries the operator listed as insecure, and loopback: encrypted, but to whom is not asked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
