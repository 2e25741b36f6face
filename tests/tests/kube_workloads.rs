//! Pods, Deployments and Services, with the real kubectl, containers and packets.

use conformance::{Cluster, eventually};

/// Web servers that say their own host name, and end when asked.
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
        command: [sh, -c, 'hostname > /tmp/index.html; exec httpd -f -p 8080 -h /tmp']
        readinessProbe:
          tcpSocket: { port: 8080 }
          periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: { app: web }
  ports:
  - port: 80
    targetPort: 8080";

#[test]
fn a_pod_runs_and_is_asked() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.kubectl("run box --image=busybox:1 -- sh -c 'echo hello; exec sleep 1000'").ok();
    cluster.kubectl("wait --for=condition=Ready pod/box --timeout=30s").ok();
    assert_eq!(cluster.kubectl("logs box").ok(), "hello");
    assert_eq!(cluster.kubectl("exec box -- sh -c 'echo $HOSTNAME'").ok(), "box");
    assert_eq!(cluster.kubectl("exec box -- sh -c 'exit 3'").code, 3);
    let names = cluster.host.docker("ps --format '{{.Names}}'").ok();
    assert!(names.starts_with("k8s_box_box_default_"), "{names}");
    let address = cluster.kubectl("get pod box -o jsonpath={.status.podIP}").ok();
    cluster.host.docker(&format!("run --rm busybox ping -c 1 -W 5 {address}")).ok();
    let container = || cluster.kubectl("get pod box -o jsonpath={.status.containerStatuses[0].containerID}").ok();
    let before = container();
    cluster.host.kill_daemon();
    cluster.host.start_daemon();
    eventually("the node is told of again", || (cluster.kubectl("get pod box").code == 0).then_some(()));
    assert_eq!(container(), before);
    cluster.kubectl("delete pod box --grace-period=1").ok();
    assert_eq!(cluster.kubectl("get pods -o name").ok(), "");
    eventually("its container goes", || (cluster.host.docker("ps -aq").ok().is_empty()).then_some(()));
}

#[test]
fn a_deployment_is_updated_and_put_back_while_it_serves() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply(WEB).ok();
    cluster.kubectl("rollout status deployment/web --timeout=60s").ok();
    let address = cluster.kubectl("get service web -o jsonpath={.spec.clusterIP}").ok();
    eventually("the service answers", || {
        (cluster.host.sh(&format!("curl -sf -m 5 http://{address}/")).code == 0).then_some(())
    });
    let load = format!(
        "(for i in $(seq 400); do curl -sf -m 10 -o /dev/null http://{address}/ || echo lost; sleep 0.02; done; echo over) > {}/load 2>&1 &",
        cluster.host.path().display()
    );
    cluster.host.sh(&load).ok();
    cluster.kubectl("set env deployment/web VERSION=2").ok();
    cluster.kubectl("rollout status deployment/web --timeout=60s").ok();
    let annotations = cluster.kubectl("get deployment web -o jsonpath={.metadata.annotations}").ok();
    assert!(annotations.contains("\"deployment.kubernetes.io/revision\":\"2\""), "{annotations}");
    cluster.kubectl("rollout undo deployment/web").ok();
    cluster.kubectl("rollout status deployment/web --timeout=60s").ok();
    cluster.kubectl("scale deployment/web --replicas=3").ok();
    cluster.kubectl("rollout status deployment/web --timeout=60s").ok();
    let heard = || std::fs::read_to_string(cluster.host.path().join("load")).ok().filter(|text| text.contains("over"));
    assert_eq!(eventually("all was asked", heard).trim(), "over");
    let history = cluster.kubectl("rollout history deployment/web").ok();
    assert!(history.contains("\n2 ") && history.contains("\n3 "), "{history}");
    cluster.kubectl("delete deployment web").ok();
    eventually("nobody serves", || {
        (cluster.host.sh(&format!("curl -s -m 5 http://{address}/")).code == 7).then_some(())
    });
    eventually("all pods are gone", || cluster.kubectl("get pods -o name").ok().is_empty().then_some(()));
}
