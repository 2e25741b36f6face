//! Clients that do not read, and nodes that do not speak.

use std::fs;

use conformance::{Cluster, eventually, eventually_fits};
use serde_json::{Value, json};

use crate::many;

/// How many clients watch and do not read.
const WATCHERS: usize = 5;
/// How often the object that they watch is changed.
const CHANGES: u32 = 400;
/// Its size. What waits for five who do not read would be 200 MB, and more than the kernel keeps for any of them.
const SIZE: usize = 100_000;
/// What the daemon may grow by meanwhile: what it remembers of the past, and buffers.
const GROWTH_MAX_KIB: u64 = 120 << 10;

#[test]
fn who_does_not_read_is_cut_off_and_a_node_that_does_not_speak_is_lost_until_it_does() {
    let Some(cluster) = Cluster::start() else { return };
    // Nobody speaks for this node but we.
    cluster.apply("{ apiVersion: v1, kind: Node, metadata: { name: ghost } }").ok();
    let ghost = Ghost(&cluster);
    ghost.says("True");
    ghost.is("Ready", "");
    pod(&cluster, "leaves", json!(0));
    pod(&cluster, "stays", Value::Null);
    ghost.says("False");
    ghost.is("NotReady", "node.kubernetes.io/not-ready");
    cluster.until_told("leaves", "TaintManagerEviction Marking for deletion Pod default/leaves");
    ghost.says("True");
    ghost.is("Ready", "");

    let deaf = deaf(&cluster);
    let peers = || cluster.host.sh("ss -Htn state established '( sport = :6443 )'").ok();
    let connected =
        |peers: &str| deaf.iter().filter(|client| peers.split_whitespace().any(|word| word == *client)).count();
    assert_eq!(connected(&peers()), WATCHERS, "those who do not read are connected: {deaf:?}");
    let before = rss_kib(&cluster);
    change(&cluster);
    let grown = rss_kib(&cluster).saturating_sub(before);
    println!("{WATCHERS} who do not read: {grown} KiB more");
    assert!(grown < GROWTH_MAX_KIB, "{grown} KiB more");
    // Nobody has heard of the node for long by now, or soon; nor of those who do not read.
    ghost.is("NotReady", "node.kubernetes.io/unreachable");
    assert_eq!(ghost.field(READY_MESSAGE), "Kubelet stopped posting node status.");
    eventually_fits("those who do not read are cut off", peers, |peers| connected(peers) == 0);
    let lease = "{ apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: { name: ghost, namespace: kube-node-lease }, spec: { renewTime: \"NOW\" } }";
    let now = cluster.host.sh("date -u +%Y-%m-%dT%H:%M:%S.000000Z").ok();
    cluster.apply(&lease.replace("NOW", &now)).ok();
    ghost.says("True");
    ghost.is("Ready", "");
    // One waits for its node to say that it has ended; the other bears such a node for five minutes, as all do.
    let leaving = "{range .items[?(@.metadata.deletionTimestamp)]}{.metadata.name} {end}";
    assert_eq!(cluster.kubectl(&format!("get pod -o 'jsonpath={leaving}'")).ok(), "leaves");
}

/// A node that says what the test says.
struct Ghost<'c>(&'c Cluster);

const READY_MESSAGE: &str = ".status.conditions[?(@.type==\"Ready\")].message";

impl Ghost<'_> {
    /// Says whether it is ready.
    fn says(&self, ready: &str) {
        let status = json!({ "status": { "conditions": [{ "type": "Ready", "status": ready, "reason": "Test" }] } });
        self.0.kubectl(&format!("patch node ghost --subresource=status -p '{status}'")).ok();
    }

    /// Waits until it is shown like this, and has no other taint than this one.
    fn is(&self, shown: &str, taint: &str) {
        let row = || self.0.kubectl("get node ghost --no-headers").out;
        eventually_fits(&format!("the node is {shown}"), row, |row| row.split_whitespace().nth(1) == Some(shown));
        let taints = || self.field(".spec.taints[*].key");
        let all =
            |taints: &str| taints.is_empty() == taint.is_empty() && taints.split_whitespace().all(|key| key == taint);
        eventually_fits(&format!("the node's taint is {taint:?}"), taints, all);
    }

    fn field(&self, path: &str) -> String {
        self.0.kubectl(&format!("get node ghost -o 'jsonpath={{{path}}}'")).out
    }
}

/// A pod that is on that node, and bears it for so many seconds when it is not ready; null is as long as usual.
fn pod(cluster: &Cluster, name: &str, bears_s: Value) {
    let bears = |taint: &str| {
        let key = format!("node.kubernetes.io/{taint}");
        json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": bears_s })
    };
    let tolerations: Value =
        ["not-ready", "unreachable"].into_iter().filter(|_| !bears_s.is_null()).map(bears).collect();
    let spec = json!({ "nodeName": "ghost", "tolerations": tolerations, "containers": [{ "name": "a", "image": "busybox:1" }] });
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec });
    cluster.apply(&pod.to_string()).ok();
}

/// Clients that watch, and were stopped before they read on: where each came from.
fn deaf(cluster: &Cluster) -> Vec<String> {
    let file = cluster.host.path().join("padding");
    fs::write(&file, "x".repeat(SIZE)).expect("a file");
    cluster.kubectl(&format!("create configmap busy --from-file={}", file.display())).ok();
    let clients = (0..WATCHERS).map(|number| {
        let log = cluster.host.path().join(format!("watch-{number}"));
        let watch = "KUBECONFIG=/run/linkspan/kubeconfig kubectl get configmap busy -w -o json";
        let pid = cluster.host.sh(&format!("{watch} >{} 2>&1 & echo $!", log.display())).ok();
        eventually("it watches", || fs::read_to_string(&log).ok().filter(|text| text.len() > SIZE));
        cluster.host.sh(&format!("kill -STOP {pid}")).ok();
        cluster
            .host
            .sh(&format!("ss -Htnp state established '( dport = :6443 )' | grep pid={pid}, | awk '{{ print $3 }}'"))
            .ok()
    });
    clients.collect()
}

/// Changes what they watch, again and again.
fn change(cluster: &Cluster) {
    let times = many(CHANGES);
    let script = format!(
        "export KUBECONFIG=/run/linkspan/kubeconfig
        kubectl proxy --port=8001 >/dev/null & proxy=$!
        until curl -sf http://127.0.0.1:8001/version >/dev/null; do kill -0 $proxy || exit 1; sleep 0.05; done
        for n in $(seq {times}); do
            curl -sf -o /dev/null -X PATCH -H 'Content-Type: application/merge-patch+json' -d '{{\"metadata\":{{\"labels\":{{\"n\":\"'$n'\"}}}}}}' \\
                http://127.0.0.1:8001/api/v1/namespaces/default/configmaps/busy || exit 2
        done
        kill $proxy"
    );
    cluster.host.sh(&script).ok();
}

/// What the daemon has of memory.
fn rss_kib(cluster: &Cluster) -> u64 {
    let pid = cluster.host.daemon_pid();
    let said = cluster.host.sh(&format!("awk '/^VmRSS/ {{ print $2 }}' /proc/{pid}/status")).ok();
    said.parse().expect("a number")
}
