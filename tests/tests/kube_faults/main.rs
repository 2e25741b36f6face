//! Kubernetes while what serves it is killed, objects are poisoned, clients and nodes fall silent, and files are full or damaged: what was
//! acknowledged comes true, what runs serves, and each fault stays with whom it concerns.

mod files;
mod killed;
mod poisoned;
mod silent;

use conformance::{Cluster, eventually};

/// Three web servers that say their version, behind a service with a node port.
const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 3
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
        env: [{ name: VERSION, value: '0' }]
        command: [sh, -c, 'echo $VERSION > /tmp/index.html; exec httpd -f -p 8080 -h /tmp']
        readinessProbe:
          tcpSocket: { port: 8080 }
          periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  type: NodePort
  selector: { app: web }
  ports:
  - { port: 80, targetPort: 8080, nodePort: 30080 }";

/// Deploys them, and waits until they serve.
fn deploy(cluster: &Cluster) {
    cluster.apply(WEB).ok();
    cluster.kubectl("rollout status deployment/web --timeout=50s").ok();
    until_served(cluster, "0");
}

/// Waits until the service answers with this version.
fn until_served(cluster: &Cluster, version: &str) {
    let asked = || cluster.host.outside("curl -sf -m 5 http://192.0.2.1:30080/");
    eventually(&format!("version {version} serves"), || (asked().out.trim() == version).then_some(()));
}

/// How often something is done; more by hand: `LINKSPAN_MANY=200`.
fn many(usual: u32) -> u32 {
    std::env::var("LINKSPAN_MANY").ok().and_then(|many| many.parse().ok()).unwrap_or(usual)
}
