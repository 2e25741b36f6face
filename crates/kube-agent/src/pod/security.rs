//! What a container may do, from the security contexts of the pod and of the container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, SeccompProfile};
use model::container::{Access, Privilege, Seccomp, Security};

use super::{env::ConfigError, spec};

/// Who the process of a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// `user[:group]`.
    pub user: String,
    /// Additional groups.
    pub groups: Vec<String>,
}

/// What a container may do.
pub fn security(pod: &Pod, container: &Container, oom_score_adj: i32) -> Result<Security, ConfigError> {
    let spec = spec::of(pod);
    let of_pod = spec.security_context.unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let capabilities = own.capabilities.unwrap_or_default();
    let named = |names: Option<Vec<String>>| names.into_iter().flatten().map(|name| capability(&name)).collect();
    let privileged = own.privileged == Some(true);
    let unmasked = own.proc_mount.as_deref() == Some("Unmasked");
    let sysctls = of_pod.sysctls.into_iter().flatten().filter(|sysctl| !sysctl.name.starts_with("net."));
    Ok(Security {
        privilege: if privileged { Privilege::Privileged } else { Privilege::Usual },
        cap_add: named(capabilities.add),
        cap_drop: named(capabilities.drop),
        seccomp: seccomp(own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref()), privileged)?,
        root: if own.read_only_root_filesystem == Some(true) { Access::ReadOnly } else { Access::ReadWrite },
        no_new_privileges: own.allow_privilege_escalation == Some(false) && !privileged,
        masked_paths: unmasked.then(Vec::new),
        readonly_paths: unmasked.then(Vec::new),
        devices: Vec::new(),
        device_rules: Vec::new(),
        sysctls: sysctls.map(|sysctl| (sysctl.name.replace('/', "."), sysctl.value)).collect::<BTreeMap<_, _>>(),
        oom_score_adj,
    })
}

/// Who the process of a container is; `image_user` is who the image says.
pub fn who(pod: &Pod, container: &Container, image_user: &str) -> Result<Who, ConfigError> {
    let spec = spec::of(pod);
    let of_pod = spec.security_context.unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let user = own.run_as_user.or(of_pod.run_as_user);
    let group = own.run_as_group.or(of_pod.run_as_group);
    if own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true) {
        check_not_root(pod, container, user, image_user)?;
    }
    let image_name = image_user.split(':').next().unwrap_or_default();
    let user = match (user, group) {
        (Some(user), Some(group)) => format!("{user}:{group}"),
        (Some(user), None) => user.to_string(),
        (None, Some(group)) if image_name.is_empty() => format!("0:{group}"),
        (None, Some(group)) => format!("{image_name}:{group}"),
        (None, None) => image_user.to_owned(),
    };
    let groups = of_pod.supplemental_groups.into_iter().flatten().chain(of_pod.fs_group);
    Ok(Who { user, groups: groups.map(|group| group.to_string()).collect() })
}

fn check_not_root(pod: &Pod, container: &Container, user: Option<i64>, image_user: &str) -> Result<(), ConfigError> {
    let (name, namespace, uid) = spec::names(pod);
    let place = format!("(pod: \"{name}_{namespace}({uid})\", container: {})", container.name);
    let image_user = image_user.split(':').next().unwrap_or_default();
    let why = match (user, image_user.parse::<i64>()) {
        (Some(0), _) => "container's runAsUser breaks non-root policy".to_owned(),
        (Some(_), _) => return Ok(()),
        (None, Ok(0)) => "container has runAsNonRoot and image will run as root".to_owned(),
        (None, Ok(_)) => return Ok(()),
        (None, Err(_)) if image_user.is_empty() => "container has runAsNonRoot and image will run as root".to_owned(),
        (None, Err(_)) => {
            format!(
                "container has runAsNonRoot and image has non-numeric user ({image_user}), cannot verify user is non-root"
            )
        }
    };
    Err(ConfigError::Invalid(format!("{why} {place}")))
}

/// None is no filter at all, as kubelet has it unless told otherwise.
fn seccomp(profile: Option<&SeccompProfile>, privileged: bool) -> Result<Seccomp, ConfigError> {
    match profile.map(|profile| profile.type_.as_str()) {
        _ if privileged => Ok(Seccomp::Unconfined),
        None | Some("Unconfined") => Ok(Seccomp::Unconfined),
        Some("RuntimeDefault") => Ok(Seccomp::Usual),
        Some(kind) => Err(ConfigError::Invalid(format!("seccomp profile type {kind:?} is not supported on this node"))),
    }
}

fn capability(name: &str) -> String {
    let name = name.to_uppercase();
    if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
}
