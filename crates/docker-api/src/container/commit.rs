//! `POST /commit`: a container's changes become an image.

use std::{path::PathBuf, sync::Arc};

use engine::EngineError;
use hyper::StatusCode;
use model::{Command, Container, Event, Refusal, State, container::Phase, event::EventKind};
use runtime::image::{self, CommitRequest, Reference};
use serde_json::json;

use super::face::Face;
use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
    find, time,
    wire::config::Config,
};

/// Answers the request. The container stands still meanwhile, unless `pause=0`.
pub(crate) async fn commit(api: &Arc<Api>, mut call: Call) -> Result<Answer, ApiError> {
    let config: Option<Config> = call.json().await?;
    let query = &call.query;
    let name = query.get("container").ok_or_else(|| ApiError::invalid("no container was named"))?;
    let state = api.engine.state();
    let container = Arc::clone(find::container(&state, name)?);
    let text = |name: &str| query.get(name).unwrap_or_default().to_owned();
    super::files::snapshot(api, &container).await?;
    let request = CommitRequest {
        container: container.id.to_string(),
        exclude: container.mounts.iter().map(|mount| PathBuf::from(&mount.target)).collect(),
        config: image_config(config.unwrap_or_else(|| Face::of(&state, &container).config)),
        changes: query.all("changes").flat_map(str::lines).map(str::to_owned).filter(|line| !line.is_empty()).collect(),
        author: text("author"),
        comment: text("comment"),
        reference: reference(query.get("repo"), query.get("tag"))?,
    };
    let pauses = query.flag_or("pause", true) && matches!(container.phase, Phase::Running(_));
    let paused = pauses && unless_ended(api.engine.submit(Command::Pause(container.id.clone())).await)?;
    let committed = api.engine.images().commit(request).await;
    if paused {
        unless_ended(api.engine.submit(Command::Unpause(container.id.clone())).await)?;
    }
    let id = committed?.to_string();
    tell(api, &container, &id);
    answer::json(StatusCode::CREATED, &json!({ "Id": id }))
}

/// A container may end at any moment, and then stands still by itself: false.
fn unless_ended(outcome: Result<Arc<State>, EngineError>) -> Result<bool, ApiError> {
    match outcome {
        Ok(_) => Ok(true),
        Err(EngineError::Refused(Refusal::Conflict(_))) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn reference(repo: Option<&str>, tag: Option<&str>) -> Result<Option<Reference>, ApiError> {
    let Some(repo) = repo else { return Ok(None) };
    let reference = Reference::parse(repo).map_err(image::ImageError::from)?;
    let tagged = tag.map_or(Ok(reference.clone()), |tag| reference.with_tag(tag));
    Ok(Some(tagged.map_err(image::ImageError::from)?))
}

/// What of a container's configuration an image has.
fn image_config(config: Config) -> image::Config {
    image::Config {
        user: config.user,
        exposed_ports: config.exposed_ports.singly().map(|(port, present)| (port.to_string(), present)).collect(),
        env: config.env,
        entrypoint: config.entrypoint,
        cmd: config.cmd,
        healthcheck: config.healthcheck,
        volumes: config.volumes.unwrap_or_default(),
        working_dir: config.working_dir,
        on_build: config.on_build.unwrap_or_default(),
        labels: config.labels,
        stop_signal: Some(config.stop_signal).filter(|signal| !signal.is_empty()),
        stop_timeout: config.stop_timeout,
        shell: config.shell,
        ..image::Config::default()
    }
}

fn tell(api: &Api, container: &Container, id: &str) {
    super::tell(api, container, "commit", [("imageID", id.to_owned())]);
    let attributes = [("name".to_owned(), id.to_owned())].into();
    let event = Event {
        at_ms: time::now_ms(),
        kind: EventKind::Image,
        action: "create".to_owned(),
        id: id.to_owned(),
        attributes,
    };
    api.engine.events().emit(event);
}
