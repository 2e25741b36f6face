//! The daemon itself: whether it is there, what it is, what it has, and what it has not (Swarm, plugins).

mod auth;
mod host;
mod info;
mod usage;
mod version;

use std::sync::Arc;

use hyper::{Method, StatusCode, header::HeaderValue};
use serde_json::{Value, json};

use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
};

/// `/_ping`, `/version`, `/info`, `/auth`, `/system/df`, and all that only a swarm or a plugin could answer.
pub(crate) async fn route(api: &Arc<Api>, path: &[&str], call: Call) -> Result<Answer, ApiError> {
    match (&call.method.clone(), path) {
        (&Method::GET, ["_ping"]) => Ok(ping(answer::text("OK"))),
        (&Method::HEAD, ["_ping"]) => Ok(ping(answer::text(""))),
        (&Method::GET, ["version"]) => answer::ok(&version::version(&api.settings.version, &host::read()?)),
        (&Method::GET, ["info"]) => info(api).await,
        (&Method::POST, ["auth"]) => auth::log_in(api, call).await,
        (&Method::GET, ["system", "df"]) => usage::usage(api, &call).await,
        (&Method::GET, ["plugins"]) => answer::ok(&json!([])),
        (_, ["plugins", ..]) => plugin(path),
        (_, ["swarm", "leave"]) => Err(unavailable("This node is not part of a swarm")),
        (_, ["swarm", "init" | "join"]) => {
            Err(unavailable("linkspan has no Swarm mode: a linkspan machine cannot join or start a swarm"))
        }
        (_, ["swarm" | "services" | "tasks" | "nodes" | "secrets" | "configs", ..]) => Err(no_swarm()),
        _ => Err(ApiError::no_such_page()),
    }
}

/// 503 for all that only a manager of a swarm could do.
pub(crate) fn no_swarm() -> ApiError {
    unavailable(
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
    )
}

fn unavailable(message: &str) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
}

fn ping(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert("builder-version", HeaderValue::from_static("1"));
    headers.insert("cache-control", HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert("pragma", HeaderValue::from_static("no-cache"));
    headers.insert("swarm", HeaderValue::from_static("inactive"));
    answer
}

fn plugin(path: &[&str]) -> Result<Answer, ApiError> {
    match path {
        ["plugins", "privileges" | "pull" | "create"] => Err(ApiError::not_implemented("linkspan has no plugins")),
        ["plugins", name, ..] => Err(ApiError::not_found(format!("plugin {name:?} not found"))),
        _ => Err(ApiError::no_such_page()),
    }
}

async fn info(api: &Arc<Api>) -> Result<Answer, ApiError> {
    let state = api.engine.state();
    let images = api.engine.images().list(&runtime::image::ListFilters { all: true, ..Default::default() })?.len();
    let facts = info::Facts { host: host::read()?, images, settings: &api.settings };
    let info: Value = info::info(&state, &facts);
    answer::ok(&info)
}
