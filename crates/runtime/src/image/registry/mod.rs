//! The registry protocol (OCI distribution spec 1.1, Docker Registry HTTP API V2). Knows bytes, digests and tokens;
//! nothing of the store.

mod error;

pub use error::RegistryError;
