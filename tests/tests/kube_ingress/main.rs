//! Ingresses with the real kubectl: the gateway as pods, and clients on another host.

mod nodes;
mod protocols;
mod rollout;
mod rules;
mod tls;

use std::path::Path;

use conformance::{Cluster, Said, eventually};

/// A cluster with the gateway behind a Service of type LoadBalancer.
struct Front {
    cluster: Cluster,
    /// The address of that service.
    address: String,
}

impl Front {
    fn start() -> Option<Self> {
        let cluster = Cluster::start_with(&["--ingress-ports", "none"])?;
        cluster.kubectl(&format!("apply -f {}", manifest("gateway.yaml"))).ok();
        // One is enough to look at.
        cluster.kubectl("-n linkspan-system scale deployment/gateway --replicas=1").ok();
        cluster.kubectl("-n linkspan-system rollout status deployment/gateway --timeout=60s").ok();
        let address = eventually("the gateway's service has an address", || {
            let path = "{.status.loadBalancer.ingress[0].ip}";
            let said = cluster.kubectl(&format!("-n linkspan-system get service gateway -o 'jsonpath={path}'")).ok();
            (!said.is_empty()).then_some(said)
        });
        Some(Self { cluster, address })
    }

    /// A server that shows requests, as a Deployment with a Service of this name.
    fn show(&self, name: &str) {
        self.cluster.apply(&SHOW.replace("NAME_OF_IT", name)).ok();
        self.cluster.kubectl(&format!("rollout status deployment/{name} --timeout=60s")).ok();
    }

    /// curl on the neighbour, who finds every name that ends in `.local` at the gateway.
    fn curl(&self, words: &str) -> Said {
        let address = &self.address;
        let host = words.split(['/', ' ', ':', '\'']).find(|word| word.ends_with(".local")).unwrap_or("any.local");
        let resolve = format!("--resolve {host}:80:{address} --resolve {host}:443:{address}");
        self.cluster.host.outside(&format!("curl -sS -m 10 {resolve} {words}"))
    }

    /// Waits until an answer contains this, and returns it.
    fn says(&self, words: &str, expected: &str) -> String {
        eventually(&format!("{words} says {expected:?}"), || {
            let said = self.curl(words).out;
            said.contains(expected).then_some(said)
        })
    }

    /// Waits until an event about an Ingress says this.
    fn tells(&self, ingress: &str, words: &str) {
        let expected = format!("{ingress} linkspan-gateway Warning NotServed Translate {words}");
        eventually(&format!("an event says {expected:?}"), || self.events().contains(&expected).then_some(()));
    }

    /// What is told of Ingresses.
    fn events(&self) -> String {
        let fields = "{.regarding.name} {.reportingController} {.type} {.reason} {.action} {.note}{\"\\n\"}";
        let path = format!("{{range .items[*]}}{fields}{{end}}");
        self.cluster.kubectl(&format!("get events.v1.events.k8s.io -o 'jsonpath={path}'")).ok()
    }
}

/// A manifest that comes with linkspan.
fn manifest(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes").join(name).display().to_string()
}

const SHOW: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: NAME_OF_IT
spec:
  selector:
    matchLabels: { app: NAME_OF_IT }
  template:
    metadata:
      labels: { app: NAME_OF_IT }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: show
        image: busybox:1
        command: [socat, 'TCP-LISTEN:8080,fork,reuseaddr', 'EXEC:show']
        env:
        - { name: NAME, value: NAME_OF_IT }
        readinessProbe:
          tcpSocket: { port: 8080 }
          periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata:
  name: NAME_OF_IT
spec:
  selector: { app: NAME_OF_IT }
  ports:
  - { name: http, port: 80, targetPort: 8080 }";
