//! A container's files.

pub mod overlay;
pub mod tree;
