//! Networks: made, shown, joined, left and removed.

pub(crate) mod create;
mod ipam;
mod list;
mod option;
mod show;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use hyper::{Method, StatusCode};
use model::{Command, EndpointId, NetworkId, State, command::Connect};
use serde::Deserialize;
use serde_json::json;

use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
    endpoint::{self, EndpointSettings},
    find, random,
    version::Version,
};
use show::{Containers, show};
pub(crate) use show::{endpoints_up, has_idle_subnet_of};

/// Before this version a list told the containers of each network too.
const LIST_WITHOUT_CONTAINERS_SINCE: Version = Version::new(1, 28);

/// Everything below `/networks` but prune.
pub(crate) async fn route(api: &Arc<Api>, path: &[&str], call: Call) -> Result<Answer, ApiError> {
    match (&call.method.clone(), path) {
        (&Method::GET, ["networks"]) => list(api, &call),
        (&Method::POST, ["networks", "create"]) => create(api, call).await,
        (&Method::POST, ["networks", name, "connect"]) => connect(api, name, call).await,
        (&Method::POST, ["networks", name, "disconnect"]) => disconnect(api, name, call).await,
        (&Method::GET, ["networks", name]) => inspect(api, name, &call),
        (&Method::DELETE, ["networks", name]) => remove(api, name).await,
        _ => Err(ApiError::no_such_page()),
    }
}

fn list(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let filters = call.query.filters(&list::KEYS)?;
    let containers =
        if call.version < LIST_WITHOUT_CONTAINERS_SINCE { Containers::Listed } else { Containers::LeftOut };
    answer::ok(&list::list(&api.engine.state(), &filters, containers)?)
}

fn inspect(api: &Api, name: &str, call: &Call) -> Result<Answer, ApiError> {
    // There are no services to be verbose about, but nonsense is refused.
    if let Some(verbose) = call.query.get("verbose") {
        option::boolean(verbose).ok_or_else(|| ApiError::invalid(format!("invalid value for verbose: {verbose}")))?;
    }
    if call.query.get("scope").is_some_and(|scope| scope != "local") {
        return Err(ApiError::not_found(format!("network {name} not found")));
    }
    let state = api.engine.state();
    answer::ok(&show(&state, find::network(&state, name)?, Containers::Listed))
}

async fn create(api: &Api, mut call: Call) -> Result<Answer, ApiError> {
    let request: create::Request = call.json_required().await?;
    let id = NetworkId::from_bytes(random::bytes()?);
    let wish = create::wish(request.over(&api.settings.network_options), id.clone(), call.version)?;
    api.engine.submit(Command::CreateNetwork(Box::new(wish))).await?;
    answer::json(StatusCode::CREATED, &json!({ "Id": id, "Warning": "" }))
}

async fn remove(api: &Api, name: &str) -> Result<Answer, ApiError> {
    let id = find::network(&api.engine.state(), name)?.id.clone();
    api.engine.submit(Command::RemoveNetwork(id)).await?;
    Ok(answer::done())
}

/// The body of a connect.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ConnectRequest {
    container: String,
    endpoint_config: Option<EndpointSettings>,
}

async fn connect(api: &Api, name: &str, mut call: Call) -> Result<Answer, ApiError> {
    let request: ConnectRequest = call.json_required().await?;
    let id = EndpointId::from_bytes(random::bytes()?);
    let command = connect_command(&api.engine.state(), name, &request, id)?;
    api.engine.submit(command).await?;
    Ok(answer::empty(StatusCode::OK))
}

fn connect_command(state: &State, name: &str, request: &ConnectRequest, id: EndpointId) -> Result<Command, ApiError> {
    let container = find::container(state, &request.container)?.id.clone();
    let network = find::network(state, name)?;
    let settings = request.endpoint_config.clone().unwrap_or_default();
    let wish = endpoint::wish(state, network, &settings)?;
    Ok(Command::Connect(Box::new(Connect { id, container, network: network.id.clone(), wish })))
}

/// The body of a disconnect. Force is for networks that another daemon has lost; there are none here.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct DisconnectRequest {
    container: String,
}

async fn disconnect(api: &Api, name: &str, mut call: Call) -> Result<Answer, ApiError> {
    let request: DisconnectRequest = call.json_required().await?;
    let state = api.engine.state();
    let network = find::network(&state, name)?.id.clone();
    let container = find::container(&state, &request.container)?.id.clone();
    api.engine.submit(Command::Disconnect { container, network }).await?;
    Ok(answer::empty(StatusCode::OK))
}
