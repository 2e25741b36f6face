//! `POST /*/prune`: what nobody uses goes, one by one. What somebody took in the meantime stays.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    Command, ContainerId, Event, NetworkId, State,
    command::{AnonymousVolumes, Force},
    event::EventKind,
    network::Origin,
    volume::Naming,
};
use serde_json::json;

use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
    filter::Filters,
    image, network, time,
    version::Version,
    volume,
};

/// Before this version volumes with names went too.
const ANONYMOUS_ONLY_SINCE: Version = Version::new(1, 42);

/// Prunes what the path names.
pub(crate) async fn route(api: &Arc<Api>, path: &[&str], call: Call) -> Result<Answer, ApiError> {
    match path {
        ["containers", ..] => containers(api, &call).await,
        ["networks", ..] => networks(api, &call).await,
        ["volumes", ..] => volumes(api, &call).await,
        ["images", ..] => images(api, &call).await,
        ["build", ..] => answer::ok(&json!({ "CachesDeleted": [], "SpaceReclaimed": 0 })),
        _ => Err(ApiError::no_such_page()),
    }
}

async fn containers(api: &Arc<Api>, call: &Call) -> Result<Answer, ApiError> {
    let filters = call.query.filters(&["label", "label!", "until"])?;
    let unused = unused_containers(&api.engine.state(), &filters, time::now_ms())?;
    let (mut deleted, mut reclaimed) = (Vec::new(), 0);
    for container in unused {
        let upper = api.engine.images().snapshot(container.as_str()).ok().flatten().map(|snapshot| snapshot.upper);
        let bytes = match upper {
            Some(upper) => size_of(upper).await,
            None => 0,
        };
        let command = Command::RemoveContainer {
            container: container.clone(),
            force: Force::No,
            volumes: AnonymousVolumes::Keep,
        };
        if went(api, command, "container", container.as_str()).await {
            reclaimed += bytes;
            deleted.push(container);
        }
    }
    tell(api, EventKind::Container, reclaimed);
    answer::ok(&json!({ "ContainersDeleted": deleted, "SpaceReclaimed": reclaimed }))
}

fn unused_containers(state: &State, filters: &Filters, now_ms: i64) -> Result<Vec<ContainerId>, ApiError> {
    let until_ms = until_ms(filters, now_ms)?;
    let unused = state.containers.values().filter(|container| {
        !container.is_live()
            && until_ms.is_none_or(|until| container.created_ms <= until)
            && filters.labels(&container.labels)
    });
    Ok(unused.map(|container| container.id.clone()).collect())
}

async fn networks(api: &Arc<Api>, call: &Call) -> Result<Answer, ApiError> {
    let filters = call.query.filters(&["label", "label!", "until"])?;
    let unused = unused_networks(&api.engine.state(), &filters, time::now_ms())?;
    let mut deleted = Vec::new();
    for (name, id) in unused {
        if went(api, Command::RemoveNetwork(id), "network", &name).await {
            deleted.push(name);
        }
    }
    tell(api, EventKind::Network, 0);
    answer::ok(&json!({ "NetworksDeleted": deleted }))
}

fn unused_networks(state: &State, filters: &Filters, now_ms: i64) -> Result<Vec<(String, NetworkId)>, ApiError> {
    let until_ms = until_ms(filters, now_ms)?;
    let unused = state.networks.values().filter(|network| {
        network.origin == Origin::User
            && until_ms.is_none_or(|until| network.created_ms <= until)
            && filters.labels(&network.labels)
            && network::endpoints_up(state, &network.id).next().is_none()
    });
    Ok(unused.map(|network| (network.name.clone(), network.id.clone())).collect())
}

async fn volumes(api: &Arc<Api>, call: &Call) -> Result<Answer, ApiError> {
    let mut filters = call.query.filters(&["all", "label", "label!"])?;
    if call.version < ANONYMOUS_ONLY_SINCE {
        filters.add("all", "true");
    }
    let unused = unused_volumes(&api.engine.state(), &filters)?;
    let (mut deleted, mut reclaimed) = (Vec::new(), 0);
    for name in unused {
        let bytes = size_of(volume::mountpoint(&api.places, &name)).await;
        if went(api, Command::RemoveVolume { name: name.clone() }, "volume", &name).await {
            reclaimed += bytes;
            deleted.push(name);
        }
    }
    tell(api, EventKind::Volume, reclaimed);
    answer::ok(&json!({ "VolumesDeleted": deleted, "SpaceReclaimed": reclaimed }))
}

/// Volumes with options of the driver are somebody else's files, and stay.
fn unused_volumes(state: &State, filters: &Filters) -> Result<Vec<String>, ApiError> {
    if filters.get("all").len() > 1 {
        return Err(ApiError::invalid("invalid filter 'all': only one value is expected"));
    }
    let all = filters.flag("all")?.unwrap_or(false);
    let users = volume::users(state);
    let unused = state.volumes.values().filter(|volume| {
        (all || volume.naming == Naming::Anonymous)
            && volume.options.is_empty()
            && !users.contains_key(volume.name.as_str())
            && filters.labels(&volume::labels(volume))
    });
    Ok(unused.map(|volume| volume.name.clone()).collect())
}

async fn images(api: &Arc<Api>, call: &Call) -> Result<Answer, ApiError> {
    let filters = call.query.filters(&["dangling", "label", "label!", "until"])?;
    let asked = image::list_filters(&filters, time::now_ms())?;
    let uses = image::container_uses(&api.engine.state());
    let pruned = api.engine.images().prune(asked, &uses).await?;
    tell(api, EventKind::Image, pruned.reclaimed);
    answer::ok(&json!({ "ImagesDeleted": image::removals(&pruned.removed), "SpaceReclaimed": pruned.reclaimed }))
}

/// Removes one thing; false if it is needed after all.
async fn went(api: &Api, command: Command, kind: &str, name: &str) -> bool {
    match api.engine.submit(command).await {
        Ok(_) => true,
        Err(error) => {
            tracing::info!(kind, name, %error, "not pruned");
            false
        }
    }
}

/// The moment that what goes must be older than, milliseconds since 1970.
fn until_ms(filters: &Filters, now_ms: i64) -> Result<Option<i64>, ApiError> {
    let until = filters.single("until")?.map(|text| time::parse_ns(text, now_ms)).transpose()?;
    Ok(until.map(|until| i64::try_from(until.div_euclid(1_000_000)).unwrap_or(i64::MAX)))
}

/// Bytes below a directory; 0 if it cannot be read.
async fn size_of(path: std::path::PathBuf) -> u64 {
    let counted = tokio::task::spawn_blocking(move || volume::directory_size(&path));
    counted.await.ok().and_then(Result::ok).unwrap_or_default()
}

fn tell(api: &Api, kind: EventKind, reclaimed: u64) {
    let attributes = BTreeMap::from([("reclaimed".to_owned(), reclaimed.to_string())]);
    let event = Event { at_ms: time::now_ms(), kind, action: "prune".to_owned(), id: String::new(), attributes };
    api.engine.events().emit(event);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW_MS, after, opened, with_container, with_network, with_running};
    use serde_json::Value;

    /// A container that runs on `net` with the volume `data`, one that does not run, and volumes nobody uses.
    fn inhabited() -> State {
        let state = with_network(&opened(), "net");
        let on_net = |binds: Value| json!({ "Image": "box", "HostConfig": { "NetworkMode": "net", "Binds": binds } });
        let state = with_running(&state, "web", &on_net(json!(["data:/data"])));
        let idle = json!({ "Image": "box", "Labels": { "tier": "back" }, "HostConfig": { "Binds": ["old:/old"] } });
        let state = with_container(&state, "idle", &idle);
        let volume = |name: &str, naming, options: &[(&str, &str)]| {
            let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            Command::CreateVolume(model::Volume {
                name: name.to_owned(),
                created_ms: 0,
                naming,
                options,
                labels: BTreeMap::new(),
            })
        };
        let state = after(&state, volume("spare", Naming::Named, &[]));
        let state = after(&state, volume("nameless", Naming::Anonymous, &[]));
        after(&state, volume("remote", Naming::Named, &[("type", "nfs"), ("device", ":/x")]))
    }

    fn filters(text: &str) -> Filters {
        Filters::parse(text, &["all", "label", "label!", "until"]).unwrap()
    }

    #[test]
    fn only_what_nobody_uses_goes() {
        let state = inhabited();
        let containers = |filter: &str| {
            let found = unused_containers(&state, &filters(filter), NOW_MS).unwrap();
            found.iter().map(|id| state.containers[id].name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(containers(""), ["idle"]);
        assert_eq!(containers(r#"{"label":["tier=back"]}"#), ["idle"]);
        assert!(containers(r#"{"label!":["tier"]}"#).is_empty());
        assert!(containers(r#"{"until":["1h"]}"#).is_empty());
        assert_eq!(containers(r#"{"until":["2023-11-14T22:13:21Z"]}"#), ["idle"]);
        let networks = |state: &State| {
            let found = unused_networks(state, &Filters::default(), NOW_MS).unwrap();
            found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert!(networks(&state).is_empty());
        assert_eq!(networks(&with_network(&opened(), "net")), ["net"]);
        let volumes = |filter: &str| unused_volumes(&state, &filters(filter)).unwrap();
        assert_eq!(volumes(""), ["nameless"]);
        assert_eq!(volumes(r#"{"all":["true"]}"#), ["nameless", "spare"]);
        assert_eq!(volumes(r#"{"label":["com.docker.volume.anonymous"]}"#), ["nameless"]);
        let error = unused_volumes(&state, &filters(r#"{"all":["x"]}"#)).unwrap_err();
        assert_eq!(error.message, r#"invalid filter 'all=["x"]'"#);
    }
}
