//! A client of the Kubernetes API: HTTP/1.1 over TLS on a connection of its own, as the admin of a kubeconfig. It waits in the thread that
//! asks, so that what is measured is the server.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::Value;

use crate::run::Result;

/// The longest that one read may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What answers are taken as.
pub const JSON: &str = "application/json";
/// What kubectl asks for when it prints.
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// Where a server is, and who asks.
#[derive(Clone)]
pub struct Api {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

impl Api {
    /// The server and the user of a kubeconfig that is JSON.
    pub fn of_kubeconfig(text: &str) -> Result<Self> {
        let config: Value = serde_json::from_str(text).map_err(|e| format!("the kubeconfig: {e}"))?;
        let (cluster, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
        let url = cluster["server"].as_str().unwrap_or_default();
        let address = url.strip_prefix("https://").and_then(|address| address.parse().ok());
        let pem = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default()).map_err(|e| e.to_string());
        let tls = tls(
            &pem(&cluster["certificate-authority-data"])?,
            &pem(&user["client-certificate-data"])?,
            &pem(&user["client-key-data"])?,
        );
        Ok(Self { address: address.ok_or_else(|| format!("no address in {url:?}"))?, tls: Arc::new(tls?) })
    }

    /// A connection of its own, greeted.
    pub fn connect(&self) -> Result<Connection> {
        let failed = |e: std::io::Error| format!("the Kubernetes API at {}: {e}", self.address);
        let mut tcp = TcpStream::connect(self.address).map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        tcp.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let name = ServerName::from(self.address.ip());
        let mut tls = ClientConnection::new(Arc::clone(&self.tls), name).map_err(|e| e.to_string())?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp).map_err(failed)?;
        }
        Ok(Connection { stream: BufReader::new(StreamOwned::new(tls, tcp)), told: Vec::new() })
    }
}

fn tls(authority: &[u8], certificate: &[u8], key: &[u8]) -> Result<ClientConfig> {
    let chain = |pem| CertificateDer::pem_slice_iter(pem).collect::<std::result::Result<Vec<_>, _>>();
    let mut roots = RootCertStore::empty();
    for certificate in chain(authority).map_err(|e| e.to_string())? {
        roots.add(certificate).map_err(|e| e.to_string())?;
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| e.to_string())?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let builder = builder.with_root_certificates(roots);
    builder.with_client_auth_cert(chain(certificate).map_err(|e| e.to_string())?, key).map_err(|e| e.to_string())
}

/// One request after the other.
pub struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    /// What a watch has told and nobody has taken yet.
    told: Vec<u8>,
}

impl Connection {
    /// The object, list or table there.
    pub fn get(&mut self, path: &str, accept: &str) -> Result<Vec<u8>> {
        self.ask("GET", path, accept, "")
    }

    /// Makes an object.
    pub fn create(&mut self, path: &str, object: &Value) -> Result<()> {
        self.ask("POST", path, JSON, &object.to_string()).map(drop)
    }

    /// Puts an object where one is.
    pub fn replace(&mut self, path: &str, object: &Value) -> Result<()> {
        self.ask("PUT", path, JSON, &object.to_string()).map(drop)
    }

    /// Asks, and gives the whole answer; a status of 400 and more is an error with the server's words.
    pub fn ask(&mut self, method: &str, path: &str, accept: &str, body: &str) -> Result<Vec<u8>> {
        let failed = |e: std::io::Error| format!("{method} {path}: {e}");
        let head = self.send(method, path, accept, body).map_err(failed)?;
        let mut answer = Vec::new();
        match head.length {
            Some(length) => {
                answer.resize(length, 0);
                self.stream.read_exact(&mut answer).map_err(failed)?;
            }
            None => while self.chunk(&mut answer).map_err(failed)? > 0 {},
        }
        if head.status < 400 {
            return Ok(answer);
        }
        Err(format!("{method} {path}: {} {}", head.status, String::from_utf8_lossy(&answer)))
    }

    /// Begins to watch; the connection can do nothing else from now on.
    pub fn watch(&mut self, path: &str) -> Result<()> {
        let head = self.send("GET", path, JSON, "").map_err(|e| format!("watch {path}: {e}"))?;
        if head.status == 200 { Ok(()) } else { Err(format!("watch {path}: {}", head.status)) }
    }

    /// The next event of a watch.
    pub fn event(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(end) = self.told.iter().position(|byte| *byte == b'\n') {
                return Ok(self.told.drain(..=end).collect());
            }
            let mut told = std::mem::take(&mut self.told);
            let size = self.chunk(&mut told).map_err(|e| format!("a watch: {e}"))?;
            self.told = told;
            if size == 0 {
                return Err("a watch has ended".to_owned());
            }
        }
    }

    fn send(&mut self, method: &str, path: &str, accept: &str, body: &str) -> std::io::Result<Head> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\nuser-agent: bench\r\naccept: {accept}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.stream.get_mut().flush()?;
        let mut head = Head { status: 0, length: None };
        let first = self.line()?;
        head.status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                return Ok(head);
            }
            if let Some(length) = line.strip_prefix("content-length:") {
                head.length = length.trim().parse().ok();
            }
        }
    }

    /// One chunk of an answer whose length is not known (RFC 9112, 7.1); nothing at its end.
    fn chunk(&mut self, to: &mut Vec<u8>) -> std::io::Result<usize> {
        let size = usize::from_str_radix(self.line()?.trim(), 16).map_err(std::io::Error::other)?;
        let before = to.len();
        to.resize(before + size, 0);
        self.stream.read_exact(&mut to[before..])?;
        self.line()?;
        Ok(size)
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// What is needed of an answer's head.
struct Head {
    status: u16,
    length: Option<usize>,
}
