//! How an image came to be, newest step first.

use super::digest::ImageId;
use super::error::ImageError;
use super::find::{self, seconds};
use super::store::Store;

/// One step of an image's making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryItem {
    /// The image that ended with this step, where it is known.
    pub id: Option<ImageId>,
    /// Seconds since the epoch.
    pub created_unix_s: i64,
    /// The command.
    pub created_by: String,
    /// Names of that image.
    pub tags: Vec<String>,
    /// Bytes of the files of its layer.
    pub size: u64,
    /// Message.
    pub comment: String,
}

impl Store {
    /// The history of the image with this name.
    pub fn history(&self, name: &str) -> Result<Vec<HistoryItem>, ImageError> {
        let state = self.state();
        let image = find::image(&state, &find::find(&state, name)?)?;
        let mut layers = image.config.rootfs.diff_ids.iter();
        let mut size_of_next = || layers.next().and_then(|id| state.layers.get(id)).map_or(0, |layer| layer.size);
        let mut items: Vec<HistoryItem> = image
            .config
            .history
            .iter()
            .map(|step| HistoryItem {
                id: None,
                created_unix_s: seconds(step.created.as_deref()),
                created_by: step.created_by.clone(),
                tags: Vec::new(),
                size: if step.empty_layer { 0 } else { size_of_next() },
                comment: step.comment.clone(),
            })
            .collect();
        items.reverse();
        // A commit adds one step, so the parents on this machine end with the next ones.
        let mut ancestor = Some(image.id);
        for item in &mut items {
            let Some(image) = ancestor.and_then(|id| find::image(&state, &id).ok()) else {
                break;
            };
            item.id = Some(image.id);
            item.tags = image.repo_tags;
            ancestor = image.parent;
        }
        Ok(items)
    }
}
