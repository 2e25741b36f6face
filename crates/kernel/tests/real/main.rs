//! The kernel crate against the real kernel, each test in network and mount namespaces of its own.

mod common;
mod links;
mod nft;
