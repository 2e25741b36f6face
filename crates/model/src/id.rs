//! Identities: 64 hexadecimal digits, made at the edge from 32 random bytes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not an id: 64 lower-case hexadecimal digits are")]
pub struct IdError(pub String);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id made of these bytes.
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                use fmt::Write as _;
                let mut text = String::with_capacity(64);
                for byte in bytes {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "{byte:02x}");
                }
                Self(text)
            }

            /// The bytes it was made of.
            pub fn bytes(&self) -> [u8; 32] {
                let digit = |at: usize| (self.0.as_bytes()[at] as char).to_digit(16).unwrap_or_default() as u8;
                std::array::from_fn(|byte| digit(2 * byte) << 4 | digit(2 * byte + 1))
            }

            /// All 64 digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first 12 digits, which people read and type.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                if text.len() == 64 && text.bytes().all(digit) { Ok(Self(text)) } else { Err(IdError(text)) }
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.short())
            }
        }
    };
}

id!(
    /// A network.
    NetworkId
);
id!(
    /// A sandbox: the network home of one or more containers.
    SandboxId
);
id!(
    /// An endpoint: a sandbox's place on a network.
    EndpointId
);
id!(
    /// A container.
    ContainerId
);
