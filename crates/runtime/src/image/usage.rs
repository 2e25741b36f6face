//! What the store takes on disk.

use std::collections::BTreeMap;

use super::digest::{DiffId, ImageId};
use super::store::Store;

/// Sizes in bytes of files, before the filesystem rounds them up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// All layers, each counted once.
    pub layers: u64,
    /// By image.
    pub images: BTreeMap<ImageId, ImageUsage>,
}

/// What one image takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageUsage {
    /// All its layers.
    pub size: u64,
    /// Those that other images have too.
    pub shared: u64,
}

impl Store {
    /// What images and layers take. Answered from memory: layers never change.
    pub fn disk_usage(&self) -> DiskUsage {
        let state = self.state();
        let mut users: BTreeMap<&DiffId, usize> = BTreeMap::new();
        for diff_id in state.index.images.values().flat_map(|record| &record.layers) {
            *users.entry(diff_id).or_default() += 1;
        }
        let size = |diff_id: &DiffId| state.layers.get(diff_id).map_or(0, |layer| layer.size);
        let usage = |layers: &[DiffId]| ImageUsage {
            size: layers.iter().map(size).sum(),
            shared: layers.iter().filter(|diff_id| users[diff_id] > 1).map(size).sum(),
        };
        DiskUsage {
            layers: state.layers.values().map(|layer| layer.size).sum(),
            images: state.index.images.iter().map(|(id, record)| (id.clone(), usage(&record.layers))).collect(),
        }
    }
}
