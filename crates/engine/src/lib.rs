//! The one writer: a command comes in, is decided, journalled, planned, compared with what is, and applied; a report goes out.
//!
//! Nothing here chooses (that is `model::decide`) and nothing here speaks to Linux (that is behind `netstate::Kernel`).
#![forbid(unsafe_code)]

pub mod error;
pub mod events;
pub mod handle;

pub use error::EngineError;
pub use events::Events;
pub use handle::{Engine, WaitFor};
