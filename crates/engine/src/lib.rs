//! The one writer: a command comes in, is decided, journalled, planned, compared with what is, and applied; a report goes out.
//!
//! Nothing here chooses (that is `model::decide`) and nothing here speaks to Linux (that is behind `netstate::Kernel` and [`World`]).
#![forbid(unsafe_code)]

mod clock;
mod commit;
mod error;
mod events;
mod found;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod handle;
mod host;
mod journal;
mod open;
mod supervise;
mod update;
mod userspace;
mod wait;
mod work;
mod world;
mod writer;

pub use commit::Mode;
pub use error::EngineError;
pub use events::Events;
pub use handle::{Engine, WaitFor};
pub use host::{Drift, Host};
pub use journal::Journal;
pub use open::Parts;
pub use supervise::Places;
pub use update::ContainerUpdate;
pub use world::World;
