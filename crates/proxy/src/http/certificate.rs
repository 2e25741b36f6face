//! Certificates: read from PEM, found by the name that a TLS client asks for, in the table that is in use at that moment.

use std::{fmt, io, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use thiserror::Error;

use super::table::Table;

/// A certificate with its chain and key, ready to be shown.
#[derive(Clone)]
pub struct Certificate(Arc<CertifiedKey>);

/// Why a certificate cannot be used.
#[derive(Debug, Error)]
pub enum BadCertificate {
    /// The PEM text of the chain.
    #[error("the certificate is not PEM: {0}")]
    Chain(String),
    /// The PEM text of the key.
    #[error("the private key is not PEM of PKCS#8, PKCS#1 or SEC1: {0}")]
    Key(String),
    /// They do not belong together, or are of a kind that is not supported.
    #[error("the certificate and its key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

impl Certificate {
    /// Reads a chain, the server's own first, and the key of that.
    ///
    /// # Errors
    /// When either is unreadable or the key is another's.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, BadCertificate> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| BadCertificate::Chain(error.to_string()))?;
        if chain.is_empty() {
            return Err(BadCertificate::Chain("there is no CERTIFICATE section".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| BadCertificate::Key(error.to_string()))?;
        Ok(Self(Arc::new(CertifiedKey::from_der(chain, key, &ring::default_provider())?)))
    }

    /// Makes one that nobody trusts, for clients that ask for a name without a certificate.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn self_made() -> io::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["gateway.invalid".to_owned()]).map_err(io::Error::other)?;
        let key = made.signing_key.serialize_der();
        let key = PrivateKeyDer::try_from(key).map_err(io::Error::other)?;
        CertifiedKey::from_der(vec![made.cert.der().clone()], key, &ring::default_provider())
            .map(|key| Self(Arc::new(key)))
            .map_err(io::Error::other)
    }
}

/// Without the key.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate(chain of {})", self.0.cert.len())
    }
}

/// How the gateway speaks TLS: 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN (RFC 7301), whatever the table has for the name.
pub(super) fn server(table: Arc<ArcSwap<Table>>) -> io::Result<Arc<ServerConfig>> {
    let chosen = Chosen { table, otherwise: Certificate::self_made()?.0 };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(chosen));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = ring::Ticketer::new().map_err(io::Error::other)?;
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Chosen {
    table: Arc<ArcSwap<Table>>,
    otherwise: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Chosen {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.table.load();
        let found = table.certificates.find(hello.server_name().unwrap_or_default());
        Some(found.map_or_else(|| self.otherwise.clone(), |certificate| certificate.0.clone()))
    }
}
