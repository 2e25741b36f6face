//! Images nobody needs, removed together.

use super::error::ImageError;
use super::list::{self, ListFilters};
use super::reference::Reference;
use super::remove::{self, ContainerUse, RemoveOptions, Removed, has_children};
use super::store::{Store, blocking};

/// What a prune did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// In order.
    pub removed: Vec<Removed>,
    /// Bytes of files that are gone.
    pub reclaimed: u64,
}

impl Store {
    /// Removes the images that pass the filters and no container uses. `dangling: Some(false)` means all unused ones,
    /// anything else only those without a tag.
    pub async fn prune(&self, filters: ListFilters, used: &[ContainerUse]) -> Result<Pruned, ImageError> {
        let (store, used) = (self.clone(), used.to_vec());
        blocking(move || prune(&store, filters, &used)).await
    }
}

fn prune(store: &Store, mut filters: ListFilters, used: &[ContainerUse]) -> Result<Pruned, ImageError> {
    filters.dangling = if filters.dangling == Some(false) { None } else { Some(true) };
    filters.all = true;
    let mut removed = Vec::new();
    let gone = store.update(|state| {
        let mut gone = Vec::new();
        // Newest first: children before the parents they keep.
        for image in list::list(state, &filters)? {
            let in_use = used.iter().any(|container| container.image == image.id);
            if in_use || has_children(state, &image.id) || !state.index.images.contains_key(&image.id) {
                continue;
            }
            let references: Vec<Reference> = state.index.references_to(&image.id).cloned().collect();
            references.iter().for_each(|reference| remove::untag(state, reference, &mut removed));
            let options = RemoveOptions { keep_parents: true, ..RemoveOptions::default() };
            gone.extend(remove::delete(state, &image.id, options, used, &mut removed));
        }
        Ok(gone)
    })?;
    let reclaimed = store.finish_removal(&gone)?;
    Ok(Pruned { removed, reclaimed })
}
