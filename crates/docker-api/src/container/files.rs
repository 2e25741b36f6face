//! A container's files on the host: its writable layer, how large it is, how an inspect shows it.

use std::path::{Path, PathBuf};

use model::Container;
use runtime::image::{ImageId, Snapshot};
use serde_json::{Value, json};

use crate::{Api, ApiError};

/// The layers of a container. One that was never started gets its writable layer now.
pub(crate) async fn snapshot(api: &Api, container: &Container) -> Result<Snapshot, ApiError> {
    if let Some(snapshot) = api.engine.images().snapshot(container.id.as_str())? {
        return Ok(snapshot);
    }
    let image: ImageId = container.image.id.parse().map_err(runtime::image::ImageError::from)?;
    Ok(api.engine.images().create_snapshot(container.id.as_str(), &image).await?)
}

/// The `GraphDriver` of an inspect.
pub(super) fn graph(api: &Api, container: &Container) -> Value {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let data = match api.engine.images().snapshot(container.id.as_str()) {
        Ok(Some(snapshot)) => json!({
            "ID": container.id.as_str(),
            "LowerDir": snapshot.lower.iter().map(|path| text(path)).collect::<Vec<_>>().join(":"),
            "MergedDir": text(&snapshot.upper.with_file_name("merged")),
            "UpperDir": text(&snapshot.upper),
            "WorkDir": text(&snapshot.work),
        }),
        _ => Value::Null,
    };
    json!({ "Name": "overlay2", "Data": data })
}

/// Bytes that a container has written, and bytes in all with its image.
pub(super) async fn sizes(api: &Api, container: &Container) -> Result<(u64, u64), ApiError> {
    let image: Option<ImageId> = container.image.id.parse().ok();
    let below = image.and_then(|id| api.engine.images().image(&id).ok()).map_or(0, |image| image.size);
    let written = match api.engine.images().snapshot(container.id.as_str())? {
        Some(snapshot) => {
            let counted = tokio::task::spawn_blocking(move || size_of(snapshot.upper)).await;
            counted.map_err(|error| ApiError::internal(error.to_string()))?
        }
        None => 0,
    };
    Ok((written, written + below))
}

/// Bytes of the files below a directory. What cannot be read, or has just gone, counts as nothing.
fn size_of(directory: PathBuf) -> u64 {
    let mut bytes = 0;
    let mut left = vec![directory];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => left.push(entry.path()),
                Ok(found) if found.is_file() => bytes += found.len(),
                _ => {}
            }
        }
    }
    bytes
}
