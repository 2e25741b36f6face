//! `POST /containers/create`: from Docker's document and the image's defaults to a `ContainerWish`.
//!
//! One file per part of the wish. `merge` adds the image's defaults, `check` refuses in Docker's words what makes no sense.

mod check;
mod health;
mod log;
mod merge;
mod mount;
mod name;
mod namespace;
mod network;
mod port;
mod process;
mod resources;
mod security;
#[cfg(test)]
mod tests;
mod version;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use hyper::StatusCode;
use model::{
    Container, ContainerId, State,
    command::ContainerWish,
    container::{AfterExit, Image, Missing, MountSource, Phase, Stop, Want},
};
use runtime::image::{ImageConfig, Platform};
use serde::Deserialize;
use serde_json::json;

pub(crate) use check::name as check_name;
pub(crate) use check::restart as check_restart;
pub(crate) use merge::discard;
pub(crate) use port::{exposed_ranges, inside as exposed_port};
pub(crate) use resources::{check as check_limits, limits, restart};

use super::face::Face;
use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
    endpoint::EndpointSettings,
    random, signal, time,
    version::Version,
    wire::{config::Config, host_config::HostConfig, null_default},
};

/// Seconds between the stop signal and the kill.
const STOP_TIMEOUT_S: i64 = 10;
const SIGTERM: i32 = 15;

/// The body: a `Config` with two more members.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Body {
    #[serde(flatten)]
    pub(crate) config: Config,
    #[serde(deserialize_with = "null_default")]
    pub(crate) host_config: HostConfig,
    #[serde(deserialize_with = "null_default")]
    pub(crate) networking_config: NetworkingConfig,
}

/// The networks of a new container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct NetworkingConfig {
    #[serde(deserialize_with = "null_default")]
    pub(crate) endpoints_config: BTreeMap<String, Option<EndpointSettings>>,
}

/// What the wish depends on besides the body.
pub(crate) struct Context<'a> {
    /// Containers and networks that the body names.
    pub(crate) state: &'a State,
    /// Which version of the API is spoken.
    pub(crate) version: Version,
    /// The name that was asked for, if any.
    pub(crate) name: Option<&'a str>,
    /// The image's id.
    pub(crate) image_id: String,
    /// The image's defaults.
    pub(crate) image: runtime::image::Config,
    /// What the host has.
    pub(crate) host: HostView,
    /// Milliseconds since 1970 UTC.
    pub(crate) now_ms: i64,
    /// New random bytes at each call.
    pub(crate) random: random::Source<'a>,
}

/// What of the host matters to a new container's document.
#[derive(Clone, Debug)]
pub(crate) struct HostView {
    /// Its name.
    pub(crate) hostname: String,
    /// How many processors.
    pub(crate) cpus: usize,
    /// How many nodes of memory.
    pub(crate) memory_nodes: usize,
    /// The control groups.
    pub(crate) cgroups: Cgroups,
}

/// What the host's control groups can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cgroups {
    /// Version 1, and whether it shares block devices by weight.
    V1 { block_weights: bool },
    /// Version 2, where containers see a tree of their own unless they ask.
    V2,
}

impl HostView {
    pub(crate) fn now() -> Self {
        Self {
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_nodes: resources::memory_nodes(),
            cgroups: Cgroups::now(),
        }
    }
}

impl Cgroups {
    fn now() -> Self {
        let has = |name: &str| Path::new("/sys/fs/cgroup").join(name).exists();
        if has("cgroup.controllers") {
            return Self::V2;
        }
        Self::V1 { block_weights: has("blkio/blkio.weight") || has("blkio/blkio.bfq.weight") }
    }
}

/// Answers the request.
pub(crate) async fn create(api: &Arc<Api>, mut call: Call) -> Result<Answer, ApiError> {
    let body: Option<Body> = call.json().await?;
    let body = body.ok_or_else(|| ApiError::invalid("config cannot be empty in order to create a container"))?;
    if body.config.image.is_empty() {
        return Err(ApiError::invalid("no image specified: give its name or id in Image"));
    }
    let image = super::image_of(api, &body.config.image)?;
    if let Some(platform) = call.query.get("platform").filter(|platform| !platform.is_empty()) {
        check_platform(&body.config.image, &image.config, platform)?;
    }
    let state = api.engine.state();
    let context = Context {
        state: &state,
        version: call.version,
        name: call.query.get("name"),
        image_id: image.id.to_string(),
        image: image.config.config.clone(),
        host: HostView::now(),
        now_ms: time::now_ms(),
        random: &mut random::bytes,
    };
    let (wish, warnings) = wish(body, context)?;
    check_bind_sources(&wish.container)?;
    let id = wish.container.id.clone();
    let created = api.engine.create(wish).await;
    created.map_err(|error| blame_the_request(error.into()))?;
    answer::json(StatusCode::CREATED, &json!({ "Id": id.as_str(), "Warnings": warnings }))
}

/// An image for another machine than was asked for is none: clients take 404 for a missing image, and pull the right one.
fn check_platform(name: &str, image: &ImageConfig, wanted: &str) -> Result<(), ApiError> {
    let wanted: Platform = wanted.parse()?;
    let found = Platform::from(image);
    if wanted.accepts(&found) || found.architecture.is_empty() {
        return Ok(());
    }
    Err(ApiError::not_found(format!(
        "image with reference {name} was found but its platform ({found}) does not match the specified platform ({wanted})"
    )))
}

/// A container or network that the body names and nobody has is the body's fault. Clients take 404 here for a missing image, and
/// pull it.
pub(super) fn blame_the_request(error: ApiError) -> ApiError {
    match error.status {
        StatusCode::NOT_FOUND => ApiError::invalid(error.message),
        _ => error,
    }
}

/// What the body asks for, and what its sender should know.
pub(crate) fn wish(body: Body, context: Context<'_>) -> Result<(ContainerWish, Vec<String>), ApiError> {
    let Context { state, version, name, image_id, image, host, now_ms, random } = context;
    let Body { mut config, mut host_config, networking_config } = body;
    version::spell_out(&mut host_config, version);
    check::body(&config, &host_config, &host)?;
    merge::image(&mut config, image)?;
    let mut warnings = merge::defaults(&mut config, &mut host_config, &host);
    let id = ContainerId::from_bytes(random()?);
    let name = name::given_or_made(state, name, random)?;
    let resolved = namespace::resolve(state, &host_config)?;
    let home = network::Home { id: &id, name: &name, state, version, host: &host };
    let asked =
        network::Asked { config: &mut config, host: &mut host_config, endpoints: networking_config.endpoints_config };
    let (sandbox, sandbox_id) = network::sandbox(&home, asked, random, &mut warnings)?;
    let (mounts, volumes) = mount::mounts(state, &config, &host_config, now_ms, random)?;
    let logged = log::Subject { id: &id, config: &config, image_id: &image_id, hostname: &host.hostname };
    let container = Container {
        process: process::process(&config, &host_config),
        resources: limits(&host_config),
        security: security::security(&host_config)?,
        health_check: health::check(&config),
        log: log::log(&host_config.log_config, &logged)?,
        restart: resources::restart(&host_config.restart_policy),
        stop: Stop {
            signal: if config.stop_signal.is_empty() { SIGTERM } else { signal::parse(&config.stop_signal)? },
            timeout_s: config.stop_timeout.unwrap_or(STOP_TIMEOUT_S),
        },
        after_exit: if host_config.auto_remove { AfterExit::Remove } else { AfterExit::Keep },
        external_runtime: external_runtime(&host_config.runtime)?,
        image: Image { id: image_id, name: config.image.clone() },
        labels: config.labels.clone(),
        annotations: host_config.annotations.clone(),
        id,
        name,
        created_ms: now_ms,
        sandbox: sandbox_id,
        mounts,
        namespaces: resolved,
        want: Want::Stopped,
        phase: Phase::Created,
        restarts: 0,
        backoff_ms: 0,
        health: None,
    };
    let face = Face { config, host_config }.to_document();
    Ok((ContainerWish { container, sandbox, volumes, face }, warnings))
}

/// The built-in runtime answers to its own name and to the ones that Docker's clients know.
fn external_runtime(name: &str) -> Result<Option<PathBuf>, ApiError> {
    match name {
        "" | "linkspan" | "runc" | "io.containerd.runc.v2" => Ok(None),
        path if path.starts_with('/') => Ok(Some(path.into())),
        _ => Err(ApiError::invalid(format!("unknown or invalid runtime name: {name}"))),
    }
}

/// Mounts that must not make their source are refused at once, not at the start.
fn check_bind_sources(container: &Container) -> Result<(), ApiError> {
    for mount in &container.mounts {
        if let MountSource::Bind { path, missing: Missing::Refuse, .. } = &mount.source
            && !path.exists()
        {
            return Err(ApiError::invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {}",
                path.display()
            )));
        }
    }
    Ok(())
}
