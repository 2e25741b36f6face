//! `GET /networks`: which networks a filter lets through.

use std::sync::Arc;

use model::{Network, State, network::Origin};

use super::show::{Containers, Shown, driver_name, endpoints_up, show};
use crate::{ApiError, filter::Filters};

/// The keys that a filter may have.
pub(super) const KEYS: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];

/// The networks, by name.
pub(super) fn list(state: &State, filters: &Filters, containers: Containers) -> Result<Vec<Shown>, ApiError> {
    let dangling = dangling(filters)?;
    let origins = origins(filters)?;
    let passes = |network: &Network| {
        filters.is("driver", driver_name(&network.driver))
            && filters.pattern("name", &network.name)
            && filters.pattern("id", network.id.as_str())
            && filters.labels(&network.labels)
            && filters.is("scope", "local")
            && (origins.is_empty() || origins.contains(&network.origin))
            && dangling.is_none_or(|dangling| dangling == is_dangling(state, network))
    };
    let networks = state.network_names.values().filter_map(|id| state.networks.get(id)).map(Arc::as_ref);
    Ok(networks.filter(|network| passes(network)).map(|network| show(state, network, containers)).collect())
}

/// A network that nobody uses, and that was made by somebody.
fn is_dangling(state: &State, network: &Network) -> bool {
    network.origin == Origin::User && endpoints_up(state, &network.id).next().is_none()
}

fn dangling(filters: &Filters) -> Result<Option<bool>, ApiError> {
    if filters.get("dangling").len() > 1 {
        return Err(ApiError::invalid("got more than one value for filter key \"dangling\""));
    }
    filters.flag("dangling").map_err(|_| {
        ApiError::invalid("invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")")
    })
}

fn origins(filters: &Filters) -> Result<Vec<Origin>, ApiError> {
    let origin = |text: &String| match text.as_str() {
        "builtin" => Ok(vec![Origin::Predefined]),
        "custom" => Ok(vec![Origin::User, Origin::Cluster]),
        other => Err(ApiError::invalid(format!("invalid filter: 'type'='{other}'"))),
    };
    let origins: Vec<_> = filters.get("type").iter().map(origin).collect::<Result<_, _>>()?;
    Ok(origins.concat())
}
