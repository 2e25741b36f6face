//! Images: references, the content-addressed store, layers as overlayfs directories, registries and archives.
//! Nothing here runs a container or mounts anything, and nothing knows the Docker API beyond its words.

mod assemble;
mod config;
pub mod demo;
mod digest;
mod error;
mod find;
mod history;
mod layer;
mod list;
mod platform;
mod prune;
pub mod reference;
mod registry;
mod remove;
mod store;
mod tag;
mod usage;

pub use assemble::{Assembly, AssemblyFile, Content};
pub use config::{Config, Healthcheck, History, ImageConfig, Present, RootFs};
pub use digest::{DiffId, Digest, ImageId};
pub use error::{ErrorKind, ImageError, LayerError};
pub use find::Image;
pub use history::HistoryItem;
pub use list::ListFilters;
pub use platform::Platform;
pub use prune::Pruned;
pub use reference::{Reference, ReferenceError};
pub use registry::RegistryError;
pub use remove::{ContainerUse, RemoveOptions, Removed};
pub use store::{Snapshot, Store};
pub use usage::{DiskUsage, ImageUsage};
