//! Names taken away and images removed, with Docker's rules of who may stop it.

use super::digest::ImageId;
use super::error::ImageError;
use super::find;
use super::reference::Reference;
use super::store::{State, Store, blocking, config_path};

/// A container that stands on an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUse {
    /// Full id of the container.
    pub container: String,
    /// The image it was made from.
    pub image: ImageId,
    /// Whether its process runs (or is paused).
    pub running: bool,
}

/// How hard to try.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Also when stopped containers use it or several names point to it.
    pub force: bool,
    /// Keep parents that only this image needed.
    pub keep_parents: bool,
}

/// One thing that a removal did, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// This reference points nowhere now.
    Untagged(String),
    /// This image or layer (by chain id) is gone.
    Deleted(String),
}

impl Store {
    /// Takes a name away; the image goes with its last one. By id, the image goes if no more than one repository
    /// names it. Layers stay while another image or a container needs them.
    pub async fn remove_image(
        &self,
        name: &str,
        options: RemoveOptions,
        used: &[ContainerUse],
    ) -> Result<Vec<Removed>, ImageError> {
        let (store, name, used) = (self.clone(), name.to_owned(), used.to_vec());
        blocking(move || {
            let mut removed = Vec::new();
            let gone = store.update(|state| remove(state, &name, options, &used, &mut removed))?;
            store.finish_removal(&gone)?;
            Ok(removed)
        })
        .await
    }

    /// Deletes what the images that left the index had on disk.
    pub(crate) fn finish_removal(&self, gone: &[ImageId]) -> Result<u64, ImageError> {
        self.update(|state| {
            for id in gone.iter().filter(|id| !state.index.images.contains_key(id)) {
                // What stays is removed on the next open.
                let _ = std::fs::remove_file(config_path(self.root(), id));
            }
            Ok(())
        })?;
        Ok(self.collect_garbage()?.values().sum())
    }
}

fn remove(
    state: &mut State,
    name: &str,
    options: RemoveOptions,
    used: &[ContainerUse],
    removed: &mut Vec<Removed>,
) -> Result<Vec<ImageId>, ImageError> {
    let id = find::find(state, name)?;
    let reference = Reference::parse(name).ok().map(Reference::or_latest);
    let named = reference.filter(|reference| find::by_reference(state, reference).is_some());
    let references: Vec<Reference> = state.index.references_to(&id).cloned().collect();
    match named {
        Some(reference) => {
            let reference = reference.digest().map_or(reference.clone(), |digest| reference.with_digest(digest));
            if is_one_repository(&references, Some(&reference)) {
                refuse_reference_in_use(&reference, &id, options, used)?;
            }
            untag(state, &reference, removed);
            let rest: Vec<Reference> = references.into_iter().filter(|other| *other != reference).collect();
            // A repository's digests go with its last tag.
            let tagged = |other: &Reference| other.digest().is_none() && other.same_repository(&reference);
            let alone = reference.digest().is_none() && !rest.iter().any(tagged);
            let (digests, rest): (Vec<_>, Vec<_>) =
                rest.into_iter().partition(|other| alone && other.same_repository(&reference));
            digests.iter().for_each(|digest| untag(state, digest, removed));
            if !rest.is_empty() {
                return Ok(Vec::new());
            }
        }
        None => {
            if references.len() > 1 && !is_one_repository(&references, None) && !options.force {
                return Err(conflict(&id, "must be forced", "image is referenced in multiple repositories"));
            }
            refuse_image_in_use(state, &id, options, used)?;
            references.iter().for_each(|reference| untag(state, reference, removed));
            return Ok(delete(state, &id, options, used, removed));
        }
    }
    // The last name is gone. Unlike by id, a child or a stopped container now only keeps the image.
    let kept = has_children(state, &id) || used.iter().any(|container| container.image == id && !options.force);
    if kept || used.iter().any(|container| container.image == id && container.running) {
        return Ok(Vec::new());
    }
    Ok(delete(state, &id, options, used, removed))
}

/// Takes the image out of the index, then the parents that nobody names or needs any more.
pub(crate) fn delete(
    state: &mut State,
    id: &ImageId,
    options: RemoveOptions,
    used: &[ContainerUse],
    removed: &mut Vec<Removed>,
) -> Vec<ImageId> {
    let mut gone = Vec::new();
    let mut next = Some(id.clone());
    while let Some(id) = next {
        let Some(record) = state.index.images.remove(&id) else {
            break;
        };
        state.configs.remove(&id);
        state.damaged.remove(&id);
        removed.push(Removed::Deleted(id.to_string()));
        removed.extend(unneeded_chains(state, &record.layers).into_iter().map(Removed::Deleted));
        gone.push(id);
        next = record.parent.filter(|parent| {
            !options.keep_parents
                && state.index.references_to(parent).next().is_none()
                && !has_children(state, parent)
                && !used.iter().any(|container| container.image == *parent)
        });
    }
    gone
}

pub(crate) fn untag(state: &mut State, reference: &Reference, removed: &mut Vec<Removed>) {
    state.index.references.remove(reference);
    removed.push(Removed::Untagged(reference.familiar()));
}

pub(crate) fn has_children(state: &State, id: &ImageId) -> bool {
    state.index.images.values().any(|record| record.parent.as_ref() == Some(id))
}

/// Chain ids, top first, of a removed image's stack that no other image or container has.
fn unneeded_chains(state: &State, layers: &[ImageId]) -> Vec<String> {
    let images = state.index.images.values().map(|record| &record.layers);
    let shared = images
        .chain(state.holds.values().map(|hold| &hold.layers))
        .map(|other| other.iter().zip(layers).take_while(|(a, b)| a == b).count())
        .max()
        .unwrap_or(0);
    let mut chain = None;
    let mut chains = Vec::new();
    for (depth, diff_id) in layers.iter().enumerate() {
        let next = ImageId::chain(chain.as_ref(), diff_id);
        if depth >= shared {
            chains.push(next.to_string());
        }
        chain = Some(next);
    }
    chains.reverse();
    chains
}

/// Docker takes a tag and the digest of the same repository for one name.
fn is_one_repository(references: &[Reference], asked: Option<&Reference>) -> bool {
    match references {
        [] => false,
        [one] => asked.is_none_or(|asked| asked == one),
        [first, rest @ ..] => {
            let tags = references.iter().filter(|reference| reference.digest().is_none()).count();
            tags <= 1
                && rest.iter().all(|other| other.same_repository(first))
                && asked.is_none_or(|asked| asked.digest().is_none())
        }
    }
}

fn refuse_reference_in_use(
    reference: &Reference,
    id: &ImageId,
    options: RemoveOptions,
    used: &[ContainerUse],
) -> Result<(), ImageError> {
    let Some(user) = used.iter().find(|container| container.image == *id).filter(|_| !options.force) else {
        return Ok(());
    };
    Err(ImageError::Conflict {
        action: format!("remove repository reference {:?}", reference.familiar()),
        severity: "must force",
        reason: format!("container {} is using its referenced image {}", short(&user.container), id.short()),
    })
}

fn refuse_image_in_use(
    state: &State,
    id: &ImageId,
    options: RemoveOptions,
    used: &[ContainerUse],
) -> Result<(), ImageError> {
    if has_children(state, id) {
        return Err(conflict(id, "cannot be forced", "image has dependent child images"));
    }
    let mut users = used.iter().filter(|container| container.image == *id);
    if let Some(running) = users.clone().find(|container| container.running) {
        let reason = format!("image is being used by running container {}", short(&running.container));
        return Err(conflict(id, "cannot be forced", &reason));
    }
    if let Some(stopped) = users.next().filter(|_| !options.force) {
        let reason = format!("image is being used by stopped container {}", short(&stopped.container));
        return Err(conflict(id, "must be forced", &reason));
    }
    Ok(())
}

fn conflict(id: &ImageId, severity: &'static str, reason: &str) -> ImageError {
    ImageError::Conflict { action: format!("delete {}", id.short()), severity, reason: reason.to_owned() }
}

fn short(container: &str) -> &str {
    container.get(..12).unwrap_or(container)
}
