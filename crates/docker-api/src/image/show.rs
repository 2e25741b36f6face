//! One image in full, and how it came to be.

use std::path::PathBuf;

use runtime::image::{HistoryItem, Image};
use serde_json::{Map, Value, json};

use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
    time::NEVER,
    version::Version,
};

/// Before this version the size was told twice, and an image without a date was made at the beginning of time.
const VIRTUAL_SIZE_UNTIL: Version = Version::new(1, 44);
/// Before this version the configuration had fields that only containers have.
const CONTAINER_FIELDS_UNTIL: Version = Version::new(1, 50);

pub(super) fn inspect(api: &Api, name: &str, call: &Call) -> Result<Answer, ApiError> {
    if call.query.flag("manifests") && call.query.get("platform").is_some() {
        return Err(ApiError::invalid("conflicting options: manifests and platform options cannot both be set"));
    }
    let store = api.engine.images();
    let image = store.resolve(name)?;
    let layers = store.lower_dirs(&image.id)?;
    answer::ok(&show(&image, &layers, call.version))
}

pub(super) fn history(api: &Api, name: &str) -> Result<Answer, ApiError> {
    let steps = api.engine.images().history(name)?;
    answer::ok(&steps.iter().map(step).collect::<Vec<_>>())
}

/// An image; its layers' directories, top first.
fn show(image: &Image, layers: &[PathBuf], version: Version) -> Value {
    let config = &image.config;
    let mut shown = json!({
        "Id": image.id,
        "RepoTags": image.repo_tags,
        "RepoDigests": image.repo_digests,
        "Parent": image.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
        "Comment": comment(image),
        "DockerVersion": "",
        "Author": config.author,
        "Config": process_config(image, version),
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.size,
        "GraphDriver": { "Name": "overlay2", "Data": directories(layers) },
        "RootFS": { "Type": config.rootfs.kind, "Layers": config.rootfs.diff_ids },
        "Metadata": { "LastTagTime": image.last_tagged.as_deref().unwrap_or(NEVER) },
    });
    let old = version < VIRTUAL_SIZE_UNTIL;
    if old {
        shown["VirtualSize"] = json!(image.size);
    }
    if let Some(created) = config.created.as_deref().or(old.then_some(NEVER)) {
        shown["Created"] = json!(created);
    }
    if let Some(variant) = &config.variant {
        shown["Variant"] = json!(variant);
    }
    shown
}

/// The message of the image, or else of its last step.
fn comment(image: &Image) -> &str {
    let last = image.config.history.last().map(|step| step.comment.as_str()).unwrap_or_default();
    if image.config.comment.is_empty() { last } else { &image.config.comment }
}

/// What a container of the image runs, with the empty fields that clients of this version expect.
fn process_config(image: &Image, version: Version) -> Value {
    let mut config = json!({
        "Cmd": null, "Entrypoint": null, "Env": null, "Labels": null, "OnBuild": null, "User": "", "Volumes": null, "WorkingDir": "",
    });
    let container_only = json!({
        "AttachStderr": false, "AttachStdin": false, "AttachStdout": false, "Domainname": "", "Hostname": "", "Image": "",
        "OpenStdin": false, "StdinOnce": false, "Tty": false,
    });
    // The configuration is an object of texts, lists and maps: it can always be written.
    let own = serde_json::to_value(&image.config.config).unwrap_or_default();
    let extra = if version < CONTAINER_FIELDS_UNTIL { container_only } else { json!({}) };
    for document in [extra, own] {
        merge(&mut config, document);
    }
    config
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// The image's directories, named as the overlay they make.
fn directories(layers: &[PathBuf]) -> Map<String, Value> {
    let mut layers = layers.iter().map(|path| path.to_string_lossy());
    let upper = layers.next();
    let lower = layers.collect::<Vec<_>>().join(":");
    let named = [("UpperDir", upper.map(|path| path.into_owned())), ("LowerDir", (!lower.is_empty()).then_some(lower))];
    named.into_iter().filter_map(|(name, path)| Some((name.to_owned(), Value::String(path?)))).collect()
}

fn step(step: &HistoryItem) -> Value {
    json!({
        "Comment": step.comment,
        "Created": step.created_unix_s,
        "CreatedBy": step.created_by,
        "Id": step.id.as_ref().map_or_else(|| "<missing>".to_owned(), ToString::to_string),
        "Size": step.size,
        "Tags": if step.tags.is_empty() { Value::Null } else { json!(step.tags) },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use runtime::image::{Digest, ImageConfig};

    use super::*;
    use crate::{
        image::{Sizes, summary},
        testing::check_golden,
        version::NEWEST,
    };

    fn image(config: Value) -> Image {
        let config: ImageConfig = serde_json::from_value(config).unwrap();
        Image {
            id: Digest::of(b"image"),
            repo_tags: vec!["busybox:1.36".to_owned()],
            repo_digests: vec![],
            parent: None,
            size: 4096,
            last_tagged: None,
            config: Arc::new(config),
        }
    }

    fn full() -> Image {
        image(json!({
            "architecture": "arm", "variant": "v7", "os": "linux", "author": "me", "created": "2023-11-14T22:13:20.5Z",
            "config": {
                "User": "1000", "ExposedPorts": { "80/tcp": {} }, "Env": ["PATH=/bin"], "Entrypoint": ["/init"], "Cmd": ["sh"],
                "Volumes": { "/data": {} }, "WorkingDir": "/data", "Labels": { "tier": "front" }, "StopSignal": "SIGINT",
                "Healthcheck": { "Test": ["CMD", "true"], "Interval": 1_000_000_000 }, "Shell": ["/bin/sh", "-c"],
            },
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(b"layer")] },
            "history": [{ "created": "2023-11-14T22:13:20Z", "created_by": "COPY x", "comment": "the last step" }],
        }))
    }

    #[test]
    fn images_are_shown() {
        let layers = [PathBuf::from("/l/TOP"), PathBuf::from("/l/MIDDLE"), PathBuf::from("/l/BOTTOM")];
        let text = |image: &Image, layers: &[PathBuf], version| format!("{:#}\n", show(image, layers, version));
        check_golden("image/full.json", &text(&full(), &layers, NEWEST));
        check_golden("image/full_1.43.json", &text(&full(), &layers, Version::new(1, 43)));
        let bare = Image { repo_tags: vec![], ..image(json!({ "architecture": "amd64", "os": "linux" })) };
        check_golden("image/bare.json", &text(&bare, &[], NEWEST));
        check_golden("image/bare_1.42.json", &text(&bare, &layers[..1], Version::new(1, 42)));
        let none = Sizes { shared: None, containers: None };
        let lines = [
            summary(&full(), none, NEWEST),
            summary(&bare, Sizes { shared: Some(7), containers: Some(2) }, NEWEST),
            summary(&bare, none, Version::new(1, 42)),
        ];
        check_golden("image/summaries.json", &format!("{:#}\n", json!(lines)));
    }
}
