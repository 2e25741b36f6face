//! The registry protocol (OCI distribution spec 1.1, Docker Registry HTTP API V2). Knows bytes, digests and tokens;
//! nothing of the store.

mod auth;
mod client;
mod connect;
mod endpoint;
mod error;
mod proxy;
mod session;
mod transport;

pub(crate) use client::Uploading;
pub use endpoint::RegistrySettings;
pub(crate) use endpoint::{Endpoint, endpoints};
pub use error::RegistryError;
pub use proxy::Proxies;
pub(crate) use session::{Access, Registry};
pub(crate) use transport::read_frame;

/// Who asks: what `docker login` keeps and the CLI sends along.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// For Basic and for fetching tokens.
    pub username: String,
    /// For Basic and for fetching tokens.
    pub password: String,
    /// A refresh token in the place of a password; empty for none.
    pub identity_token: String,
    /// A token for the registry itself, used as it is; empty for none.
    pub registry_token: String,
}

impl Credentials {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Credentials::default()
    }
}

/// Asks a registry whether it accepts these credentials. `server` is a host, `docker.io`, or the address `docker
/// login` gives for it, `https://index.docker.io/v1/`.
pub async fn login(server: &str, credentials: &Credentials, settings: &RegistrySettings) -> Result<(), RegistryError> {
    let host = server.trim_start_matches("https://").trim_start_matches("http://");
    let host = host.split('/').next().unwrap_or_default();
    let domain = if matches!(host, "" | "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
    let endpoint = Endpoint::of(domain, settings);
    Registry::connect(&endpoint, Some(credentials), Access::Login, settings).await?.ping().await
}
