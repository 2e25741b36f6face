//! Images made from files of this machine, without a registry or a build. Same files, same image id.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use super::config::{Config, History, ImageConfig, RootFs};
use super::digest::ImageId;
use super::error::ImageError;
use super::layer::tar_reader::{Entry, EntryKind};
use super::layer::tar_writer::TarWriter;
use super::platform::Platform;
use super::reference::Reference;
use super::store::{Store, blocking};

/// What to make an image of.
#[derive(Debug, Clone, Default)]
pub struct Assembly {
    /// What it will be called, if anything; without tag and digest `latest`.
    pub reference: Option<Reference>,
    /// What a container of it runs.
    pub config: Config,
    /// Its files, in the order of the layer; missing parent directories are made.
    pub files: Vec<AssemblyFile>,
    /// Shown in the history.
    pub comment: String,
    /// RFC 3339; where nothing is said, when the newest of the host's files was changed: the same files give the same id.
    pub created: Option<String>,
}

/// One file of an assembled image, owned by root.
#[derive(Debug, Clone)]
pub struct AssemblyFile {
    /// From the root of the image.
    pub path: String,
    /// What is there.
    pub content: Content,
    /// Permission bits; of no meaning for a symlink.
    pub mode: u32,
}

/// What a file of an assembled image holds.
#[derive(Debug, Clone)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A copy of this file of the host, symlinks followed.
    File(PathBuf),
    /// A symlink to here.
    Symlink(String),
    /// A directory.
    Directory,
}

impl AssemblyFile {
    /// An executable copy of a file of the host.
    pub fn program(path: &str, from: impl Into<PathBuf>) -> AssemblyFile {
        AssemblyFile { path: path.to_owned(), content: Content::File(from.into()), mode: 0o755 }
    }

    /// A text everybody may read.
    pub fn text(path: &str, text: &str) -> AssemblyFile {
        AssemblyFile { path: path.to_owned(), content: Content::Bytes(text.as_bytes().to_vec()), mode: 0o644 }
    }

    /// A symlink.
    pub fn symlink(path: &str, to: &str) -> AssemblyFile {
        AssemblyFile { path: path.to_owned(), content: Content::Symlink(to.to_owned()), mode: 0o777 }
    }

    /// A directory with these permission bits.
    pub fn directory(path: &str, mode: u32) -> AssemblyFile {
        AssemblyFile { path: path.to_owned(), content: Content::Directory, mode }
    }
}

impl Store {
    /// Makes an image of one layer.
    pub async fn assemble(&self, assembly: Assembly) -> Result<ImageId, ImageError> {
        let store = self.clone();
        blocking(move || assemble(&store, assembly)).await
    }
}

fn assemble(store: &Store, assembly: Assembly) -> Result<ImageId, ImageError> {
    let Assembly { reference, config, files, comment, created } = assembly;
    let created = Some(created.unwrap_or_else(|| newest(&files)));
    let lease = store.ingest_from(move |out| {
        let mut tar = TarWriter::new(io::BufWriter::new(out));
        for file in &files {
            append(&mut tar, file).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", file.path)))?;
        }
        tar.finish().map(drop)
    })?;
    let Platform { os, architecture, .. } = Platform::host();
    let config = ImageConfig {
        architecture,
        os,
        created: created.clone(),
        config,
        rootfs: RootFs { diff_ids: vec![lease.diff_id().clone()], ..RootFs::default() },
        history: vec![History { created, comment, created_by: "linkspan".to_owned(), ..History::default() }],
        ..ImageConfig::default()
    };
    let bytes = serde_json::to_vec(&config).map_err(|e| ImageError::format("the image configuration", e))?;
    let references: Vec<_> = reference.into_iter().map(Reference::or_latest).collect();
    store.add_image(&bytes, None, &references)
}

/// The epoch where there is no file of the host.
fn newest(files: &[AssemblyFile]) -> String {
    let changed = files.iter().filter_map(|file| match &file.content {
        Content::File(path) => std::fs::metadata(path).and_then(|found| found.modified()).ok(),
        Content::Bytes(_) | Content::Symlink(_) | Content::Directory => None,
    });
    let seconds = changed.max().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs());
    let at = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    at.unwrap_or_default().to_string()
}

fn append(tar: &mut TarWriter<impl io::Write>, file: &AssemblyFile) -> io::Result<()> {
    let entry = |kind, len| Entry::plain(file.path.trim_start_matches('/'), kind, file.mode, len);
    match &file.content {
        Content::Bytes(bytes) => tar.append(&entry(EntryKind::File, bytes.len() as u64), bytes.as_slice()),
        Content::File(path) => {
            let source = File::open(path)?;
            let len = source.metadata()?.len();
            tar.append(&entry(EntryKind::File, len), source.take(len))
        }
        Content::Symlink(target) => {
            let link = target.as_bytes().to_vec();
            tar.append(&Entry { link, ..entry(EntryKind::Symlink, 0) }, io::empty())
        }
        Content::Directory => tar.append(&entry(EntryKind::Directory, 0), io::empty()),
    }
}
