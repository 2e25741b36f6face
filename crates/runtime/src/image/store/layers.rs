//! Layers in the store: made from streams, shared by diff id, leased while work needs them, removed when nobody does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, PipeWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::disk::{Outlives, Temp, write_atomically};
use super::{Store, lock};
use crate::image::digest::DiffId;
use crate::image::error::{ImageError, LayerError, io_error};
use crate::image::layer::DIFF;
use crate::image::layer::recipe::{self, Replaced};
use crate::image::layer::unpack::unpack;

/// Docker's limit. The kernel would take 500 lower directories (fs/overlayfs/params.h).
pub(crate) const DEPTH_MAX: usize = 127;
/// Digits of a diff id in a short link; more where two layers begin alike.
const LINK_LEN: usize = 16;
const FILE_NAME: &str = "layer.json";

/// A layer on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Layer {
    pub(crate) diff_id: DiffId,
    /// Bytes of all its files.
    pub(crate) size: u64,
    /// Entries of its stream; none is the empty layer.
    pub(crate) entries: u64,
    /// Length of its stream.
    pub(crate) tar_len: u64,
    /// Its name below `l`.
    pub(crate) link: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) replaced: Vec<Replaced>,
    /// Where registries have it, so that a push need not send it again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) distributions: Vec<Distribution>,
}

/// A compressed form of a layer that a registry is known to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Distribution {
    /// `docker.io/library/busybox`.
    pub(crate) repository: String,
    pub(crate) digest: crate::image::digest::Digest,
    pub(crate) size: u64,
    pub(crate) media_type: String,
}

/// Keeps a layer from being removed while it lives.
pub(crate) struct Lease {
    store: Store,
    diff_id: DiffId,
}

impl Lease {
    pub(crate) fn diff_id(&self) -> &DiffId {
        &self.diff_id
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut leases = lock(&self.store.inner.leases);
        if let Some(count) = leases.get_mut(&self.diff_id) {
            *count -= 1;
            if *count == 0 {
                leases.remove(&self.diff_id);
            }
        }
    }
}

impl Store {
    /// Promises to need this layer, whether it is here yet or not.
    pub(crate) fn lease(&self, diff_id: &DiffId) -> Lease {
        *lock(&self.inner.leases).entry(diff_id.clone()).or_default() += 1;
        Lease { store: self.clone(), diff_id: diff_id.clone() }
    }

    /// Makes a layer from an uncompressed tar stream; the stream must have the digest `expected`, if given.
    pub(crate) fn ingest(&self, stream: impl Read, expected: Option<&DiffId>) -> Result<Lease, ImageError> {
        let temp = Temp::directory(self.root())?;
        let unpacked = unpack(stream, temp.path())?;
        if let Some(expected) = expected.filter(|expected| **expected != unpacked.diff_id) {
            let (expected, found) = (expected.clone(), unpacked.diff_id);
            return Err(ImageError::WrongDigest {
                what: "the layer's uncompressed content".to_owned(),
                expected,
                found,
            });
        }
        let lease = self.lease(&unpacked.diff_id);
        self.update(|state| {
            if state.layers.contains_key(&unpacked.diff_id) {
                return Ok(());
            }
            let layer = Layer {
                link: free_link(&unpacked.diff_id, &state.layers),
                diff_id: unpacked.diff_id.clone(),
                size: unpacked.size,
                entries: unpacked.entries,
                tar_len: unpacked.tar_len,
                replaced: unpacked.replaced,
                distributions: Vec::new(),
            };
            layer.write(temp.path())?;
            let target = layer_path(self.root(), &layer.diff_id);
            std::fs::rename(temp.path(), &target).map_err(io_error("create", &target))?;
            link(self.root(), &layer)?;
            state.layers.insert(layer.diff_id.clone(), Arc::new(layer));
            Ok(())
        })?;
        Ok(lease)
    }

    /// Makes a layer from a tar stream that `produce` writes. It runs beside the unpacking, on its own thread.
    pub(crate) fn ingest_from(
        &self,
        produce: impl FnOnce(PipeWriter) -> std::io::Result<()> + Send,
    ) -> Result<Lease, ImageError> {
        let (reader, writer) = std::io::pipe().map_err(io_error("make a pipe for", self.root()))?;
        let (produced, lease) = std::thread::scope(|scope| {
            let producer = scope.spawn(move || produce(writer));
            let lease = self.ingest(reader, None);
            (producer.join(), lease)
        });
        match produced {
            // The unpacking gave up first; its reason is the better one.
            Ok(Err(error)) if error.kind() == ErrorKind::BrokenPipe => lease,
            Ok(Err(source)) => Err(LayerError::Io { what: "packing the layer".to_owned(), source }.into()),
            Ok(Ok(())) => lease,
            Err(_) => Err(ImageError::Interrupted),
        }
    }

    /// Writes the layer's uncompressed tar stream, exactly as it once came.
    pub(crate) fn export_layer(&self, diff_id: &DiffId, out: &mut impl Write) -> Result<(), ImageError> {
        let state = self.state();
        let Some(layer) = state.layers.get(diff_id) else {
            return Err(ImageError::Damaged {
                what: format!("layer {}", diff_id.short()),
                reason: "it is missing".to_owned(),
            });
        };
        recipe::replay(&layer_path(self.root(), diff_id), diff_id, &layer.replaced, out)
    }

    /// Remembers where a registry has this layer; the newest first, a few are enough.
    pub(crate) fn remember(&self, diff_id: &DiffId, distribution: Distribution) -> Result<(), ImageError> {
        const REMEMBERED_MAX: usize = 20;
        self.update(|state| {
            let Some(layer) = state.layers.get(diff_id).filter(|l| l.distributions.first() != Some(&distribution))
            else {
                return Ok(());
            };
            let mut layer = Layer::clone(layer);
            layer.distributions.retain(|known| *known != distribution);
            layer.distributions.insert(0, distribution);
            layer.distributions.truncate(REMEMBERED_MAX);
            layer.write(&layer_path(self.root(), diff_id))?;
            state.layers.insert(diff_id.clone(), Arc::new(layer));
            Ok(())
        })
    }

    /// Directories for overlayfs' `lowerdir`, top first. All are siblings in one directory, so that a mounter who
    /// changes into it can use the bare names. An image without layers has one empty directory.
    pub(crate) fn lower_dirs_of(&self, diff_ids: &[DiffId]) -> Result<Vec<PathBuf>, ImageError> {
        let state = self.state();
        let links = self.root().join("l");
        if diff_ids.is_empty() {
            return Ok(vec![links.join("empty")]);
        }
        let path = |diff_id: &DiffId| match state.layers.get(diff_id) {
            Some(layer) => Ok(links.join(&layer.link)),
            None => Err(ImageError::Damaged {
                what: format!("layer {}", diff_id.short()),
                reason: "it is missing".to_owned(),
            }),
        };
        // The same layer twice in one stack is legal in an image and an error (ELOOP) to overlayfs. Whatever the lower
        // one holds, the upper one holds too and shows instead.
        let mut seen = BTreeSet::new();
        diff_ids.iter().rev().filter(|diff_id| seen.insert(*diff_id)).map(path).collect()
    }

    /// Removes layers and configurations that no image, container or work under way needs. Bytes freed per layer.
    pub(crate) fn collect_garbage(&self) -> Result<BTreeMap<DiffId, u64>, ImageError> {
        let mut removed = BTreeMap::new();
        let mut trash = Vec::new();
        self.update(|state| {
            // Held to the end: a lease taken later must find the layer gone, one taken before keeps it.
            let leases = lock(&self.inner.leases);
            let mut needed: BTreeSet<&DiffId> = leases.keys().collect();
            needed.extend(state.index.images.values().flat_map(|record| &record.layers));
            needed.extend(state.holds.values().flat_map(|hold| &hold.layers));
            let unneeded: Vec<_> =
                state.layers.values().filter(|layer| !needed.contains(&layer.diff_id)).cloned().collect();
            for layer in unneeded {
                trash.push(discard(self.root(), &layer)?);
                state.layers.remove(&layer.diff_id);
                removed.insert(layer.diff_id.clone(), layer.size);
            }
            state.configs.retain(|id, _| state.index.images.contains_key(id));
            state.damaged.retain(|id, _| state.index.images.contains_key(id));
            Ok(())
        })?;
        Ok(removed)
    }
}

impl Layer {
    fn write(&self, directory: &Path) -> Result<(), ImageError> {
        let bytes = serde_json::to_vec(self).map_err(|error| ImageError::format("the layer's record", error))?;
        write_atomically(&directory.join(FILE_NAME), &bytes, Outlives::Power)
    }
}

/// Reads the record of every layer and restores missing links. A layer whose record cannot be read is as good as
/// missing: it is moved out of the way, and images that need it are reported.
pub(crate) fn read_all(root: &Path) -> Result<BTreeMap<DiffId, Arc<Layer>>, ImageError> {
    let directory = root.join("layers");
    let mut layers = BTreeMap::new();
    for entry in std::fs::read_dir(&directory).map_err(io_error("read", &directory))? {
        let path = entry.map_err(io_error("read", &directory))?.path();
        let record = std::fs::read(path.join(FILE_NAME));
        let layer = record.ok().and_then(|bytes| serde_json::from_slice::<Layer>(&bytes).ok());
        match layer.filter(|layer| path == layer_path(root, &layer.diff_id) && path.join(DIFF).is_dir()) {
            Some(layer) => {
                link(root, &layer)?;
                layers.insert(layer.diff_id.clone(), Arc::new(layer));
            }
            None => {
                tracing::warn!(path = %path.display(), "a layer is damaged and removed");
                let trash = Temp::new(root);
                std::fs::rename(&path, trash.path()).map_err(io_error("remove", &path))?;
            }
        }
    }
    Ok(layers)
}

pub(crate) fn layer_path(root: &Path, diff_id: &DiffId) -> PathBuf {
    root.join("layers").join(diff_id.hex())
}

fn free_link(diff_id: &DiffId, layers: &BTreeMap<DiffId, Arc<Layer>>) -> String {
    let taken = |link: &str| layers.values().any(|layer| layer.link == link);
    let hex = diff_id.hex();
    let len = (LINK_LEN..hex.len()).find(|&len| !taken(&hex[..len])).unwrap_or(hex.len());
    hex[..len].to_owned()
}

fn link(root: &Path, layer: &Layer) -> Result<(), ImageError> {
    let path = root.join("l").join(&layer.link);
    let target = Path::new("../layers").join(layer.diff_id.hex()).join(DIFF);
    match std::os::unix::fs::symlink(target, &path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        done => done.map_err(io_error("create", &path)),
    }
}

/// Takes a layer out of the store at once; its bytes go when the trash is dropped.
fn discard(root: &Path, layer: &Layer) -> Result<Temp, ImageError> {
    let link = root.join("l").join(&layer.link);
    match std::fs::remove_file(&link) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        done => done.map_err(io_error("remove", &link))?,
    }
    let trash = Temp::new(root);
    let path = layer_path(root, &layer.diff_id);
    std::fs::rename(&path, trash.path()).map_err(io_error("remove", &path))?;
    Ok(trash)
}
