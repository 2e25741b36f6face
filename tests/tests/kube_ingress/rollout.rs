//! Rollouts behind the gateway and behind a Service: nothing is lost.

use std::{net::SocketAddr, time::Duration};

use conformance::{Ask, Cluster, From, eventually};

use super::Front;

/// Servers without manners: they do not hear that they are told to end, and are killed with all that they do.
const PLAIN: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: plain
spec:
  replicas: 2
  selector:
    matchLabels: { app: plain }
  template:
    metadata:
      labels: { app: plain }
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
  name: plain
spec:
  selector: { app: plain }
  ports:
  - { port: 80, targetPort: 8080 }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: plain
spec:
  rules:
  - host: plain.local
    http:
      paths:
      - { path: /, pathType: Prefix, backend: { service: { name: plain, port: { number: 80 } } } }";

/// Kept connections and new ones, through the Service and through the Ingress, while the Deployment is updated, put back and scaled, and
/// the daemon is killed and started: none of some thousands is lost. `LINKSPAN_REQUESTS=100000` asks for more.
#[test]
fn no_request_is_lost() {
    let Some(front) = Front::start() else { return };
    let requests = std::env::var("LINKSPAN_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(6000);
    front.cluster.apply(POLITE).ok();
    front.cluster.apply(PLAIN).ok();
    front.says("http://polite.local/", "I am polite-");
    front.says("http://plain.local/", "welcome");
    let service = front.cluster.kubectl("get service polite -o 'jsonpath={.spec.clusterIP}'").ok();
    let begin = |from, address: &str, host, kept| front.cluster.host.load(from, 2, &ask(address, host, kept));
    let loads = [
        ("the Service, kept", begin(From::Host, &service, "polite.local", true)),
        ("the Service, new", begin(From::Host, &service, "polite.local", false)),
        ("the Ingress, kept", begin(From::Outside, &front.address, "polite.local", true)),
        ("the Ingress, new", begin(From::Outside, &front.address, "polite.local", false)),
        ("servers without manners", begin(From::Outside, &front.address, "plain.local", false)),
    ];
    let mut rounds = 0;
    while rounds < 1 || loads.iter().map(|(_, load)| load.answered()).sum::<usize>() < requests {
        round(&front.cluster);
        rounds += 1;
        assert!(rounds < 1000, "there are answers in every round");
    }
    let tallies = loads.map(|(name, load)| (name, load.ends()));
    println!("{rounds} rounds: {tallies:#?}");
    let lost: Vec<_> = tallies.iter().filter(|(_, tally)| !tally.lost.is_empty()).collect();
    assert!(lost.is_empty(), "{rounds} rounds: {lost:#?}");
}

fn ask(address: &str, host: &str, kept: bool) -> Ask {
    let address = SocketAddr::new(address.parse().expect("an address"), 80);
    Ask { address, host: host.to_owned(), kept, pause: Duration::from_millis(2) }
}

/// All that may happen to Deployments that serve.
fn round(cluster: &Cluster) {
    let both = |command: &str| drop(cluster.kubectl(&format!("{command} deployment/polite deployment/plain")).ok());
    let rolled = || {
        for name in ["polite", "plain"] {
            cluster.kubectl(&format!("rollout status deployment/{name} --timeout=60s")).ok();
        }
    };
    for command in ["rollout restart", "rollout undo", "scale --replicas=4", "scale --replicas=2"] {
        both(command);
        rolled();
    }
    // In the middle of an update.
    both("rollout restart");
    cluster.host.kill_daemon();
    cluster.host.start_daemon();
    eventually("the API answers again", || (cluster.kubectl("get deployment polite").code == 0).then_some(()));
    rolled();
}

/// Servers that keep connections, and say goodbye when they are told to end.
const POLITE: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: { name: polite }
spec:
  replicas: 2
  selector:
    matchLabels: { app: polite }
  template:
    metadata:
      labels: { app: polite }
    spec:
      terminationGracePeriodSeconds: 20
      containers:
      - name: polite
        image: linkspan/gateway:0.1.0
        args: [demo, serve, '[::]:8080']
        readinessProbe:
          httpGet: { path: /, port: 8080 }
          periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata: { name: polite }
spec:
  selector: { app: polite }
  ports:
  - { port: 80, targetPort: 8080 }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: polite }
spec:
  rules:
  - host: polite.local
    http:
      paths:
      - { path: /, pathType: Prefix, backend: { service: { name: polite, port: { number: 80 } } } }";
