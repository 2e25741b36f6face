//! `POST /containers/{id}/update`: new limits, a new restart policy.

use std::sync::Arc;

use engine::ContainerUpdate;
use hyper::StatusCode;
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
    let updated = updated(Face::of(&state, container), body, &view);
    let (face, restarts) = updated.map_err(|error| match error.status {
        StatusCode::CONFLICT => ApiError { message: refused(&container.id, &error.message), ..error },
        _ => error,
    })?;
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
    for (new, old, what, why) in [
        (new.nano_cpus, old.cpu_period, "Nano CPUs", "CPU Period"),
        (new.nano_cpus, old.cpu_quota, "Nano CPUs", "CPU Quota"),
        (new.cpu_period, old.nano_cpus, "CPU Period", "NanoCPUs"),
        (new.cpu_quota, old.nano_cpus, "CPU Quota", "NanoCPUs"),
    ] {
        if new > 0 && old > 0 {
            let words = format!("Conflicting options: {what} cannot be updated as {why} has already been set");
            return Err(ApiError::conflict(words));
        }
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
    // Whatever is not above zero takes the limit away.
    old.pids_limit = new.pids_limit.map(|pids| pids.max(0)).or(old.pids_limit);
    create::check_limits(old, view)?;
    let restarts = !restart_policy.name.is_empty();
    if restarts {
        create::check_restart(&restart_policy)?;
        if face.host_config.auto_remove && restart_policy.name != "no" {
            return Err(ApiError::conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        face.host_config.restart_policy = restart_policy;
    }
    Ok((face, restarts))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::container::create::Cgroups;

    fn check(before: &Value, body: &Value, expected: Result<Value, &str>) {
        let face = Face { config: Default::default(), host_config: serde_json::from_value(before.clone()).unwrap() };
        let view = HostView {
            hostname: String::new(),
            cpus: 2,
            memory_nodes: 1,
            cgroups: Cgroups::V1 { block_weights: true },
        };
        let found = updated(face, serde_json::from_value(body.clone()).unwrap(), &view);
        let found = found.map(|(face, _)| serde_json::to_value(face.host_config).unwrap());
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                for (name, value) in expected.as_object().unwrap() {
                    assert_eq!(found[name], *value, "{name}: {before} {body}");
                }
            }
            (Err(error), Err(words)) => assert_eq!(error.message, words, "{before} {body}"),
            (found, _) => panic!("{before} {body}: {found:?}"),
        }
    }

    #[test]
    fn what_is_said_replaces_what_was() {
        let before = json!({ "Memory": 64 << 20, "MemorySwap": 128 << 20, "CpuShares": 512, "PidsLimit": 20 });
        for (body, expected) in [
            (json!({}), Ok(before.clone())),
            (json!({ "CpuShares": 0, "PidsLimit": null, "Memory": 0 }), Ok(before.clone())),
            (json!({ "PidsLimit": -1 }), Ok(json!({ "PidsLimit": 0 }))),
            (json!({ "NanoCpus": 500_000_000 }), Ok(json!({ "NanoCpus": 500_000_000, "CpuShares": 512 }))),
            (json!({ "Memory": 128 << 20 }), Ok(json!({ "Memory": 128 << 20, "MemorySwap": 128 << 20 }))),
            (json!({ "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 3 } }), Ok(before.clone())),
            (
                json!({ "Memory": 256 << 20 }),
                Err(
                    "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
                ),
            ),
            (json!({ "CpusetCpus": "x" }), Err("Invalid value x for cpuset cpus: invalid format: x")),
        ] {
            check(&before, &body, expected);
        }
        for (before, body, words) in [
            (json!({ "CpuPeriod": 50_000 }), json!({ "NanoCpus": 1 }), "Nano CPUs cannot be updated as CPU Period"),
            (json!({ "CpuQuota": 50_000 }), json!({ "NanoCpus": 1 }), "Nano CPUs cannot be updated as CPU Quota"),
            (json!({ "NanoCpus": 1 }), json!({ "CpuPeriod": 50_000 }), "CPU Period cannot be updated as NanoCPUs"),
            (json!({ "NanoCpus": 1 }), json!({ "CpuQuota": 50_000 }), "CPU Quota cannot be updated as NanoCPUs"),
        ] {
            check(&before, &body, Err(&format!("Conflicting options: {words} has already been set")));
        }
        check(
            &json!({ "AutoRemove": true }),
            &json!({ "RestartPolicy": { "Name": "always" } }),
            Err("Restart policy cannot be updated because AutoRemove is enabled for the container"),
        );
    }
}
