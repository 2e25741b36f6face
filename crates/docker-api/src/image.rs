//! Images: shown, named, removed, and moved to and from registries and archives. What an image is, and all work on it, is the
//! image store's.

mod archive;
mod credential;
mod event;
mod list;
mod progress;
mod registry;
mod remove;
mod show;

use std::sync::Arc;

use hyper::{Method, StatusCode};

use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
};
pub(crate) use credential::Credential;
pub(crate) use list::{Sizes, list_filters, summary};
pub(crate) use remove::{container_uses, removals};

/// Everything below `/images` but prune, and `/distribution`. Names have slashes.
pub(crate) async fn route(api: &Arc<Api>, path: &[&str], call: Call) -> Result<Answer, ApiError> {
    match (&call.method.clone(), path) {
        (&Method::GET, ["images", "json"]) => list::list(api, &call),
        (&Method::GET, ["images", "search"]) => Err(ApiError::not_implemented(
            "linkspan does not search registries: look on the registry's own pages, and pull by name",
        )),
        (&Method::GET, ["images", "get"]) => {
            archive::save(api, call.query.all("names").map(str::to_owned).collect()).await
        }
        (&Method::POST, ["images", "load"]) => archive::load(api, call).await,
        (&Method::POST, ["images", "create"]) => match call.query.get("fromImage") {
            Some(_) => registry::pull(api, &call).await,
            None => archive::import(api, call).await,
        },
        (&Method::GET, ["images", name @ .., "json"]) => show::inspect(api, &name.join("/"), &call),
        (&Method::GET, ["images", name @ .., "history"]) => show::history(api, &name.join("/")),
        (&Method::GET, ["images", name @ .., "get"]) => archive::save(api, vec![name.join("/")]).await,
        (&Method::POST, ["images", name @ .., "tag"]) => tag(api, &name.join("/"), &call).await,
        (&Method::POST, ["images", name @ .., "push"]) => registry::push(api, &name.join("/"), &call).await,
        (&Method::DELETE, ["images", name @ ..]) => remove::remove(api, &name.join("/"), &call).await,
        (&Method::GET, ["distribution", name @ .., "json"]) => {
            registry::distribution(api, &name.join("/"), &call).await
        }
        _ => Err(ApiError::no_such_page()),
    }
}

async fn tag(api: &Api, name: &str, call: &Call) -> Result<Answer, ApiError> {
    let text = |parameter| call.query.get(parameter).unwrap_or_default();
    let target = registry::reference(text("repo"), text("tag"))?;
    if target.digest().is_some() {
        return Err(ApiError::invalid("refusing to create a tag with a digest reference"));
    }
    if target.familiar_name() == "sha256" {
        return Err(ApiError::invalid("refusing to create an ambiguous tag using digest algorithm as name"));
    }
    let target = target.or_latest();
    let image = api.engine.images().resolve(name)?;
    api.engine.images().tag(image.id.as_str(), &target.to_string()).await?;
    event::tell(api, "tag", image.id.as_str(), &target.familiar());
    Ok(answer::empty(StatusCode::CREATED))
}
