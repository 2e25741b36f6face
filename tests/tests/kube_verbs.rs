//! The verbs of kubectl that the other tests have no use for.

use conformance::{Cluster, eventually};

/// Pods that end when they are asked.
const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels: { app: web }
  template:
    metadata:
      labels: { app: web }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: busybox:1
        command: [sleep, '1000']";

#[test]
fn a_node_is_emptied_and_taken_into_use_again() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply(WEB).ok();
    cluster.kubectl("rollout status deployment/web --timeout=60s").ok();
    let node = cluster.kubectl("get nodes -o 'jsonpath={.items[0].metadata.name}'").ok();
    let status = || cluster.kubectl("get nodes --no-headers").ok().split_whitespace().nth(1).map(str::to_owned);
    assert_eq!(cluster.kubectl(&format!("cordon {node}")).ok(), format!("node/{node} cordoned"));
    assert_eq!(status().as_deref(), Some("Ready,SchedulingDisabled"));
    cluster.kubectl(&format!("drain {node} --timeout=50s")).ok();
    let phases = || cluster.kubectl("get pods -l app=web -o 'jsonpath={.items[*].status.phase}'").ok();
    eventually("the new pods wait", || (phases() == "Pending Pending").then_some(()));
    assert_eq!(cluster.kubectl(&format!("uncordon {node}")).ok(), format!("node/{node} uncordoned"));
    cluster.kubectl("rollout status deployment/web --timeout=60s").ok();
    assert_eq!(cluster.kubectl(&format!("taint nodes {node} a=b:NoSchedule")).ok(), format!("node/{node} tainted"));
    assert_eq!(cluster.kubectl(&format!("taint nodes {node} a-")).ok(), format!("node/{node} untainted"));
    assert_eq!(status().as_deref(), Some("Ready"));
}

#[test]
fn deployments_are_compared_replaced_and_restarted() {
    let Some(cluster) = Cluster::start() else { return };
    let three = WEB.replace("replicas: 2", "replicas: 3");
    assert_eq!(
        cluster.kubectl(&format!("apply --dry-run=server -f - <<'END'\n{WEB}\nEND")).ok(),
        "deployment.apps/web created (server dry run)"
    );
    cluster.kubectl("get deployment web").fails_with("deployments.apps \"web\" not found");
    cluster.apply(WEB).ok();
    let difference = cluster.kubectl(&format!("diff -f - <<'END'\n{three}\nEND"));
    assert!(difference.code == 1 && difference.out.contains("+  replicas: 3"), "{difference:?}");
    assert_eq!(cluster.kubectl(&format!("replace -f - <<'END'\n{three}\nEND")).ok(), "deployment.apps/web replaced");
    assert_eq!(
        cluster.kubectl("set resources deployment web --limits=memory=64Mi").ok(),
        "deployment.apps/web resource requirements updated"
    );
    assert_eq!(cluster.kubectl("rollout pause deployment/web").ok(), "deployment.apps/web paused");
    assert_eq!(cluster.kubectl("rollout resume deployment/web").ok(), "deployment.apps/web resumed");
    assert_eq!(cluster.kubectl("rollout restart deployment/web").ok(), "deployment.apps/web restarted");
    cluster.kubectl("rollout status deployment/web --timeout=60s").ok();
    assert_eq!(cluster.kubectl("get deployment web -o 'jsonpath={.status.readyReplicas}'").ok(), "3");
}
