//! Start, stop, kill and the other verbs that answer with nothing.

use std::sync::Arc;

use hyper::StatusCode;
use model::{
    Command,
    command::{AnonymousVolumes, Force},
};

use super::create;
use crate::{
    Api, ApiError,
    answer::{self, Answer},
    find,
    query::Query,
    signal,
};

const SIGKILL: i32 = 9;

pub(super) async fn start(api: &Arc<Api>, name: &str) -> Result<Answer, ApiError> {
    let state = api.engine.state();
    api.engine.start(&find::container(&state, name)?.id).await?;
    Ok(answer::done())
}

pub(super) async fn stop(api: &Arc<Api>, name: &str, query: &Query) -> Result<Answer, ApiError> {
    let state = api.engine.state();
    let container = find::container(&state, name)?;
    let (timeout_s, signal) = ending(query)?;
    if !container.is_live() {
        return Ok(answer::empty(StatusCode::NOT_MODIFIED));
    }
    api.engine.stop(&container.id, timeout_s, signal).await?;
    Ok(answer::done())
}

pub(super) async fn restart(api: &Arc<Api>, name: &str, query: &Query) -> Result<Answer, ApiError> {
    let state = api.engine.state();
    let container = find::container(&state, name)?;
    let (timeout_s, signal) = ending(query)?;
    api.engine.restart(&container.id, timeout_s, signal).await?;
    super::tell(api, container, "restart", []);
    Ok(answer::done())
}

pub(super) async fn kill(api: &Arc<Api>, name: &str, query: &Query) -> Result<Answer, ApiError> {
    let state = api.engine.state();
    let container = find::container(&state, name)?;
    let signal = query.get("signal").map_or(Ok(SIGKILL), signal::parse)?;
    if container.run().is_none() {
        let words = format!("cannot kill container: {name}: container {} is not running", container.id);
        return Err(ApiError::conflict(words));
    }
    api.engine.kill(&container.id, signal).await?;
    Ok(answer::done())
}

pub(super) async fn pause(api: &Arc<Api>, name: &str) -> Result<Answer, ApiError> {
    let state = api.engine.state();
    api.engine.submit(Command::Pause(find::container(&state, name)?.id.clone())).await?;
    Ok(answer::done())
}

pub(super) async fn unpause(api: &Arc<Api>, name: &str) -> Result<Answer, ApiError> {
    let state = api.engine.state();
    api.engine.submit(Command::Unpause(find::container(&state, name)?.id.clone())).await?;
    Ok(answer::done())
}

pub(super) async fn rename(api: &Arc<Api>, name: &str, query: &Query) -> Result<Answer, ApiError> {
    let state = api.engine.state();
    let container = find::container(&state, name)?;
    let wanted = query.get("name").ok_or_else(|| ApiError::invalid("Neither old nor new names may be empty"))?;
    let wanted = create::check_name(wanted)?;
    if wanted == container.name {
        return Err(ApiError::invalid("Renaming a container with the same name as its current name"));
    }
    api.engine.submit(Command::Rename { container: container.id.clone(), name: wanted.to_owned() }).await?;
    Ok(answer::done())
}

pub(super) async fn remove(api: &Arc<Api>, name: &str, query: &Query) -> Result<Answer, ApiError> {
    let state = api.engine.state();
    let container = find::container(&state, name)?;
    let force = if query.flag("force") { Force::Kill } else { Force::No };
    let volumes = if query.flag("v") { AnonymousVolumes::Remove } else { AnonymousVolumes::Keep };
    api.engine.remove(&container.id, force, volumes).await?;
    Ok(answer::done())
}

/// Takes a link away: `alias` is what the container knows another by.
pub(super) async fn remove_link(api: &Arc<Api>, container: &str, alias: &str) -> Result<Answer, ApiError> {
    let state = api.engine.state();
    let container = find::container(&state, container)?.id.clone();
    api.engine.submit(Command::RemoveLink { container, alias: alias.to_owned() }).await?;
    Ok(answer::done())
}

/// What is answered when the name is no link's.
pub(super) fn not_a_link() -> ApiError {
    ApiError::conflict(
        "Conflict, cannot remove the default link name of the container: name the link as CONTAINER/ALIAS",
    )
}

/// Reads `t` and `signal`.
fn ending(query: &Query) -> Result<(Option<i64>, Option<i32>), ApiError> {
    Ok((query.number("t")?, query.get("signal").map(signal::parse).transpose()?))
}
