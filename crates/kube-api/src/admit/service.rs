//! Addresses and ports of services: taken when the service is made or changes its wish, and nobody else's.

use serde_json::Value;

use super::Held;
use crate::{controller, object::meta, server::Server, status::Failure, verb::Place};

/// Takes what a service needs.
pub async fn take<'s>(
    server: &'s Server,
    place: Place<'_>,
    service: &mut Value,
    old: Option<&Value>,
) -> Result<Held<'s>, Failure> {
    let held = server.addresses.lock().await;
    // What other servers have given is seen then.
    server.objects.snapshot().await?;
    let cluster = server.view.cluster();
    controller::service_address::allocate(&cluster, service, old)
        .map_err(|errors| Failure::invalid(place.kind, meta::name(service), &errors))?;
    Ok(Some(held))
}
