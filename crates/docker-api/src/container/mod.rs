//! Containers: one file for each of Docker's verbs, `create/` for the longest of them, and what several show (`status`, `port`,
//! `mount`).

mod archive;
mod attach;
mod commit;
pub(crate) mod create;
mod face;
mod files;
mod inspect;
mod lifecycle;
mod link;
pub(crate) mod list;
mod logs;
mod mount;
mod port;
mod stats;
mod status;
#[cfg(test)]
mod tests;
mod top;
mod update;
mod wait;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hyper::Method;
use model::{Container, Event, State, container::Phase, event::EventKind};
use runtime::image::Image;
use tokio::sync::watch;

pub(crate) use attach::window_size;
pub(crate) use commit::commit;

use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
    find, time,
};

/// A start that takes longer hangs, and must not hide its container.
const START_LIMIT: Duration = Duration::from_secs(5);

/// Answers `/containers/...`.
pub(crate) async fn route(api: &Arc<Api>, path: &[&str], call: Call) -> Result<Answer, ApiError> {
    match (&call.method.clone(), path) {
        (&Method::GET, ["containers", "json"]) => all(api, &call).await,
        (&Method::POST, ["containers", "create"]) => create::create(api, call).await,
        (&Method::GET, ["containers", name, "json"]) => one(api, name, &call).await,
        (&Method::POST, ["containers", name, "start"]) => lifecycle::start(api, name).await,
        (&Method::POST, ["containers", name, "stop"]) => lifecycle::stop(api, name, &call.query).await,
        (&Method::POST, ["containers", name, "restart"]) => lifecycle::restart(api, name, &call.query).await,
        (&Method::POST, ["containers", name, "kill"]) => lifecycle::kill(api, name, &call.query).await,
        (&Method::POST, ["containers", name, "pause"]) => lifecycle::pause(api, name).await,
        (&Method::POST, ["containers", name, "unpause"]) => lifecycle::unpause(api, name).await,
        (&Method::POST, ["containers", name, "rename"]) => lifecycle::rename(api, name, &call.query).await,
        (&Method::DELETE, ["containers", name, alias]) if call.query.flag("link") => {
            lifecycle::remove_link(api, name, alias).await
        }
        (&Method::DELETE, ["containers", _]) if call.query.flag("link") => Err(lifecycle::not_a_link()),
        (&Method::DELETE, ["containers", name]) => lifecycle::remove(api, name, &call.query).await,
        (&Method::POST, ["containers", name, "update"]) => update::update(api, name, call).await,
        (&Method::POST, ["containers", name, "wait"]) => wait::wait(api, name, &call.query),
        (&Method::POST, ["containers", name, "attach"]) => attach::attach(api, name, call).await,
        (&Method::GET, ["containers", name, "attach", "ws"]) => attach::attach_websocket(api, name, call).await,
        (&Method::POST, ["containers", name, "resize"]) => attach::resize(api, name, &call).await,
        (&Method::GET, ["containers", name, "logs"]) => logs::logs(api, name, &call).await,
        (&Method::GET, ["containers", name, "top"]) => top::top(api, name, &call.query).await,
        (&Method::GET, ["containers", name, "stats"]) => stats::stats(api, name, &call.query).await,
        (&Method::HEAD, ["containers", name, "archive"]) => archive::stat(api, name, &call.query).await,
        (&Method::GET, ["containers", name, "archive"]) => archive::get(api, name, &call.query).await,
        (&Method::PUT, ["containers", name, "archive"]) => archive::put(api, name, call).await,
        (&Method::GET, ["containers", name, "export"]) => archive::export(api, name).await,
        (&Method::GET, ["containers", name, "changes"]) => archive::changes(api, name).await,
        _ => Err(ApiError::no_such_page()),
    }
}

async fn all(api: &Arc<Api>, call: &Call) -> Result<Answer, ApiError> {
    let query = &call.query;
    let filters = query.filters(&list::FILTERS)?;
    let ancestors = filters.get("ancestor").iter();
    let state = api.engine.state();
    let wanted = list::Wanted {
        all: query.flag("all"),
        limit: query.number("limit")?,
        // A name that no image has is an ancestor of nothing.
        ancestors: ancestors.filter_map(|name| Some(api.engine.images().resolve(name).ok()?.id.to_string())).collect(),
        filters: &filters,
    };
    let now_ms = time::now_ms();
    let links = link::names(&state);
    let mut lines = Vec::new();
    for container in list::select(&state, &wanted)? {
        let mut line = list::line(&state, container, &api.places, now_ms);
        if let (Some(links), Some(names)) = (links.get(&container.id), line["Names"].as_array_mut()) {
            names.extend(links.iter().map(|name| name.as_str().into()));
        }
        if query.flag("size") {
            let (written, whole) = files::sizes(api, container).await?;
            line["SizeRw"] = written.into();
            line["SizeRootFs"] = whole.into();
        }
        lines.push(line);
    }
    answer::ok(&lines)
}

async fn one(api: &Arc<Api>, name: &str, call: &Call) -> Result<Answer, ApiError> {
    let state = past_start(api.engine.watch(), name).await?;
    let container = find::container(&state, name)?;
    let sizes = if call.query.flag("size") { Some(files::sizes(api, container).await?) } else { None };
    let around = inspect::Surroundings {
        places: &api.places,
        execs: api.engine.runtime().exec_ids(container.id.as_str()),
        graph: files::graph(api, container),
        sizes,
    };
    let mut document = inspect::inspect(&state, container, &around);
    inspect::as_before(&mut document, container, call.version);
    answer::ok(&document)
}

/// The state, when a start of the container that is under way has come to its end: a process that asks for itself as the first thing it
/// does finds that it runs.
async fn past_start(mut states: watch::Receiver<Arc<State>>, name: &str) -> Result<Arc<State>, ApiError> {
    let state = Arc::clone(&states.borrow());
    let id = &find::container(&state, name)?.id;
    let is_past = |state: &Arc<State>| state.containers.get(id).is_none_or(|found| found.phase != Phase::Starting);
    if !is_past(&state) {
        // In the end what is there is shown.
        drop(tokio::time::timeout(START_LIMIT, states.wait_for(is_past)).await);
    }
    Ok(Arc::clone(&states.borrow()))
}

/// Tells those who watch of something that the face itself did to a container.
pub(crate) fn tell<const N: usize>(api: &Api, container: &Container, action: &str, more: [(&str, String); N]) {
    let mut attributes: BTreeMap<String, String> = container.labels.clone();
    attributes.insert("name".to_owned(), container.name.clone());
    attributes.insert("image".to_owned(), container.image.name.clone());
    attributes.extend(more.map(|(key, value)| (key.to_owned(), value)));
    api.engine.events().emit(Event {
        at_ms: time::now_ms(),
        kind: EventKind::Container,
        action: action.to_owned(),
        id: container.id.to_string(),
        attributes,
    });
}

/// The image that a new container starts from.
fn image_of(api: &Api, name: &str) -> Result<Image, ApiError> {
    Ok(api.engine.images().resolve(name)?)
}

/// Puts settings over an environment; a name without `=` takes the variable away.
pub(crate) fn override_env(env: &mut Vec<String>, with: &[String]) {
    let name = |setting: &str| setting.split('=').next().unwrap_or_default().to_owned();
    for setting in with {
        let place = env.iter().position(|known| name(known) == name(setting));
        match (place, setting.contains('=')) {
            (Some(at), true) => env[at].clone_from(setting),
            (Some(at), false) => drop(env.remove(at)),
            (None, true) => env.push(setting.clone()),
            (None, false) => {}
        }
    }
}
