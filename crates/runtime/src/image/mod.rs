//! Images: references, the content-addressed store, layers as overlayfs directories, registries and archives.
//! Nothing here runs a container or mounts anything, and nothing knows the Docker API beyond its words.

mod archive;
mod assemble;
mod change;
mod commit;
mod config;
pub mod demo;
mod digest;
mod distribution;
mod error;
mod find;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod history;
mod layer;
mod list;
mod manifest;
mod platform;
mod progress;
mod prune;
mod pull;
mod push;
pub mod reference;
mod registry;
mod remove;
mod store;
mod tag;
mod usage;

pub use archive::{ImportRequest, Loaded, Source};
pub use assemble::{Assembly, AssemblyFile, Content};
pub use commit::CommitRequest;
pub use config::{Config, Healthcheck, History, ImageConfig, Present, RootFs};
pub use digest::{DiffId, Digest, ImageId};
pub use distribution::{Distributed, inspect_distribution};
pub use error::{ErrorKind, ImageError, LayerError};
pub use find::Image;
pub use history::HistoryItem;
pub(crate) use layer::compression::decompress;
pub use list::ListFilters;
pub use platform::Platform;
pub use progress::{Amount, Phase, Progress, ProgressSink};
pub use prune::Pruned;
pub use pull::{PullRequest, Pulled};
pub use push::{PushRequest, Pushed};
pub use reference::{Reference, ReferenceError};
pub use registry::{Credentials, Proxies, RegistryError, RegistrySettings, login};
pub use remove::{ContainerUse, RemoveOptions, Removed};
pub use store::{Snapshot, Store};
pub use usage::{DiskUsage, ImageUsage};
