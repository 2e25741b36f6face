//! `GET /system/df`: what everything takes on disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hyper::StatusCode;
use model::State;
use runtime::image::ListFilters;
use serde_json::{Value, json};

use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
    container, image, time,
    version::Version,
    volume,
};

/// Since when clients may ask for some kinds only.
const KINDS_SINCE: Version = Version::new(1, 42);
const KINDS: [&str; 4] = ["container", "image", "volume", "build-cache"];

pub(super) async fn usage(api: &Arc<Api>, call: &Call) -> Result<Answer, ApiError> {
    let kinds = kinds(call)?;
    let (api, version) = (Arc::clone(api), call.version);
    // Directories are counted on a thread that may block.
    let counted = tokio::task::spawn_blocking(move || count(&api, &kinds, version)).await;
    let document =
        counted.map_err(|_| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is shutting down"))??;
    answer::ok(&document)
}

fn kinds(call: &Call) -> Result<BTreeSet<&'static str>, ApiError> {
    let mut kinds = BTreeSet::new();
    if call.version >= KINDS_SINCE {
        for asked in call.query.all("type") {
            let kind = KINDS.iter().find(|kind| **kind == asked);
            kinds.insert(*kind.ok_or_else(|| ApiError::invalid(format!("unknown object type: {asked}")))?);
        }
    }
    Ok(if kinds.is_empty() { BTreeSet::from(KINDS) } else { kinds })
}

/// Kinds that nobody asked for are null.
fn count(api: &Api, kinds: &BTreeSet<&str>, version: Version) -> Result<Value, ApiError> {
    let state = api.engine.state();
    let asked = |kind| kinds.contains(kind);
    let layers = asked("image").then(|| api.engine.images().disk_usage().layers);
    Ok(json!({
        "LayersSize": layers.unwrap_or_default(),
        "Images": asked("image").then(|| images(api, &state, version)).transpose()?,
        "Containers": asked("container").then(|| containers(api, &state)),
        "Volumes": asked("volume").then(|| volumes(api, &state)),
        "BuildCache": asked("build-cache").then(Vec::<Value>::new),
    }))
}

fn images(api: &Api, state: &State, version: Version) -> Result<Vec<Value>, ApiError> {
    let store = api.engine.images();
    let usage = store.disk_usage();
    let mut users: BTreeMap<&str, usize> = BTreeMap::new();
    for container in state.containers.values() {
        *users.entry(&container.image.id).or_default() += 1;
    }
    let shown = store.list(&ListFilters::default())?.into_iter().map(|one| {
        let shared = usage.images.get(&one.id).map_or(0, |usage| usage.shared);
        let containers = users.get(one.id.as_str()).copied().unwrap_or_default();
        image::summary(&one, image::Sizes { shared: Some(shared), containers: Some(containers) }, version)
    });
    Ok(shown.collect())
}

fn containers(api: &Api, state: &State) -> Vec<Value> {
    let store = api.engine.images();
    let now_ms = time::now_ms();
    let shown = state.containers.values().map(|one| {
        let mut line = container::list::line(state, one, &api.places, now_ms);
        let upper = store.snapshot(one.id.as_str()).ok().flatten().map(|snapshot| snapshot.upper);
        let own = upper.and_then(|upper| volume::directory_size(&upper).ok()).unwrap_or_default();
        let image = one.image.id.parse().ok().and_then(|id| store.image(&id).ok()).map_or(0, |image| image.size);
        line["SizeRw"] = json!(own);
        line["SizeRootFs"] = json!(own + image);
        line
    });
    shown.collect()
}

fn volumes(api: &Api, state: &State) -> Vec<Value> {
    let users = volume::users(state);
    // Volumes with options of the driver are somebody else's files.
    let own = state.volumes.values().filter(|volume| volume.options.is_empty());
    let shown = own.map(|one| {
        let size = volume::directory_size(&volume::mountpoint(&api.places, &one.name));
        let usage = volume::Usage {
            size: size.map_or(-1, |bytes| bytes as i64),
            users: users.get(one.name.as_str()).copied().unwrap_or_default(),
        };
        volume::show_used(one, &api.places, &usage)
    });
    shown.collect()
}
