//! A registry of one image on loopback that does what a test tells it, lies included.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use runtime::image::Digest;
use tokio::net::TcpListener;

/// What a test saw of a request.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Path and query.
    pub path: String,
    pub authorization: Option<String>,
    pub range: Option<String>,
}

/// What a test answers.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub ending: Ending,
}

/// What comes after the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its end.
    Proper,
    /// Nothing, for ever.
    Stalls,
    /// A broken connection.
    Breaks,
    /// No answer at all: the connection is closed.
    Instead,
}

pub fn ok(body: impl Into<Vec<u8>>) -> Answer {
    Answer { status: 200, headers: Vec::new(), body: body.into(), ending: Ending::Proper }
}

pub fn status(status: u16, headers: &[(&'static str, &str)]) -> Answer {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Answer { status, headers, body: Vec::new(), ending: Ending::Proper }
}

/// A server that runs as long as it is held.
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), seen.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, log) = (answer.clone(), log.clone());
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let seen = look(&request);
                    log.lock().expect("no panic").push(seen.clone());
                    let response = respond(answer(&seen));
                    async move { response }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Server { address, seen, task }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn look(request: &Request<Incoming>) -> Seen {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Seen { path: request.uri().to_string(), authorization: header("authorization"), range: header("range") }
}

fn respond(answer: Answer) -> std::io::Result<Response<UnsyncBoxBody<Bytes, std::io::Error>>> {
    let first = stream::iter([Ok(Frame::data(Bytes::from(answer.body)))]);
    let rest = match answer.ending {
        Ending::Proper => stream::empty().boxed(),
        Ending::Stalls => stream::pending().boxed(),
        Ending::Breaks => stream::iter([Err(std::io::Error::other("broken on purpose"))]).boxed(),
        Ending::Instead => return Err(std::io::Error::other("closed on purpose")),
    };
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    Ok(response.body(UnsyncBoxBody::new(StreamBody::new(first.chain(rest)))).expect("valid"))
}

/// An image of one layer as registries keep it.
#[derive(Clone)]
pub struct Fixture {
    pub layer: Vec<u8>,
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
    pub media_type: &'static str,
}

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

impl Fixture {
    /// A layer with one file, gzip.
    pub fn new() -> Fixture {
        let tar = layer_tar();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).expect("memory");
        Fixture::of(gzip.finish().expect("memory"), "gzip", &Digest::of(&tar), "amd64")
    }

    /// The same as zstd.
    pub fn zstd() -> Fixture {
        let tar = layer_tar();
        Fixture::of(zstd::encode_all(tar.as_slice(), 1).expect("memory"), "zstd", &Digest::of(&tar), "amd64")
    }

    /// Any bytes as the layer, whatever they are said to unpack to.
    pub fn of(layer: Vec<u8>, compression: &str, diff_id: &Digest, architecture: &str) -> Fixture {
        let config = serde_json::json!({
            "architecture": architecture, "os": "linux", "config": {"Cmd": ["/x"]},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        });
        let config = config.to_string().into_bytes();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": describe("application/vnd.oci.image.config.v1+json", &config),
            "layers": [describe(&format!("application/vnd.oci.image.layer.v1.tar+{compression}"), &layer)],
        });
        Fixture { layer, config, manifest: manifest.to_string().into_bytes(), media_type: OCI_MANIFEST }
    }

    /// The same as Docker's own tools push it (Image Manifest Version 2, Schema 2).
    pub fn in_dockers_types(&self) -> Fixture {
        let manifest = String::from_utf8(self.manifest.clone()).expect("JSON");
        let manifest = manifest
            .replace(OCI_MANIFEST, DOCKER_MANIFEST)
            .replace("oci.image.config.v1+json", "docker.container.image.v1+json")
            .replace("oci.image.layer.v1.tar+gzip", "docker.image.rootfs.diff.tar.gzip");
        Fixture { manifest: manifest.into_bytes(), media_type: DOCKER_MANIFEST, ..self.clone() }
    }

    /// What an honest registry answers.
    pub fn answer(&self, seen: &Seen) -> Answer {
        let blob = |bytes: &[u8]| seen.path.ends_with(Digest::of(bytes).as_str());
        if seen.path == "/v2/" {
            ok("{}")
        } else if seen.path.contains("/manifests/") {
            Answer { headers: vec![("content-type", self.media_type.to_owned())], ..ok(self.manifest.clone()) }
        } else if blob(&self.layer) {
            ok(self.layer.clone())
        } else if blob(&self.config) {
            ok(self.config.clone())
        } else {
            status(404, &[])
        }
    }

    pub fn is_layer(&self, seen: &Seen) -> bool {
        seen.path.ends_with(Digest::of(&self.layer).as_str())
    }
}

pub fn describe(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    serde_json::json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

fn layer_tar() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let content = b"hello".repeat(10_000);
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "hello", content.as_slice()).expect("memory");
    builder.into_inner().expect("memory")
}
