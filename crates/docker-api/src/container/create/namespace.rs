//! With whom namespaces are shared.

use model::{
    State,
    container::{Namespaces, Share},
};

use crate::{ApiError, container::face::Face, find, wire::host_config::HostConfig};

/// Reads the modes, after the defaults were added.
pub(super) fn resolve(state: &State, host: &HostConfig) -> Result<Namespaces, ApiError> {
    Ok(Namespaces {
        pid: match host.pid_mode.as_str() {
            "" | "private" => Share::Own,
            "host" => Share::Host,
            mode => of_container(state, mode).ok_or_else(|| bad("PID", mode))??,
        },
        ipc: match host.ipc_mode.as_str() {
            // What is not shared and what may be shared are made alike; `none` differs only by its missing /dev/shm.
            "" | "private" | "shareable" | "none" => Share::Own,
            "host" => Share::Host,
            mode => sharing_ipc(state, of_container(state, mode).ok_or_else(|| bad("IPC", mode))??)?,
        },
        uts: match host.uts_mode.as_str() {
            "" => Share::Own,
            "host" => Share::Host,
            mode => return Err(bad("UTS", mode)),
        },
        cgroup: match host.cgroupns_mode.as_str() {
            "private" => Share::Own,
            "host" => Share::Host,
            mode => return Err(bad("cgroup namespace", mode)),
        },
    })
}

fn of_container(state: &State, mode: &str) -> Option<Result<Share, ApiError>> {
    let reference = mode.strip_prefix("container:").filter(|reference| !reference.is_empty())?;
    let found = find::container(state, reference).map_err(super::blame_the_request);
    Some(found.map(|found| Share::Container(found.id.clone())))
}

/// A container's memory is shared only if it was made for that.
fn sharing_ipc(state: &State, share: Share) -> Result<Share, ApiError> {
    let donor = match &share {
        Share::Container(id) => state.containers.get(id),
        Share::Own | Share::Host | Share::Sandbox => None,
    };
    match donor.map(|donor| (donor, Face::of(state, donor).host_config.ipc_mode)) {
        Some((donor, mode)) if matches!(mode.as_str(), "" | "private" | "none") => Err(ApiError::invalid(format!(
            "can't join IPC of container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
            donor.id
        ))),
        _ => Ok(share),
    }
}

fn bad(kind: &str, mode: &str) -> ApiError {
    ApiError::invalid(format!("invalid {kind} mode: {mode}"))
}
