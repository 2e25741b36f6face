//! Clients of the API that say who they are: under that name the server notes what they write (`managedFields`).

use hyper::header::{HeaderValue, USER_AGENT};
use kube::{Client, Config};

/// What the agent of a node calls itself.
pub const NODE: &str = concat!("linkspan/", env!("CARGO_PKG_VERSION"));
/// What the gateway calls itself.
pub const GATEWAY: &str = concat!("linkspan-gateway/", env!("CARGO_PKG_VERSION"));

/// A client that calls itself `name`, as `PROGRAM/VERSION`.
///
/// # Errors
/// When the configuration cannot be used.
pub fn client(mut config: Config, name: &'static str) -> kube::Result<Client> {
    config.headers.push((USER_AGENT, HeaderValue::from_static(name)));
    Client::try_from(config)
}
