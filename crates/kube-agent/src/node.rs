//! The node: its object in the API, and the lease by which others see that it lives.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{
            ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeFeatures,
            NodeSpec, NodeStatus, NodeSystemInfo,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time},
    },
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use runtime::image::ListFilters;
use tracing::{debug, warn};

use crate::{Shared, pod::resources::Capacity};

/// What the node is told to be.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Its name.
    pub name: String,
    /// Its addresses, the first one first.
    pub addresses: Vec<IpAddr>,
    /// Labels besides the usual ones.
    pub labels: BTreeMap<String, String>,
    /// Where its pods get their addresses from, one range of a family at most.
    pub pod_cidrs: Vec<IpNet>,
    /// Where all pods of the cluster get their addresses from.
    pub pod_ranges: Vec<IpNet>,
    /// Where services get their addresses from.
    pub service_ranges: Vec<IpNet>,
    /// Where load balancers get their addresses from, if they are not the nodes' own: this node takes them.
    pub balancer_ranges: Vec<IpNet>,
    /// The address at which pods find the API, where this host has it.
    pub api: Option<Ipv4Addr>,
    /// The names of the cluster.
    pub names: crate::pod::network::ClusterNames,
    /// The port of kubelet's API.
    pub kubelet_port: u16,
    /// The version of Kubernetes whose kubelet it stands for: `v1.36.0`.
    pub kubernetes_version: String,
    /// This program's version.
    pub version: String,
}

/// How often the lease is renewed, and how long it lasts.
const RENEW: Duration = Duration::from_secs(10);
const LEASE_S: i32 = 40;
/// How often the status is told when nothing has changed: as kubelet does.
const STATUS: Duration = Duration::from_secs(300);
/// The least that there is.
const OOM_SCORE_MIN: i32 = -1000;
/// The most images that are told of, as kubelet has it.
const IMAGES_MAX: usize = 50;
/// The most pods of a node, as kubelet has it.
const PODS: i64 = 110;
const LEASES: &str = "kube-node-lease";
/// The taint of a node that the cluster's autoscaler is about to remove.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// What this machine has.
pub fn capacity() -> Capacity {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: i64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default();
    let storage = rustix::fs::statvfs("/var").or_else(|_| rustix::fs::statvfs("/"));
    let storage = storage.map_or(0, |fs| fs.f_blocks.saturating_mul(fs.f_frsize));
    Capacity {
        cpu_milli: i64::try_from(cpus).unwrap_or(1) * 1000,
        memory: kib << 10,
        storage: i64::try_from(storage).unwrap_or(i64::MAX),
        pods: PODS,
    }
}

/// The least readiness to be killed for memory that containers can be given: less than its own a process may give only with
/// CAP_SYS_RESOURCE (proc_pid_oom_score_adj(5)).
pub(crate) fn oom_score_min() -> i32 {
    let own = || fs::read_to_string("/proc/self/oom_score_adj").ok()?.trim().parse().ok();
    let free = runtime::oci::capabilities::available().contains("CAP_SYS_RESOURCE");
    if free { OOM_SCORE_MIN } else { own().unwrap_or_default() }
}

/// Keeps the node in the API for as long as the agent lives.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let Shared { client, node: settings, recorder, .. } = shared.as_ref();
    let nodes: Api<Node> = Api::all(client.clone());
    let leases: Api<Lease> = Api::namespaced(client.clone(), LEASES);
    let mut told: Option<(std::time::Instant, Vec<ContainerImage>)> = None;
    recorder.tell_of_node(&settings.name, "Starting", "Starting kubelet.");
    loop {
        let known = nodes.get_opt(&settings.name).await;
        let uid = known.as_ref().ok().and_then(|node| node.as_ref()?.metadata.uid.clone());
        if let Ok(Some(node)) = &known {
            shared.is_leaving.store(is_leaving(node), Relaxed);
        }
        let images = images(&shared);
        let is_old = |(at, of): &(std::time::Instant, _)| at.elapsed() >= STATUS || *of != images;
        // Who has not heard of it for long has taken it for lost.
        let is_lost = known.as_ref().is_ok_and(|node| !node.as_ref().is_some_and(is_ready));
        if told.as_ref().is_none_or(is_old) || is_lost {
            match register(&nodes, settings, &images).await {
                Ok(was_ready) => {
                    told = Some((std::time::Instant::now(), images));
                    if !was_ready {
                        let message = format!("Node {} status is now: NodeReady", settings.name);
                        recorder.tell_of_node(&settings.name, "NodeReady", message);
                    }
                }
                Err(error) => warn!(%error, node = settings.name, "the node is not in the API yet; it is tried again"),
            }
        }
        if let Err(error) = renew(&leases, &settings.name, uid).await {
            debug!(%error, "the node's lease is not renewed");
        }
        let pause = if told.is_some() { RENEW } else { Duration::from_secs(1) };
        tokio::time::sleep(pause).await;
    }
}

/// The images that are here, the largest first: so many of them as kubelet tells.
fn images(shared: &Shared) -> Vec<ContainerImage> {
    let mut images = shared.engine.images().list(&ListFilters::default()).unwrap_or_default();
    images.sort_by_key(|image| (std::cmp::Reverse(image.size), image.id.to_string()));
    let told = images.into_iter().take(IMAGES_MAX).map(|image| ContainerImage {
        names: Some(image.repo_digests.into_iter().chain(image.repo_tags).collect()),
        size_bytes: i64::try_from(image.size).ok(),
    });
    told.collect()
}

/// Makes the node's object, or brings it up to date. Whether it was ready before.
async fn register(nodes: &Api<Node>, settings: &NodeSettings, images: &[ContainerImage]) -> kube::Result<bool> {
    let node = node(settings);
    let known = match nodes.create(&PostParams::default(), &node).await {
        Ok(created) => created,
        Err(kube::Error::Api(status)) if status.code == 409 => nodes.get(&settings.name).await?,
        Err(error) => return Err(error),
    };
    let mut fresh = serde_json::json!({ "metadata": { "labels": node.metadata.labels } });
    // Its ranges are given once, by whoever was first.
    let given = known.spec.as_ref().and_then(|spec| spec.pod_cidrs.clone()).filter(|cidrs| !cidrs.is_empty());
    let own = node.spec.as_ref().and_then(|spec| spec.pod_cidrs.clone());
    match given {
        None => fresh["spec"] = serde_json::json!(node.spec),
        Some(given) if Some(&given) != own.as_ref() => warn!(
            node = settings.name,
            "the API has other ranges for this node's pods, {given:?} instead of {own:?}: delete the node there, and it comes again with its own"
        ),
        Some(_) => {}
    }
    nodes.patch(&settings.name, &PatchParams::default(), &Patch::Merge(fresh)).await?;
    let was_ready = is_ready(&known);
    let before = known.status.and_then(|status| status.conditions).unwrap_or_default();
    let status = NodeStatus { images: Some(images.to_vec()), ..status(settings, &before, Timestamp::now()) };
    let status = serde_json::json!({ "status": status });
    nodes.patch_status(&settings.name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(was_ready)
}

/// Whether it is about to go.
fn is_leaving(node: &Node) -> bool {
    let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    node.metadata.deletion_timestamp.is_some() || taints.any(|taint| taint.key == TO_BE_DELETED)
}

fn is_ready(node: &Node) -> bool {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|known| known.type_ == "Ready" && known.status == "True")
}

async fn renew(leases: &Api<Lease>, node: &str, uid: Option<String>) -> kube::Result<()> {
    let owner = |uid| OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.to_owned(),
        uid,
        ..OwnerReference::default()
    };
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(node.to_owned()),
            namespace: Some(LEASES.to_owned()),
            owner_references: uid.map(|uid| vec![owner(uid)]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(node.to_owned()),
            lease_duration_seconds: Some(LEASE_S),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }),
    };
    match leases.patch(node, &PatchParams::default(), &Patch::Merge(&lease)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            leases.create(&PostParams::default(), &lease).await.map(drop)
        }
        renewed => renewed.map(drop),
    }
}

/// The node's object.
fn node(settings: &NodeSettings) -> Node {
    let usual = [
        ("kubernetes.io/hostname", settings.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", architecture()),
    ];
    let usual = usual.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let cidrs: Vec<String> = settings.pod_cidrs.iter().map(ToString::to_string).collect();
    Node {
        metadata: ObjectMeta {
            name: Some(settings.name.clone()),
            labels: Some(usual.into_iter().chain(settings.labels.clone()).collect()),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec { pod_cidr: cidrs.first().cloned(), pod_cidrs: Some(cidrs), ..NodeSpec::default() }),
        status: None,
    }
}

fn status(settings: &NodeSettings, before: &[NodeCondition], now: Timestamp) -> NodeStatus {
    let capacity = capacity();
    let quantities: BTreeMap<String, Quantity> = [
        ("cpu", format!("{}", capacity.cpu_milli / 1000)),
        ("memory", format!("{}Ki", capacity.memory >> 10)),
        ("pods", capacity.pods.to_string()),
        ("ephemeral-storage", format!("{}Ki", capacity.storage >> 10)),
        ("hugepages-1Gi", "0".to_owned()),
        ("hugepages-2Mi", "0".to_owned()),
    ]
    .map(|(name, quantity)| (name.to_owned(), Quantity(quantity)))
    .into();
    let addresses = settings.addresses.iter().map(|ip| ("InternalIP", ip.to_string()));
    let addresses = addresses.chain([("Hostname", settings.name.clone())]);
    NodeStatus {
        addresses: Some(addresses.map(|(kind, address)| NodeAddress { type_: kind.to_owned(), address }).collect()),
        allocatable: Some(quantities.clone()),
        capacity: Some(quantities),
        conditions: Some(conditions(before, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: settings.kubelet_port.into() }),
        }),
        node_info: Some(info(settings)),
        features: Some(NodeFeatures { supplemental_groups_policy: Some(true) }),
        ..NodeStatus::default()
    }
}

fn conditions(before: &[NodeCondition], now: Timestamp) -> Vec<NodeCondition> {
    let words = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    let condition = |(kind, status, reason, message): (&str, &str, &str, &str)| {
        let known = before.iter().find(|known| known.type_ == kind && known.status == status);
        NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: known.and_then(|known| known.last_transition_time.clone()).or(Some(Time(now))),
        }
    };
    words.into_iter().map(condition).collect()
}

fn info(settings: &NodeSettings) -> NodeSystemInfo {
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let release = fs::read_to_string("/etc/os-release").or_else(|_| io::Result::Ok(String::new())).unwrap_or_default();
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux");
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: format!("linkspan://{}", settings.version),
        kernel_version: rustix::system::uname().release().to_string_lossy().into_owned(),
        kube_proxy_version: String::new(),
        kubelet_version: settings.kubernetes_version.clone(),
        machine_id: line("/etc/machine-id"),
        operating_system: "linux".to_owned(),
        os_image: pretty.trim_matches('"').to_owned(),
        system_uuid: line("/sys/class/dmi/id/product_uuid"),
        ..NodeSystemInfo::default()
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
