//! The table of paths. Each noun matches the rest of its own.

use std::sync::Arc;

use hyper::{Method, Request, body::Incoming};

use crate::{
    Api, ApiError,
    answer::Answer,
    build,
    call::Call,
    container, event, exec, image, network, prune,
    query::{self, Query},
    system, version, volume,
};

/// Finds the handler of a request and lets it answer.
pub(crate) async fn dispatch(api: Arc<Api>, mut request: Request<Incoming>) -> Result<Answer, ApiError> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let (version, path) = version::split(head.uri.path())?;
    let path = query::decode(path);
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let query = Query::parse(head.uri.query().unwrap_or_default());
    let call = Call { method: head.method, version, query, headers: head.headers, body: body.into(), upgrade };
    route(&api, &segments, call).await
}

async fn route(api: &Arc<Api>, path: &[&str], call: Call) -> Result<Answer, ApiError> {
    match (&call.method.clone(), path) {
        (&Method::POST, ["containers" | "images" | "networks" | "volumes" | "build", "prune"]) => {
            prune::route(api, path, call).await
        }
        (&Method::POST, ["containers", _, "exec"]) => exec::route(api, path, call).await,
        (_, ["containers", ..]) => container::route(api, path, call).await,
        (&Method::POST, ["commit"]) => container::commit(api, call).await,
        (_, ["exec", ..]) => exec::route(api, path, call).await,
        (_, ["images", ..] | ["distribution", ..]) => image::route(api, path, call).await,
        (_, ["networks", ..]) => network::route(api, path, call).await,
        (_, ["volumes", ..]) => volume::route(api, path, call).await,
        (_, ["build", ..] | ["session"] | ["grpc"]) => build::route(api, path, call).await,
        (&Method::GET, ["events"]) => event::route(api, path, call).await,
        (_, ["_ping" | "version" | "info" | "auth"] | ["system", "df"]) => system::route(api, path, call).await,
        (_, ["swarm" | "services" | "tasks" | "nodes" | "secrets" | "configs" | "plugins", ..]) => {
            system::route(api, path, call).await
        }
        _ => Err(ApiError::no_such_page()),
    }
}
