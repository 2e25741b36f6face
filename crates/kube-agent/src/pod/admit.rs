//! Whether this node runs a pod that was bound to it. Whoever binds may know less of what the node has than the node does, and some
//! wishes are not for everybody.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerPort, Pod, PodSpec};

use super::{
    resources::{self, Capacity},
    seen::Refused,
    spec,
};

/// Kernel settings that concern their pod alone, which kubelet lets everybody set.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// Whether a node that has so much and runs the `others` takes the pod.
pub fn admit(pod: &Pod, others: &[Arc<Pod>], capacity: Capacity) -> Result<(), Refused> {
    let spec = spec::of(pod);
    let others: Vec<PodSpec> = others.iter().map(|other| spec::of(other)).collect();
    sysctls(&spec)?;
    app_armor(&spec)?;
    room(&spec, &others, capacity)?;
    ports(&spec, &others)
}

fn sysctls(spec: &PodSpec) -> Result<(), Refused> {
    let all = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    for sysctl in all {
        let name = sysctl.name.replace('/', ".");
        let of_host = |what: &str, shared: Option<bool>| (shared == Some(true)).then(|| what.to_owned());
        let shared = match name.split('.').next() {
            Some("net") => of_host("host net", spec.host_network),
            _ => of_host("host ipc", spec.host_ipc),
        };
        let why = match (SAFE_SYSCTLS.contains(&name.as_str()), shared) {
            (false, _) => "allowlisted".to_owned(),
            (true, Some(what)) => format!("allowed with {what} enabled"),
            (true, None) => continue,
        };
        return Err(rejected("SysctlForbidden", format!("forbidden sysctl: {:?} not {why}", sysctl.name)));
    }
    Ok(())
}

/// There is none on this node: who asks for a profile must not run without one.
fn app_armor(spec: &PodSpec) -> Result<(), Refused> {
    let of_pod = spec.security_context.iter().filter_map(|context| context.app_armor_profile.as_ref());
    let own = spec::containers(spec).filter_map(|(_, container)| container.security_context.as_ref());
    let own = own.filter_map(|context| context.app_armor_profile.as_ref());
    match of_pod.chain(own).any(|profile| profile.type_ != "Unconfined") {
        true => Err(rejected("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host".to_owned())),
        false => Ok(()),
    }
}

fn room(spec: &PodSpec, others: &[PodSpec], capacity: Capacity) -> Result<(), Refused> {
    let count = i64::try_from(others.len()).unwrap_or(i64::MAX);
    let short = |reason, name: &str, requested: i64, used: i64, capacity: i64| {
        let message = format!(
            "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
        );
        rejected(reason, message)
    };
    if count >= capacity.pods {
        return Err(short("OutOfpods", "pods", 1, count, capacity.pods));
    }
    for (reason, name, has) in [
        ("OutOfcpu", "cpu", capacity.cpu_milli),
        ("OutOfmemory", "memory", capacity.memory),
        ("OutOfephemeral-storage", "ephemeral-storage", capacity.storage),
    ] {
        let requested = resources::requested(spec, name);
        let used: i64 = others.iter().map(|other| resources::requested(other, name)).sum();
        if requested > 0 && requested > has - used {
            return Err(short(reason, name, requested, used, has));
        }
    }
    Ok(())
}

fn ports(spec: &PodSpec, others: &[PodSpec]) -> Result<(), Refused> {
    let taken: Vec<&ContainerPort> = others.iter().flat_map(of_host).collect();
    let clash = of_host(spec).find(|port| taken.iter().any(|other| is_same(port, other)));
    match clash {
        Some(_) => {
            let words = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
            Err(rejected("NodePorts", words.to_owned()))
        }
        None => Ok(()),
    }
}

fn of_host(spec: &PodSpec) -> impl Iterator<Item = &ContainerPort> {
    let all = spec::containers(spec).flat_map(|(_, container)| container.ports.iter().flatten());
    all.filter(|port| port.host_port.is_some_and(|number| number > 0))
}

fn is_same(one: &ContainerPort, other: &ContainerPort) -> bool {
    let protocol = |port: &ContainerPort| port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let address =
        |port: &ContainerPort| port.host_ip.clone().filter(|ip| !matches!(ip.as_str(), "" | "0.0.0.0" | "::"));
    let meet = match (address(one), address(other)) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    meet && one.host_port == other.host_port && protocol(one) == protocol(other)
}

fn rejected(reason: &'static str, message: String) -> Refused {
    Refused::Rejected { reason, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pod of these containers, in short: `cpu=1 memory=1Gi port=80/TCP`.
    fn pod(spec: &str) -> Pod {
        serde_saphyr::from_str(&format!("spec: {spec}")).unwrap()
    }

    #[test]
    fn pods_are_taken_or_rejected() {
        let capacity = Capacity { cpu_milli: 2000, memory: 4 << 30, storage: 10 << 30, pods: 3 };
        let small = "{containers: [{name: a, resources: {requests: {cpu: 1, memory: 1Gi}}, ports: [{hostPort: 80, containerPort: 80}]}]}";
        let check = |wanted: &str, others: &[&str], expected: &str| {
            let others: Vec<_> = others.iter().map(|other| Arc::new(pod(other))).collect();
            let found = match admit(&pod(wanted), &others, capacity) {
                Ok(()) => "taken".to_owned(),
                Err(Refused::Rejected { reason, message }) => format!("{reason}: {message}"),
                Err(other) => format!("{other:?}"),
            };
            assert_eq!(found, expected, "{wanted}");
        };
        let no_ports = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        check("{containers: []}", &[], "taken");
        check(
            "{containers: []}",
            &["{containers: []}"; 3],
            "OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3",
        );
        check(
            "{containers: [{name: a, resources: {requests: {cpu: 1500m}}}]}",
            &[small],
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000",
        );
        check("{containers: [{name: a, resources: {requests: {cpu: 1}}}]}", &[small], "taken");
        check(
            "{containers: [{name: a, resources: {limits: {memory: 8Gi}}}]}",
            &[],
            "OutOfmemory: Node didn't have enough resource: memory, requested: 8589934592, used: 0, capacity: 4294967296",
        );
        // What comes one after the other is not added up; sidecars are.
        let one_by_one = "{initContainers: [{name: a, resources: {requests: {cpu: 2}}}], containers: [{name: b, resources: {requests: {cpu: 2}}}]}";
        check(one_by_one, &[], "taken");
        let sidecar = "{initContainers: [{name: a, restartPolicy: Always, resources: {requests: {cpu: 1}}}], containers: [{name: b, resources: {requests: {cpu: 1500m}}}]}";
        check(
            sidecar,
            &[],
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 2500, used: 0, capacity: 2000",
        );
        check(
            "{overhead: {cpu: 3}, containers: []}",
            &[],
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000",
        );
        check(
            "{containers: [{name: a, ports: [{hostPort: 80, containerPort: 1}]}]}",
            &[small],
            &format!("NodePorts: {no_ports}"),
        );
        check("{containers: [{name: a, ports: [{hostPort: 80, containerPort: 1, protocol: UDP}]}]}", &[small], "taken");
        check(
            "{containers: [{name: a, ports: [{hostPort: 80, containerPort: 1, hostIP: 127.0.0.1}]}]}",
            &[small],
            &format!("NodePorts: {no_ports}"),
        );
        check("{containers: [{name: a, ports: [{containerPort: 80}]}]}", &[small], "taken");
        check(
            "{containers: [], securityContext: {sysctls: [{name: net.ipv4.tcp_syncookies, value: '1'}]}}",
            &[],
            "taken",
        );
        check(
            "{containers: [], securityContext: {sysctls: [{name: kernel/msgmax, value: '1'}]}}",
            &[],
            "SysctlForbidden: forbidden sysctl: \"kernel/msgmax\" not allowlisted",
        );
        check(
            "{hostNetwork: true, containers: [], securityContext: {sysctls: [{name: net.ipv4.tcp_syncookies, value: '1'}]}}",
            &[],
            "SysctlForbidden: forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host net enabled",
        );
        check(
            "{containers: [{name: a, securityContext: {appArmorProfile: {type: RuntimeDefault}}}]}",
            &[],
            "AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host",
        );
    }
}
