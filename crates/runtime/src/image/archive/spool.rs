//! An archive whose entries may come in any order, laid out in temporary files under numbers: no name from the
//! archive ever becomes a path of ours.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use crate::image::digest::Digest;
use crate::image::error::{ImageError, io_error};
use crate::image::layer::tar_reader::{EntryKind, TarReader};
use crate::image::store::{Store, Temp};

/// Manifests and configurations are small; an archive that says otherwise is not read into memory.
const DOCUMENT_MAX_LEN: u64 = 16 << 20;
/// Old archives link equal layers to each other.
const LINKS_MAX: usize = 16;

/// The files of an archive.
pub(super) struct Spool {
    directory: Temp,
    entries: BTreeMap<String, Entry>,
}

enum Entry {
    /// Number of the temporary file.
    File(usize),
    Link(String),
}

impl Spool {
    /// Reads an archive to its end.
    pub(super) fn read(store: &Store, source: impl Read) -> Result<Spool, ImageError> {
        let directory = Temp::directory(store.root())?;
        let mut entries = BTreeMap::new();
        let mut tar = TarReader::new(source, None);
        while let Some(entry) = tar.next_entry()? {
            let name = String::from_utf8_lossy(&entry.path).into_owned();
            let link = String::from_utf8_lossy(&entry.link).into_owned();
            let number = entries.len();
            let content = match entry.kind {
                EntryKind::File => {
                    let path = directory.path().join(number.to_string());
                    let mut file = File::create(&path).map_err(io_error("create", &path))?;
                    tar.copy_payload(&mut file, &entry.path)?;
                    Entry::File(number)
                }
                EntryKind::HardLink => Entry::Link(normal(&link)),
                EntryKind::Symlink => Entry::Link(normal(&format!("{name}/../{link}"))),
                _ => continue,
            };
            entries.insert(normal(&name), content);
        }
        Ok(Spool { directory, entries })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.path(name).is_some()
    }

    pub(super) fn open(&self, name: &str) -> Result<File, ImageError> {
        let path = self
            .path(name)
            .ok_or_else(|| ImageError::format("the archive is not complete", format!("it has no file {name}")))?;
        File::open(&path).map_err(io_error("open", &path))
    }

    /// The bytes of a small file.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        let file = self.open(name)?;
        file.take(DOCUMENT_MAX_LEN + 1).read_to_end(&mut bytes).map_err(io_error("read", self.directory.path()))?;
        if bytes.len() as u64 > DOCUMENT_MAX_LEN {
            return Err(ImageError::format("the archive cannot be used", format!("{name} is too large")));
        }
        Ok(bytes)
    }

    /// The bytes of a small blob, which must have this digest.
    pub(super) fn blob(&self, digest: &Digest) -> Result<Vec<u8>, ImageError> {
        let bytes = self.document(&super::blob_path(digest))?;
        match Digest::of(&bytes) {
            found if found == *digest => Ok(bytes),
            found => Err(ImageError::WrongDigest {
                what: "a blob of the archive".to_owned(),
                expected: digest.clone(),
                found,
            }),
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        let mut name = normal(name);
        for _ in 0..LINKS_MAX {
            match self.entries.get(&name)? {
                Entry::File(number) => return Some(self.directory.path().join(number.to_string())),
                Entry::Link(target) => name = target.clone(),
            }
        }
        None
    }
}

/// The name without `.`, `..` and doubled slashes. Only a key: it never reaches the disk.
fn normal(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
