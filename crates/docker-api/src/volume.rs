//! Volumes: made, shown and removed. The one driver is `local`.

mod create;
mod list;
mod show;
mod size;

use std::sync::Arc;

use engine::EngineError;
use hyper::{Method, StatusCode};
use model::{Command, Refusal};
use serde_json::{Value, json};

use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
    find, random, time,
};
pub(crate) use list::{labels, users};
pub(crate) use show::{Usage, mountpoint, show, show_used};
pub(crate) use size::directory_size;

/// Everything below `/volumes` but prune.
pub(crate) async fn route(api: &Arc<Api>, path: &[&str], call: Call) -> Result<Answer, ApiError> {
    match (&call.method.clone(), path) {
        (&Method::GET, ["volumes"]) => list(api, &call),
        (&Method::POST, ["volumes", "create"]) => create(api, call).await,
        (&Method::GET, ["volumes", name]) => inspect(api, name),
        (&Method::PUT, ["volumes", _]) => Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "volume update only valid for cluster volumes, but swarm is unavailable",
        )),
        (&Method::DELETE, ["volumes", name]) => remove(api, name, &call).await,
        _ => Err(ApiError::no_such_page()),
    }
}

fn list(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let filters = call.query.filters(&list::KEYS)?;
    let state = api.engine.state();
    let volumes: Vec<Value> =
        list::list(&state, &filters)?.map(|volume| show(volume, &api.settings.data_root)).collect();
    answer::ok(&json!({ "Volumes": volumes, "Warnings": null }))
}

fn inspect(api: &Api, name: &str) -> Result<Answer, ApiError> {
    answer::ok(&show(find::volume(&api.engine.state(), name)?, &api.settings.data_root))
}

async fn create(api: &Api, mut call: Call) -> Result<Answer, ApiError> {
    let request = call.json().await?.unwrap_or_default();
    let volume = create::volume(request, random::text(random::bytes()?), time::now_ms())?;
    let name = volume.name.clone();
    let state = match api.engine.submit(Command::CreateVolume(volume)).await {
        // It is there already, and Docker answers with what is there.
        Err(EngineError::Refused(Refusal::Unchanged(_))) => api.engine.state(),
        outcome => outcome?,
    };
    answer::json(StatusCode::CREATED, &show(find::volume(&state, &name)?, &api.settings.data_root))
}

async fn remove(api: &Api, name: &str, call: &Call) -> Result<Answer, ApiError> {
    let missing = find::volume(&api.engine.state(), name).err();
    match missing {
        Some(_) if call.query.flag("force") => Ok(answer::done()),
        Some(error) => Err(error),
        None => {
            api.engine.submit(Command::RemoveVolume { name: name.to_owned() }).await?;
            Ok(answer::done())
        }
    }
}
