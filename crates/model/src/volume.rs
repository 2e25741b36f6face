//! Named volumes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A volume: a directory that outlives containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name; 64 hexadecimal digits for an anonymous one.
    pub name: String,
    /// When it was made, milliseconds since 1970 UTC.
    pub created_ms: i64,
    /// Whether a name was given.
    pub naming: Naming,
    /// Options of the local driver (`type`, `o`, `device`).
    pub options: BTreeMap<String, String>,
    /// Labels, as given.
    pub labels: BTreeMap<String, String>,
}

/// Whether a volume was given a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Naming {
    /// It was.
    Named,
    /// It was made for one container, and goes with it when asked.
    Anonymous,
}
