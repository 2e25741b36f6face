//! Layers: tar streams in, overlayfs directories on disk, the same tar streams out. Nothing here knows images,
//! references or registries.

pub(crate) mod compression;
mod extensions;
pub(crate) mod pack;
pub(crate) mod recipe;
pub(crate) mod tar_reader;
pub(crate) mod tar_writer;
pub(crate) mod unpack;

/// The overlayfs directory inside a layer's directory.
pub(crate) const DIFF: &str = "diff";

/// Names that begin so are instructions in a tar layer (OCI image spec, "Whiteouts").
const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// What the rest of a whiteout's name may begin with when it is a note of AUFS and not a whiteout.
const WHITEOUT_META_PREFIX: &[u8] = b".wh..wh.";
/// Hides all that lower layers have in this directory.
const WHITEOUT_OPAQUE: &[u8] = b".wh..wh..opq";
/// The same in overlayfs (kernel, Documentation/filesystems/overlayfs.rst).
const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
