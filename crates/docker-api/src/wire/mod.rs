//! Documents that clients send and get back: their fields, defaults and spelling. No meaning is given to them here.

pub(crate) mod config;
pub(crate) mod host_config;
pub(crate) mod mount;
pub(crate) mod port;

use serde::{Deserialize, Deserializer};

/// Docker's clients write `null` for what is empty.
pub(crate) fn null_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// A list of words, or one word (Go's `strslice`).
pub(crate) fn words<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        Several(Vec<String>),
    }
    Ok(Option::<Words>::deserialize(from)?.map(|words| match words {
        Words::One(word) => vec![word],
        Words::Several(list) => list,
    }))
}
