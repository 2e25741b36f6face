//! Kernels to test with: one that refuses what Linux refuses, one that fails, one that writes down what it is told.
//!
//! Whatever the real kernel is found to refuse belongs here, so that the next test finds it without a real kernel. Nothing of the product
//! depends on this crate except dry runs.
#![forbid(unsafe_code)]

mod addr;
mod faulty;
mod host;
mod link;
mod netns;
mod nft;
mod recorder;
mod route;
mod sysctl;

pub use faulty::{Effect, Faulty, When};
pub use host::Host;
pub use recorder::Recorder;
