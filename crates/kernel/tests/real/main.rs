//! The kernel crate against the real kernel, each test in network and mount namespaces of its own.

#[path = "../../../../tests/steps/folders.rs"]
mod folders;
#[path = "../../../../tests/steps/matrix.rs"]
mod matrix;
#[path = "../../../../tests/steps/random.rs"]
mod random;
#[path = "../../../../tests/steps/mod.rs"]
mod steps;

mod common;
mod converge;
mod facts;
mod links;
mod linux;
mod monitor;
mod nft;
mod packets;
mod probe;
mod reach;
mod sample;
mod scenarios;
mod services;
mod wire;
