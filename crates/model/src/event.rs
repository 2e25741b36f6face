//! What happened, for those who watch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{container::Container, network::Network, service::NamespacedName};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// To what kind of thing.
    pub kind: EventKind,
    /// What, in one word: `create`, `start`, `die`, `connect`, `repair`.
    pub action: String,
    /// To which: a full id, or a volume's or an image's name.
    pub id: String,
    /// More about it: `name`, `image`, `exitCode`, labels.
    pub attributes: BTreeMap<String, String>,
}

/// Kinds of things that events are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A container.
    Container,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// An image.
    Image,
    /// A service.
    Service,
    /// The daemon itself.
    Daemon,
}

impl Event {
    /// Something that happened to a container. The attributes are its labels, its name, its image, and those given.
    pub fn container(at_ms: i64, container: &Container, action: &str, more: &[(&str, String)]) -> Self {
        let mut attributes = container.labels.clone();
        attributes.insert("image".to_owned(), container.image.name.clone());
        attributes.insert("name".to_owned(), container.name.clone());
        let event = Self {
            at_ms,
            kind: EventKind::Container,
            action: action.to_owned(),
            id: container.id.to_string(),
            attributes,
        };
        event.with(more)
    }

    /// Something that happened to a network. The attributes are its name, its driver, and those given.
    pub fn network(at_ms: i64, network: &Network, action: &str, more: &[(&str, String)]) -> Self {
        let name = ("name".to_owned(), network.name.clone());
        let attributes = BTreeMap::from([name, ("type".to_owned(), network.driver.name().to_owned())]);
        let event =
            Self { at_ms, kind: EventKind::Network, action: action.to_owned(), id: network.id.to_string(), attributes };
        event.with(more)
    }

    /// Something that happened to a volume. The attributes are its driver, and those given.
    pub fn volume(at_ms: i64, name: &str, action: &str, more: &[(&str, String)]) -> Self {
        let attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
        let event = Self { at_ms, kind: EventKind::Volume, action: action.to_owned(), id: name.to_owned(), attributes };
        event.with(more)
    }

    /// A service, or some of its endpoints, that is left as it was for what is wrong with it.
    pub fn quarantine(at_ms: i64, name: &NamespacedName, why: String) -> Self {
        let attributes = BTreeMap::from([("name".to_owned(), name.to_string()), ("reason".to_owned(), why)]);
        let (kind, action) = (EventKind::Service, "quarantine".to_owned());
        Self { at_ms, kind, action, id: name.to_string(), attributes }
    }

    fn with(mut self, more: &[(&str, String)]) -> Self {
        self.attributes.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        self
    }
}
