//! Objects as the server holds them: JSON values with Kubernetes' metadata. How to read and write their parts, and how they are kept;
//! what a kind demands of its objects is `kind`'s business.

pub mod encoding;
pub mod look;
pub mod meta;
pub mod name;
pub mod part;
pub mod selector;

pub use look::Look;
