//! The server put together: what every verb reaches. It holds no object itself: those are in the store.

use std::{ops::Deref, sync::Arc};

use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use store::objects::{Objects, ObjectsError};

use crate::{auth::token::Signer, kind::Kind, metrics::Metrics, settings::Settings, status::Failure, view::View};

/// The server as its verbs see it; clones share it.
#[derive(Clone)]
pub struct Server(Arc<Parts>);

/// What a server is made of.
pub struct Parts {
    /// The objects.
    pub objects: Objects,
    /// The objects as the controllers see them.
    pub(crate) view: View,
    /// What it was told.
    pub settings: Settings,
    /// What signs tokens of service accounts.
    pub signer: Signer,
    /// How nodes are spoken to.
    pub nodes: Arc<rustls::ClientConfig>,
    /// Whoever takes an address or a port of the cluster for a service holds this from looking to writing.
    pub addresses: tokio::sync::Mutex<()>,
    /// Counts of what is asked.
    pub metrics: Metrics,
    /// The system's randomness.
    pub random: SystemRandom,
}

impl Server {
    /// A server of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The time that is written into objects.
    pub fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Bytes that nobody can guess.
    pub fn random<const N: usize>(&self) -> Result<[u8; N], Failure> {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes).map_err(|_| Failure::internal("the system gives no random bytes"))?;
        Ok(bytes)
    }

    /// A new identity (RFC 9562, version 4).
    pub fn uid(&self) -> Result<String, Failure> {
        let mut bytes = self.random::<16>()?;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let digits = u128::from_be_bytes(bytes);
        let text = format!("{digits:032x}");
        Ok([&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-"))
    }
}

impl Deref for Server {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Where an object is kept.
pub fn key(kind: &Kind, namespace: &str, name: &str) -> String {
    format!("{}{name}", prefix(kind, Some(namespace)))
}

/// Where the objects of a kind are kept: those of a namespace, or all. Objects of the cluster are in the namespace without a name.
pub fn prefix(kind: &Kind, namespace: Option<&str>) -> String {
    let kind = kind.kept_as();
    let group = if kind.group.is_empty() { "core" } else { kind.group };
    match namespace {
        Some(namespace) => format!("/{group}/{}/{namespace}/", kind.plural),
        None => format!("/{group}/{}/", kind.plural),
    }
}

impl From<ObjectsError> for Failure {
    fn from(error: ObjectsError) -> Self {
        Self::internal(error)
    }
}
