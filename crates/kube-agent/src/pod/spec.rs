//! What a pod's specification says, with what is meant where it says nothing.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec};

/// When the containers of a pod are started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whenever they end.
    Always,
    /// When they fail.
    OnFailure,
    /// Never.
    Never,
}

/// What a container is for in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It ends before the next one starts.
    Init,
    /// It starts before the main ones, and runs beside them.
    Sidecar,
    /// What the pod is for.
    Main,
    /// It was put into the running pod, for somebody to look around.
    Ephemeral,
}

/// The specification of a pod; empty for an object without one.
pub fn of(pod: &Pod) -> PodSpec {
    pod.spec.clone().unwrap_or_default()
}

/// The policy of a pod.
pub fn restart_policy(spec: &PodSpec) -> RestartPolicy {
    match spec.restart_policy.as_deref() {
        Some("Never") => RestartPolicy::Never,
        Some("OnFailure") => RestartPolicy::OnFailure,
        _ => RestartPolicy::Always,
    }
}

/// Whether a container that ended with this code is started again. An init container that succeeded is done whatever the policy says.
pub fn restarts(spec: &PodSpec, container: &Container, role: Role, code: i32) -> bool {
    let policy = match container.restart_policy.as_deref() {
        Some("Always") => RestartPolicy::Always,
        Some("OnFailure") => RestartPolicy::OnFailure,
        Some("Never") => RestartPolicy::Never,
        _ => restart_policy(spec),
    };
    match (role, policy) {
        (Role::Sidecar, _) => true,
        (Role::Ephemeral, _) | (_, RestartPolicy::Never) => false,
        (Role::Init, _) | (Role::Main, RestartPolicy::OnFailure) => code != 0,
        (Role::Main, RestartPolicy::Always) => true,
    }
}

/// The init containers of a pod with their roles, in order.
pub fn inits(spec: &PodSpec) -> impl Iterator<Item = (Role, &Container)> {
    let role = |container: &Container| match container.restart_policy.as_deref() {
        Some("Always") => Role::Sidecar,
        _ => Role::Init,
    };
    spec.init_containers.iter().flatten().map(move |container| (role(container), container))
}

/// All containers of a pod with their roles: those that come first, then the main ones.
pub fn containers(spec: &PodSpec) -> impl Iterator<Item = (Role, &Container)> {
    inits(spec).chain(spec.containers.iter().map(|container| (Role::Main, container)))
}

/// The containers that were put into a running pod. What they have besides is what every container has.
pub fn ephemerals(spec: &PodSpec) -> Vec<Container> {
    let all = spec.ephemeral_containers.iter().flatten();
    let container = |ephemeral| serde_json::from_value(serde_json::to_value(ephemeral).ok()?).ok();
    all.filter_map(container).collect()
}

/// The container of this name.
pub fn container(spec: &PodSpec, name: &str) -> Option<(Role, Container)> {
    let usual = containers(spec).find(|(_, container)| container.name == name);
    let ephemeral = || ephemerals(spec).into_iter().find(|container| container.name == name);
    let usual = usual.map(|(role, container)| (role, container.clone()));
    usual.or_else(|| ephemeral().map(|container| (Role::Ephemeral, container)))
}

/// The name, namespace and uid of a pod.
pub fn names(pod: &Pod) -> (String, String, String) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let meta = &pod.metadata;
    (text(&meta.name), text(&meta.namespace), text(&meta.uid))
}

/// Where an event about a container points: `spec.containers{web}`.
pub fn field_path(role: Role, name: &str) -> String {
    match role {
        Role::Main => format!("spec.containers{{{name}}}"),
        Role::Ephemeral => format!("spec.ephemeralContainers{{{name}}}"),
        Role::Init | Role::Sidecar => format!("spec.initContainers{{{name}}}"),
    }
}

/// What the API was last told of a container of the pod.
pub fn told_of<'p>(pod: &'p Pod, name: &str) -> Option<&'p ContainerStatus> {
    let status = pod.status.as_ref()?;
    let mut known = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    known.find(|status| status.name == name)
}
