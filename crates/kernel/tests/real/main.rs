//! The kernel crate against the real kernel, each test in network and mount namespaces of its own.

mod common;
mod converge;
mod facts;
mod links;
mod linux;
mod monitor;
mod nft;
mod packets;
mod probe;
mod sample;
