//! `GET /containers/json`: which containers, and a line about each.

use std::{path::Path, sync::Arc};

use engine::Places;
use model::{Container, State, container::Phase};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    create, face,
    inspect::{home, networks},
    mount, port, status,
};
use crate::{ApiError, filter::Filters, find, wire::port::ExposedPorts};

/// The filters that are known.
pub(crate) const FILTERS: [&str; 17] = [
    "ancestor",
    "before",
    "expose",
    "exited",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "label!",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
    "driver",
];

const STATUSES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

/// As much of a container's document as its line shows.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Shown {
    config: ShownConfig,
    host_config: ShownHostConfig,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ShownConfig {
    exposed_ports: ExposedPorts,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ShownHostConfig {
    network_mode: String,
}

/// Which containers are wanted.
pub(crate) struct Wanted<'a> {
    /// Those that do not run too.
    pub(crate) all: bool,
    /// The newest so many; none or less than one means all.
    pub(crate) limit: Option<i64>,
    /// What they must be like.
    pub(crate) filters: &'a Filters,
    /// The ids of the images that `ancestor` names, and of what was made from them.
    pub(crate) ancestors: Vec<String>,
}

/// The containers, newest first.
pub(crate) fn select<'a>(state: &'a State, wanted: &Wanted<'_>) -> Result<Vec<&'a Arc<Container>>, ApiError> {
    let filters = wanted.filters;
    let sieve = Sieve::new(state, wanted)?;
    // Whoever asks for a status or for the last few means those that do not run too.
    let limit = wanted.limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let all = wanted.all || limit.is_some() || !filters.get("status").is_empty();
    let lives =
        |container: &Container| container.run().is_some() || matches!(container.phase, Phase::Restarting { .. });
    let mut found: Vec<_> = state
        .containers
        .values()
        .filter(|container| (all || lives(container)) && sieve.passes(state, container))
        .collect();
    found.sort_by(|a, b| (b.created_ms, &b.id).cmp(&(a.created_ms, &a.id)));
    found.truncate(limit.unwrap_or(usize::MAX));
    Ok(found)
}

struct Sieve<'a> {
    filters: &'a Filters,
    ancestors: &'a [String],
    exited: Vec<i32>,
    before_ms: Option<i64>,
    since_ms: Option<i64>,
    networks: Vec<String>,
}

impl<'a> Sieve<'a> {
    fn new(state: &State, wanted: &'a Wanted<'_>) -> Result<Self, ApiError> {
        let filters = wanted.filters;
        if let Some(bad) = filters.get("status").iter().find(|status| !STATUSES.contains(&status.as_str())) {
            return Err(ApiError::invalid(format!("invalid filter 'status={bad}'")));
        }
        let healths = ["none", "starting", "healthy", "unhealthy"];
        if let Some(bad) = filters.get("health").iter().find(|health| !healths.contains(&health.as_str())) {
            return Err(ApiError::invalid(format!("invalid filter 'health={bad}'")));
        }
        filters.flag("is-task")?;
        let exit_code = |text: &String| {
            text.parse()
                .map_err(|_| ApiError::invalid(format!("invalid filter 'exited={text}': a whole number is expected")))
        };
        let made = |name: &str| -> Result<Option<i64>, ApiError> {
            let reference = filters.get(name).first();
            reference.map(|reference| Ok(find::container(state, reference)?.created_ms)).transpose()
        };
        let network = |text: &String| find::network(state, text).map_or_else(|_| text.clone(), |n| n.id.to_string());
        Ok(Self {
            filters,
            ancestors: &wanted.ancestors,
            exited: filters.get("exited").iter().map(exit_code).collect::<Result<_, _>>()?,
            before_ms: made("before")?,
            since_ms: made("since")?,
            networks: filters.get("network").iter().map(network).collect(),
        })
    }

    fn passes(&self, state: &State, container: &Container) -> bool {
        let filters = self.filters;
        filters.any("id", |id| container.id.as_str().starts_with(id))
            && (filters.pattern("name", &container.name) || filters.pattern("name", &format!("/{}", container.name)))
            && filters.labels(&container.labels)
            && filters.is("status", status::word(&container.phase))
            && filters.is("health", status::health_word(container.health.as_ref()))
            && filters.flag("is-task") != Ok(Some(true))
            && (self.exited.is_empty()
                || matches!(&container.phase, Phase::Exited(exit) if self.exited.contains(&exit.code)))
            && self.before_ms.is_none_or(|at| container.created_ms < at)
            && self.since_ms.is_none_or(|at| container.created_ms > at)
            && (filters.get("ancestor").is_empty() || self.ancestors.contains(&container.image.id))
            && self.network_fits(state, container)
            && self.ports_fit(state, container)
            && filters.any("volume", |wanted| volume_fits(wanted, container))
    }

    fn network_fits(&self, state: &State, container: &Container) -> bool {
        self.networks.is_empty()
            || find::endpoints(state, container).any(|(_, network)| self.networks.contains(&network.id.to_string()))
    }

    fn ports_fit(&self, state: &State, container: &Container) -> bool {
        if self.filters.get("publish").is_empty() && self.filters.get("expose").is_empty() {
            return true;
        }
        let published = find::sandbox(state, container).map(|sandbox| sandbox.published.as_slice()).unwrap_or_default();
        let is_published = |wanted: &str| published.iter().any(|p| port::fits(wanted, p.inside, p.protocol));
        let Shown { config, .. } = face::kept(state, container);
        let exposed: Vec<_> = create::exposed_ranges(&config.exposed_ports).flatten().collect();
        let is_exposed = |wanted: &str| exposed.iter().any(|(range, of)| port::fits(wanted, *range, *of));
        self.filters.any("publish", is_published)
            && self.filters.any("expose", |wanted| is_exposed(wanted) || is_published(wanted))
    }
}

fn volume_fits(wanted: &str, container: &Container) -> bool {
    container.mounts.iter().any(|mount| {
        mount.target == wanted
            || match &mount.source {
                model::container::MountSource::Volume { name, .. } => name == wanted,
                model::container::MountSource::Bind { path, .. } => path == Path::new(wanted),
                model::container::MountSource::Tmpfs { .. } => false,
            }
    })
}

/// The line about a container.
pub(crate) fn line(state: &State, container: &Container, places: &Places, now_ms: i64) -> Value {
    let Shown { config, host_config } = face::kept(state, container);
    let sandbox = home(state, container);
    json!({
        "Id": container.id.as_str(),
        "Names": [format!("/{}", container.name)],
        "Image": container.image.name,
        "ImageID": container.image.id,
        "Command": container.process.args.join(" "),
        "Created": container.created_ms.div_euclid(1_000),
        "Ports": sandbox.map(|sandbox| port::list(container, &config.exposed_ports, sandbox)).unwrap_or_default(),
        "Labels": container.labels,
        "State": status::word(&container.phase),
        "Status": status::sentence(container, now_ms),
        "HostConfig": { "NetworkMode": host_config.network_mode },
        "NetworkSettings": { "Networks": networks(state, container, sandbox) },
        "Mounts": mount::list(&container.mounts, places),
    })
}
