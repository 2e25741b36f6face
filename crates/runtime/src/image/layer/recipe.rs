//! How to make a layer's tar stream again, byte for byte, from its unpacked directory.
//!
//! A layer is kept once: unpacked. Its recipe holds every byte of the stream that is not the content of a file
//! (headers, padding, the tail) and names the file where content stood. Push and save replay it and compare the
//! digest, so a layer that changed on disk is never handed on.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde::{Deserialize, Serialize};

use crate::image::digest::{Digest, Hashing};
use crate::image::error::ImageError;

/// Raw bytes are collected up to this many before they become a record.
const RAW_MAX_LEN: usize = 64 << 10;
const RAW: u8 = b'R';
const FILE: u8 = b'F';
/// The recipe's file in a layer's directory.
pub(crate) const FILE_NAME: &str = "recipe.zst";
/// Where a layer keeps what later entries of the same layer replaced.
pub(crate) const KEPT: &str = "kept";

/// Something that a later entry of the same layer replaced. The recipe still needs its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replaced {
    /// How many payloads the recipe had named by then: only those can mean the old content.
    pub(crate) payloads_before: u64,
    /// Where it was, from the layer's root.
    pub(crate) path: PathBuf,
    /// Its name among the kept.
    pub(crate) kept: String,
}

/// Writes a recipe while a stream is unpacked.
pub(crate) struct RecipeWriter {
    out: zstd::Encoder<'static, BufWriter<File>>,
    raw: Vec<u8>,
}

impl RecipeWriter {
    pub(crate) fn create(path: &Path) -> io::Result<RecipeWriter> {
        let out = zstd::Encoder::new(BufWriter::new(File::create(path)?), 1)?;
        Ok(RecipeWriter { out, raw: Vec::new() })
    }

    /// Bytes that stand in the stream as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.raw.extend_from_slice(bytes);
        if self.raw.len() >= RAW_MAX_LEN { self.flush_raw() } else { Ok(()) }
    }

    /// The content of a file of this length stands here.
    pub(crate) fn file(&mut self, path: &[u8], len: u64) -> io::Result<()> {
        self.flush_raw()?;
        self.record(FILE, path)?;
        self.out.write_all(&len.to_le_bytes())
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush_raw()?;
        self.out.finish()?.flush()
    }

    fn flush_raw(&mut self) -> io::Result<()> {
        if self.raw.is_empty() {
            return Ok(());
        }
        let raw = std::mem::take(&mut self.raw);
        self.record(RAW, &raw)?;
        self.raw = raw;
        self.raw.clear();
        Ok(())
    }

    fn record(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.out.write_all(&[kind])?;
        self.out.write_all(&len.to_le_bytes())?;
        self.out.write_all(bytes)
    }
}

/// Writes the layer's tar stream again and fails if it is not the one that came.
pub(crate) fn replay(
    layer: &Path,
    diff_id: &Digest,
    replaced: &[Replaced],
    out: &mut impl Write,
) -> Result<(), ImageError> {
    let mut out = Hashing::new(out);
    copy_all(layer, replaced, &mut out).map_err(|error| ImageError::Damaged {
        what: format!("layer {}", diff_id.short()),
        reason: error.to_string(),
    })?;
    let found = out.into_inner().1.finish();
    if found == *diff_id {
        return Ok(());
    }
    Err(ImageError::Damaged {
        what: format!("layer {}", diff_id.short()),
        reason: format!("its content hashes to {found}, not {diff_id}"),
    })
}

fn copy_all(layer: &Path, replaced: &[Replaced], out: &mut impl Write) -> io::Result<()> {
    let root = File::open(layer)?;
    let mut recipe = BufReader::new(zstd::Decoder::new(File::open(layer.join(FILE_NAME))?)?);
    let mut payloads = 0;
    loop {
        let mut kind = [0];
        if recipe.read(&mut kind)? == 0 {
            return Ok(());
        }
        let mut len = [0; 4];
        recipe.read_exact(&mut len)?;
        let mut bytes = vec![0; u32::from_le_bytes(len) as usize];
        recipe.read_exact(&mut bytes)?;
        if kind[0] == RAW {
            out.write_all(&bytes)?;
            continue;
        }
        let mut len = [0; 8];
        recipe.read_exact(&mut len)?;
        payloads += 1;
        let path = content_path(Path::new(std::ffi::OsStr::from_bytes(&bytes)), payloads, replaced);
        copy_file(&root, &path, u64::from_le_bytes(len), out)?;
    }
}

/// Where the content of the payload with this number is today, from the layer's directory.
fn content_path(path: &Path, payload: u64, replaced: &[Replaced]) -> PathBuf {
    let moved = replaced
        .iter()
        .filter(|r| r.payloads_before >= payload)
        .find_map(|r| path.strip_prefix(&r.path).ok().map(|rest| (r, rest)));
    match moved {
        Some((r, rest)) if rest.as_os_str().is_empty() => Path::new(KEPT).join(&r.kept),
        Some((r, rest)) => Path::new(KEPT).join(&r.kept).join(rest),
        None => Path::new(super::DIFF).join(path),
    }
}

fn copy_file(root: &impl AsFd, path: &Path, len: u64, out: &mut impl Write) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let fd = rustix::fs::openat2(root, path, flags, Mode::empty(), resolve).map_err(|e| named(e.into()))?;
    let copied = io::copy(&mut File::from(fd).take(len), out).map_err(named)?;
    if copied < len {
        return Err(named(io::Error::other(format!("{copied} bytes where {len} should be"))));
    }
    Ok(())
}
