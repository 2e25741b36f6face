//! `GET /images/json`.

use runtime::image::{Image, ListFilters};
use serde_json::{Value, json};

use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
    filter::Filters,
    time,
    version::Version,
};

const KEYS: [&str; 6] = ["before", "dangling", "label", "reference", "since", "until"];

/// Before this version a filter on names was a parameter of its own.
const FILTER_REPLACED_IN: Version = Version::new(1, 41);
/// Since when clients may ask for what images share.
const SHARED_SIZE_SINCE: Version = Version::new(1, 42);
/// Before this version an image without any name was called `<none>`.
const NONE_UNTIL: Version = Version::new(1, 43);
/// Before this version the size was told twice.
const VIRTUAL_SIZE_UNTIL: Version = Version::new(1, 44);

/// What is told besides an image itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Bytes that other images have too; none if nobody asked.
    pub(crate) shared: Option<u64>,
    /// How many containers were made from it; none if nobody asked.
    pub(crate) containers: Option<usize>,
}

pub(super) fn list(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let mut filters = call.query.filters(&KEYS)?;
    if call.version < FILTER_REPLACED_IN
        && let Some(pattern) = call.query.get("filter")
    {
        filters.add("reference", pattern);
    }
    let mut asked = list_filters(&filters, time::now_ms())?;
    asked.all = call.query.flag("all");
    let store = api.engine.images();
    let with_shared = call.version >= SHARED_SIZE_SINCE && call.query.flag("shared-size");
    let usage = with_shared.then(|| store.disk_usage());
    let shared = |image: &Image| usage.as_ref().map(|usage| usage.images.get(&image.id).map_or(0, |one| one.shared));
    let images = store.list(&asked)?;
    let shown =
        images.iter().map(|image| summary(image, Sizes { shared: shared(image), containers: None }, call.version));
    answer::ok(&shown.collect::<Vec<_>>())
}

/// What the filters ask of the store.
pub(crate) fn list_filters(filters: &Filters, now_ms: i64) -> Result<ListFilters, ApiError> {
    let texts = |key: &str| filters.get(key).to_vec();
    let single = |key| filters.single(key).map(|text| text.map(str::to_owned));
    let until = filters.single("until")?.map(|text| time::parse_ns(text, now_ms)).transpose()?;
    Ok(ListFilters {
        all: false,
        dangling: filters.flag("dangling")?,
        reference: texts("reference"),
        label: texts("label"),
        label_not: texts("label!"),
        before: single("before")?,
        since: single("since")?,
        until_unix_s: until.map(|until| i64::try_from(until.div_euclid(1_000_000_000)).unwrap_or(i64::MAX)),
    })
}

/// An image in a list.
pub(crate) fn summary(image: &Image, sizes: Sizes, version: Version) -> Value {
    let labels = &image.config.config.labels;
    let mut shown = json!({
        "Containers": sizes.containers.map_or(-1, |count| count as i64),
        "Created": image.created_unix_s(),
        "Id": image.id,
        "Labels": if labels.is_empty() { Value::Null } else { json!(labels) },
        "ParentId": image.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
        "RepoDigests": image.repo_digests,
        "RepoTags": image.repo_tags,
        "SharedSize": sizes.shared.map_or(-1, |bytes| bytes as i64),
        "Size": image.size,
    });
    if version < NONE_UNTIL && image.repo_tags.is_empty() && image.repo_digests.is_empty() {
        shown["RepoTags"] = json!(["<none>:<none>"]);
        shown["RepoDigests"] = json!(["<none>@<none>"]);
    }
    if version < VIRTUAL_SIZE_UNTIL {
        shown["VirtualSize"] = json!(image.size);
    }
    shown
}
