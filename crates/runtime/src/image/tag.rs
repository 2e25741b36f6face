//! A further name for an image.

use super::error::ImageError;
use super::find;
use super::reference::Reference;
use super::store::{Store, blocking};

impl Store {
    /// Points `target` to the image that `source` names; without a tag, `latest`.
    pub async fn tag(&self, source: &str, target: &str) -> Result<(), ImageError> {
        let target = Reference::parse(target)?;
        if target.digest().is_some() {
            return Err(ImageError::Invalid("refusing to create a tag with a digest reference".to_owned()));
        }
        let (store, source, target) = (self.clone(), source.to_owned(), target.or_latest());
        blocking(move || {
            store.update(|state| {
                let id = find::find(state, &source)?;
                state.index.point(&target, &id);
                Ok(())
            })
        })
        .await
    }
}
