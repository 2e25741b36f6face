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
    let volumes: Vec<Value> = list::list(&state, &filters)?.map(|volume| show(volume, &api.places)).collect();
    answer::ok(&json!({ "Volumes": volumes, "Warnings": null }))
}

fn inspect(api: &Api, name: &str) -> Result<Answer, ApiError> {
    answer::ok(&show(find::volume(&api.engine.state(), name)?, &api.places))
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
    answer::json(StatusCode::CREATED, &show(find::volume(&state, &name)?, &api.places))
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

#[cfg(test)]
mod tests {
    use engine::Places;
    use model::State;

    use super::*;
    use crate::{
        filter::Filters,
        testing::{after, check_golden, opened, with_container},
    };

    fn inhabited() -> State {
        let state =
            with_container(&opened(), "web", &json!({ "Image": "box", "HostConfig": { "Binds": ["data:/data"] } }));
        let requests = [
            json!({ "Name": "plain", "Labels": { "tier": "back" } }),
            json!({ "Name": "remote", "DriverOpts": { "type": "nfs", "o": "addr=192.0.2.1", "device": ":/x" } }),
            json!({}),
        ];
        requests.into_iter().fold(state, |state, request| {
            let request = serde_json::from_value(request).unwrap();
            after(&state, Command::CreateVolume(create::volume(request, "ab".repeat(32), 1_700_000_000_000).unwrap()))
        })
    }

    #[test]
    fn volumes_are_shown() {
        let state = inhabited();
        let places = Places { data_root: "/var/lib/linkspan".into(), run_dir: "/run/linkspan".into() };
        let shown: Vec<_> = state.volumes.values().map(|volume| show(volume, &places)).collect();
        check_golden("volume/shown.json", &format!("{:#}\n", json!(shown)));
    }

    #[test]
    fn lists_are_filtered() {
        let state = inhabited();
        let anonymous = "ab".repeat(32);
        let check = |filter: &str, expected: &[&str]| {
            let filters = Filters::parse(filter, &list::KEYS).unwrap();
            let found: Vec<_> = list::list(&state, &filters).unwrap().map(|volume| volume.name.as_str()).collect();
            assert_eq!(found, expected, "{filter}");
        };
        check("", &[&anonymous, "data", "plain", "remote"]);
        check(r#"{"dangling":["true"]}"#, &[&anonymous, "plain", "remote"]);
        check(r#"{"dangling":["false"]}"#, &["data"]);
        check(r#"{"name":["^p"]}"#, &["plain"]);
        check(r#"{"name":["a"]}"#, &[&anonymous, "data", "plain"]);
        check(r#"{"driver":["local"]}"#, &[&anonymous, "data", "plain", "remote"]);
        check(r#"{"driver":["nfs"]}"#, &[]);
        check(r#"{"label":["tier=back"]}"#, &["plain"]);
        check(r#"{"label":["com.docker.volume.anonymous"]}"#, &[&anonymous]);
    }
}
