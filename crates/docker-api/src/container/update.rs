//! `POST /containers/{id}/update`: new limits, a new restart policy.

use std::sync::Arc;

use engine::ContainerUpdate;
use model::ContainerId;
use serde::Deserialize;
use serde_json::json;

use super::{
    create::{self, HostView},
    face::Face,
};
use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
    find,
    wire::{
        host_config::{Limits, RestartPolicy},
        null_default,
    },
};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Body {
    #[serde(flatten)]
    limits: Limits,
    #[serde(deserialize_with = "null_default")]
    restart_policy: RestartPolicy,
}

pub(super) async fn update(api: &Arc<Api>, name: &str, mut call: Call) -> Result<Answer, ApiError> {
    let mut body: Body = call.json_required().await?;
    let state = api.engine.state();
    let container = find::container(&state, name)?;
    let view = HostView::now();
    let mut warnings = Vec::new();
    create::discard(&mut body.limits, view.cgroups, &mut warnings);
    let (face, restarts) = updated(Face::of(&state, container), body, &view)?;
    let restart = restarts.then(|| create::restart(&face.host_config.restart_policy));
    let resources = Box::new(create::limits(&face.host_config));
    let update = ContainerUpdate { resources, restart, face: face.to_document() };
    let updated = api.engine.update(&container.id, update).await.map_err(ApiError::from);
    updated.map_err(|error| ApiError { message: refused(&container.id, &error.message), ..error })?;
    answer::ok(&json!({ "Warnings": warnings }))
}

fn refused(id: &ContainerId, why: &str) -> String {
    if why.starts_with("Cannot update") { why.to_owned() } else { format!("Cannot update container {id}: {why}") }
}

/// What is said replaces what was; whether that includes the restart policy.
pub(crate) fn updated(mut face: Face, body: Body, view: &HostView) -> Result<(Face, bool), ApiError> {
    let Body { limits: new, restart_policy } = body;
    let old = &mut face.host_config.limits;
    if new.memory > 0 && new.memory_swap == 0 && old.memory_swap > 0 && new.memory > old.memory_swap {
        return Err(ApiError::conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ));
    }
    if new.nano_cpus > 0 && old.cpu_period > 0 {
        return Err(ApiError::conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        ));
    }
    if new.cpu_period > 0 && old.nano_cpus > 0 {
        return Err(ApiError::conflict(
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        ));
    }
    let number = |old: &mut i64, new: i64| {
        if new != 0 {
            *old = new;
        }
    };
    number(&mut old.cpu_shares, new.cpu_shares);
    number(&mut old.memory, new.memory);
    number(&mut old.nano_cpus, new.nano_cpus);
    number(&mut old.cpu_period, new.cpu_period);
    number(&mut old.cpu_quota, new.cpu_quota);
    number(&mut old.cpu_realtime_period, new.cpu_realtime_period);
    number(&mut old.cpu_realtime_runtime, new.cpu_realtime_runtime);
    number(&mut old.memory_reservation, new.memory_reservation);
    number(&mut old.memory_swap, new.memory_swap);
    if new.blkio_weight != 0 {
        old.blkio_weight = new.blkio_weight;
    }
    for (old, new) in [(&mut old.cpuset_cpus, new.cpuset_cpus), (&mut old.cpuset_mems, new.cpuset_mems)] {
        if !new.is_empty() {
            *old = new;
        }
    }
    old.pids_limit = new.pids_limit.or(old.pids_limit);
    create::check_limits(old, view)?;
    let restarts = !restart_policy.name.is_empty();
    if restarts {
        create::check_restart(&restart_policy)?;
        if face.host_config.auto_remove && restart_policy.name != "no" {
            return Err(ApiError::invalid(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        face.host_config.restart_policy = restart_policy;
    }
    Ok((face, restarts))
}
