//! `DELETE /images/...`, and what stands in the way: the containers.

use model::State;
use runtime::image::{ContainerUse, RemoveOptions, Removed};
use serde_json::{Value, json};

use super::event;
use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
};

pub(super) async fn remove(api: &Api, name: &str, call: &Call) -> Result<Answer, ApiError> {
    if name.trim().is_empty() {
        return Err(ApiError::invalid("image name cannot be blank"));
    }
    let options = RemoveOptions { force: call.query.flag("force"), keep_parents: call.query.flag("noprune") };
    let store = api.engine.images();
    let image = store.resolve(name)?;
    let removed = store.remove_image(name, options, &container_uses(&api.engine.state())).await?;
    for one in &removed {
        match one {
            Removed::Untagged(_) => event::tell(api, "untag", image.id.as_str(), image.id.as_str()),
            Removed::Deleted(id) if id == image.id.as_str() => event::tell(api, "delete", id, id),
            // Layers, and parents that went along.
            Removed::Deleted(_) => {}
        }
    }
    answer::ok(&removals(&removed))
}

/// The containers that stand on images.
pub(crate) fn container_uses(state: &State) -> Vec<ContainerUse> {
    let containers = state.containers.values();
    containers
        .filter_map(|container| {
            let image = container.image.id.parse().ok()?;
            Some(ContainerUse { container: container.id.to_string(), image, running: container.is_live() })
        })
        .collect()
}

/// What a removal did, as Docker tells it.
pub(crate) fn removals(removed: &[Removed]) -> Vec<Value> {
    let told = |one: &Removed| match one {
        Removed::Untagged(name) => json!({ "Untagged": name }),
        Removed::Deleted(id) => json!({ "Deleted": id }),
    };
    removed.iter().map(told).collect()
}
