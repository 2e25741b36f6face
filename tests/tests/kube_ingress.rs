//! The gateway as a pod, in front of a Deployment, with the real kubectl and requests from another host.

use std::path::Path;

use conformance::{Cluster, eventually};

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  replicas: 2
  selector:
    matchLabels: { app: shop }
  template:
    metadata:
      labels: { app: shop }
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: web
        image: busybox:1
        command: [sh, -c, 'echo welcome > /tmp/index.html; exec httpd -f -p 8080 -h /tmp']
        readinessProbe:
          tcpSocket: { port: 8080 }
          periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata:
  name: shop
spec:
  selector: { app: shop }
  ports:
  - { port: 80, targetPort: 8080 }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
spec:
  rules:
  - host: shop.local
    http:
      paths:
      - { path: /, pathType: Prefix, backend: { service: { name: shop, port: { number: 80 } } } }";

#[test]
fn requests_from_outside_reach_a_deployment_through_the_gateway() {
    let Some(cluster) = Cluster::start() else { return };
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes/gateway.yaml");
    cluster.kubectl(&format!("apply -f {}", manifest.display())).ok();
    cluster.apply(WEB).ok();
    cluster.kubectl("-n linkspan-system rollout status deployment/gateway --timeout=60s").ok();
    cluster.kubectl("rollout status deployment/shop --timeout=60s").ok();
    let address = eventually("the gateway's service has an address", || {
        let path = "{.status.loadBalancer.ingress[0].ip}";
        let said = cluster.kubectl(&format!("-n linkspan-system get service gateway -o 'jsonpath={path}'")).ok();
        (!said.is_empty()).then_some(said)
    });
    let ask = format!("curl -sf -m 10 -H 'Host: shop.local' http://{address}/");
    eventually("the shop answers", || (cluster.host.outside(&ask).out.trim() == "welcome").then_some(()));
    let other = format!("curl -s -m 10 -o /dev/null -w '%{{http_code}}' http://{address}/");
    assert_eq!(cluster.host.outside(&other).ok(), "404");
    let class = cluster.kubectl("get ingress shop -o 'jsonpath={.spec.ingressClassName}'").ok();
    assert_eq!(class, "linkspan");
    let log = cluster.host.path().join("load");
    let load = format!(
        "(for i in $(seq 200); do {ask} -o /dev/null || echo lost; sleep 0.02; done; echo over) > {} 2>&1 &",
        log.display()
    );
    cluster.host.outside(&load).ok();
    cluster.kubectl("set env deployment/shop VERSION=2").ok();
    cluster.kubectl("rollout status deployment/shop --timeout=60s").ok();
    let heard = || std::fs::read_to_string(&log).ok().filter(|text| text.contains("over"));
    assert_eq!(eventually("all was asked", heard).trim(), "over");
}
