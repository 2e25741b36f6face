//! What a container may do, from the security contexts of the pod and of the container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, SeccompProfile};
use model::container::{Access, Memberships, Privilege, Seccomp, Security};

use super::{env::ConfigError, spec};

/// Who the process of a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// `user[:group]`.
    pub user: String,
    /// Additional groups.
    pub groups: Vec<String>,
    /// Which groups of the image's own count.
    pub memberships: Memberships,
}

/// What a container may do; `profile` is the text of the system call filter that it names, if it is there.
pub fn security(
    pod: &Pod,
    container: &Container,
    oom_score_adj: i32,
    profile: Option<&str>,
) -> Result<Security, ConfigError> {
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
        seccomp: seccomp(own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref()), privileged, profile)?,
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
    let memberships = match of_pod.supplemental_groups_policy.as_deref() {
        Some("Strict") => Memberships::None,
        _ => Memberships::All,
    };
    Ok(Who { user, groups: groups.map(|group| group.to_string()).collect(), memberships })
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

/// The name of the system call filter that a container wants of those that are on the node.
pub fn local_profile(pod: &Pod, container: &Container) -> Option<String> {
    let own = container.security_context.as_ref().and_then(|context| context.seccomp_profile.clone());
    let of_pod = || spec::of(pod).security_context.and_then(|context| context.seccomp_profile);
    let profile = own.or_else(of_pod).filter(|profile| profile.type_ == "Localhost")?;
    // A path that leads out of their directory names none.
    let leads_out = |path: &String| path.starts_with('/') || path.split('/').any(|part| part == "..");
    profile.localhost_profile.filter(|path| !leads_out(path))
}

/// None is no filter at all, as kubelet has it unless told otherwise.
fn seccomp(profile: Option<&SeccompProfile>, privileged: bool, text: Option<&str>) -> Result<Seccomp, ConfigError> {
    let Some(profile) = profile.filter(|_| !privileged) else { return Ok(Seccomp::Unconfined) };
    match (profile.type_.as_str(), text) {
        ("Unconfined", _) => Ok(Seccomp::Unconfined),
        ("RuntimeDefault", _) => Ok(Seccomp::Usual),
        ("Localhost", Some(text)) => Ok(Seccomp::Profile(text.to_owned())),
        _ => {
            let name = profile.localhost_profile.as_deref().unwrap_or_default();
            let why = "there is no such file in the directory seccomp of the node's data directory";
            Err(ConfigError::Invalid(format!("cannot load seccomp profile {name:?}: {why}")))
        }
    }
}

fn capability(name: &str) -> String {
    let name = name.to_uppercase();
    if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: &str) -> (Pod, Container) {
        let pod: Pod =
            serde_saphyr::from_str(&format!("{{metadata: {{name: a, namespace: b, uid: u}}, spec: {spec}}}")).unwrap();
        let container = spec::of(&pod).containers.remove(0);
        (pod, container)
    }

    #[test]
    fn who_it_is() {
        let check = |spec: &str, image_user: &str, expected: Result<(&str, &[&str], Memberships), &str>| {
            let (pod, container) = pod(spec);
            let found = who(&pod, &container, image_user).map_err(|error| error.to_string());
            let owned = |group: &&str| (*group).to_owned();
            let expected = expected.map(|(user, groups, memberships)| Who {
                user: user.to_owned(),
                groups: groups.iter().map(owned).collect(),
                memberships,
            });
            let place = "(pod: \"a_b(u)\", container: c)";
            assert_eq!(found, expected.map_err(|words| format!("{words} {place}")), "{spec} {image_user}");
        };
        let all = Memberships::All;
        check("{containers: [{name: c}]}", "web", Ok(("web", &[], all)));
        check(
            "{containers: [{name: c, securityContext: {runAsUser: 1}}], securityContext: {runAsUser: 2, runAsGroup: 3}}",
            "",
            Ok(("1:3", &[], all)),
        );
        check("{containers: [{name: c}], securityContext: {runAsGroup: 3}}", "web:9", Ok(("web:3", &[], all)));
        check("{containers: [{name: c}], securityContext: {runAsGroup: 3}}", "", Ok(("0:3", &[], all)));
        check(
            "{containers: [{name: c}], securityContext: {supplementalGroups: [5], fsGroup: 6}}",
            "7",
            Ok(("7", &["5", "6"], all)),
        );
        check(
            "{containers: [{name: c}], securityContext: {supplementalGroupsPolicy: Strict}}",
            "7",
            Ok(("7", &[], Memberships::None)),
        );
        let not_root = "{containers: [{name: c}], securityContext: {runAsNonRoot: true}}";
        check(not_root, "7", Ok(("7", &[], all)));
        check(not_root, "", Err("container has runAsNonRoot and image will run as root"));
        check(not_root, "0:7", Err("container has runAsNonRoot and image will run as root"));
        let named = "container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root";
        check(not_root, "web", Err(named));
        let own = "{containers: [{name: c, securityContext: {runAsUser: 0}}], securityContext: {runAsNonRoot: true}}";
        check(own, "7", Err("container's runAsUser breaks non-root policy"));
    }

    #[test]
    fn filters() {
        let check = |own: &str, text: Option<&str>, file: Option<&str>, expected: Result<Seccomp, &str>| {
            let (pod, container) = pod(&format!("{{containers: [{{name: c, securityContext: {own}}}]}}"));
            assert_eq!(local_profile(&pod, &container).as_deref(), file, "{own}");
            let found = security(&pod, &container, 0, text).map(|security| security.seccomp);
            assert_eq!(found, expected.map_err(|words| ConfigError::Invalid(words.to_owned())), "{own}");
        };
        let local = |name: &str| format!("{{seccompProfile: {{type: Localhost, localhostProfile: {name}}}}}");
        check("{}", None, None, Ok(Seccomp::Unconfined));
        check("{seccompProfile: {type: RuntimeDefault}}", None, None, Ok(Seccomp::Usual));
        check("{privileged: true, seccompProfile: {type: RuntimeDefault}}", None, None, Ok(Seccomp::Unconfined));
        check(&local("a/b.json"), Some("{}"), Some("a/b.json"), Ok(Seccomp::Profile("{}".to_owned())));
        let missing = |name: &str| {
            format!(
                "cannot load seccomp profile {name:?}: there is no such file in the directory seccomp of the node's data directory"
            )
        };
        check(&local("b.json"), None, Some("b.json"), Err(&missing("b.json")));
        check(&local("../b.json"), None, None, Err(&missing("../b.json")));
    }
}
