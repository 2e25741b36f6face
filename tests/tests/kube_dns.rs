//! The names of the cluster, asked for by a pod, with the real kubectl.

use conformance::{Cluster, Host, eventually};

const NAMED: &str = "
apiVersion: v1
kind: Pod
metadata: { name: client }
spec:
  terminationGracePeriodSeconds: 1
  containers: [{ name: client, image: busybox:1, command: [sleep, '100000'] }]
---
apiVersion: v1
kind: Pod
metadata: { name: one, labels: { app: nodes } }
spec:
  hostname: first
  subdomain: nodes
  terminationGracePeriodSeconds: 1
  containers: [{ name: one, image: busybox:1, command: [httpd, -f, -p, '80', -h, /var/www], ports: [{ name: http, containerPort: 80 }] }]
---
apiVersion: v1
kind: Pod
metadata: { name: two, labels: { app: nodes } }
spec:
  terminationGracePeriodSeconds: 1
  containers: [{ name: two, image: busybox:1, command: [httpd, -f, -p, '80', -h, /var/www] }]
---
apiVersion: v1
kind: Service
metadata: { name: nodes }
spec: { clusterIP: None, selector: { app: nodes }, ports: [{ name: http, port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: nodes }, ports: [{ name: http, port: 8080, targetPort: 80 }, { name: say, port: 53, protocol: UDP }] }
---
apiVersion: v1
kind: Service
metadata: { name: elsewhere }
spec: { type: ExternalName, externalName: www.example.com }
---
apiVersion: v1
kind: Service
metadata: { name: alias }
spec: { type: ExternalName, externalName: web.default.svc.cluster.local }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { clusterIP: 10.96.0.77, ports: [{ port: 80 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: own }
spec:
  terminationGracePeriodSeconds: 1
  dnsPolicy: None
  dnsConfig: { nameservers: [192.0.2.53], searches: [example.org], options: [{ name: ndots, value: '2' }, { name: edns0 }] }
  containers: [{ name: own, image: busybox:1, command: [sleep, '100000'] }]
---
apiVersion: v1
kind: Pod
metadata: { name: of-host }
spec:
  terminationGracePeriodSeconds: 1
  dnsPolicy: Default
  containers: [{ name: of-host, image: busybox:1, command: [sleep, '100000'] }]
---
apiVersion: v1
kind: Pod
metadata: { name: with-host }
spec:
  terminationGracePeriodSeconds: 1
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  containers: [{ name: with-host, image: busybox:1, command: [sleep, '100000'] }]";

/// A cluster whose host asks a server outside, which answers everything with 203.0.113.7.
fn start() -> Option<Cluster> {
    let host = Host::empty()?;
    host.outside("ip addr add 192.0.2.53/24 dev eth0").ok();
    host.serve_names("192.0.2.53");
    host.sh("printf 'nameserver 192.0.2.53\\nsearch host.example\\n' > /run/resolv.conf
        mount --bind /run/resolv.conf /etc/resolv.conf")
        .ok();
    let host = host.with_all_faces();
    host.start_daemon();
    let cluster = Cluster::on(host)?;
    cluster.apply(NAMED).ok();
    cluster.kubectl("wait --for=condition=Ready pod --all --timeout=60s").ok();
    Some(cluster)
}

fn field(cluster: &Cluster, object: &str, path: &str) -> String {
    cluster.kubectl(&format!("get {object} -o 'jsonpath={{{path}}}'")).ok()
}

fn ask(cluster: &Cluster, pod: &str, question: &str) -> conformance::Said {
    cluster.kubectl(&format!("exec {pod} -- nslookup {question}"))
}

#[track_caller]
fn finds(cluster: &Cluster, pod: &str, question: &str, expected: &str) {
    eventually(&format!("{pod} asks for {question} and finds {expected}"), || {
        ask(cluster, pod, question).out.contains(expected).then_some(())
    });
}

#[test]
fn a_pod_finds_the_names_of_its_cluster() {
    let Some(cluster) = start() else { return };
    let address = field(&cluster, "service web", ".spec.clusterIP");
    let [one, two] = ["one", "two"].map(|pod| field(&cluster, &format!("pod {pod}"), ".status.podIP"));
    let dashed = two.replace('.', "-");
    for (question, expected) in [
        // By the search list, and whole.
        ("-type=a web.default.svc.cluster.local", address.as_str()),
        ("-type=a WEB.default.SVC.cluster.local", &address),
        ("-type=a web.shop.svc.cluster.local", "10.96.0.77"),
        ("-type=a kubernetes.default.svc.cluster.local", "10.96.0.1"),
        ("-type=a nodes.default.svc.cluster.local", &one),
        ("-type=a nodes.default.svc.cluster.local", &two),
        ("-type=a first.nodes.default.svc.cluster.local", &one),
        (&format!("-type=a {dashed}.nodes.default.svc.cluster.local"), &two),
        (&format!("-type=a {dashed}.default.pod.cluster.local"), &two),
        (&format!("-type=a {dashed}.kube-public.pod.cluster.local"), &two),
        ("-type=srv _http._tcp.web.default.svc.cluster.local", "0 100 8080 web.default.svc.cluster.local"),
        ("-type=srv _say._udp.web.default.svc.cluster.local", "53 web.default.svc.cluster.local"),
        ("-type=srv _http._tcp.nodes.default.svc.cluster.local", "80 first.nodes.default.svc.cluster.local"),
        (&address, "web.default.svc.cluster.local"),
        (&one, "first.nodes.default.svc.cluster.local"),
        ("-type=cname elsewhere.default.svc.cluster.local", "www.example.com"),
        ("-type=a elsewhere.default.svc.cluster.local", "203.0.113.7"),
        ("-type=a alias.default.svc.cluster.local", &address),
        ("-type=a www.example.com", "203.0.113.7"),
    ] {
        finds(&cluster, "client", question, expected);
    }
    for missing in ["nobody.default.svc.cluster.local", "web.nowhere.svc.cluster.local", "10.96.0.99"] {
        let said = ask(&cluster, "client", missing);
        assert!(said.out.contains("NXDOMAIN") || said.err.contains("NXDOMAIN"), "{missing}: {said:?}");
    }
    // As programs look up names: search paths, and names with less than five dots first within them.
    for (name, expected) in [("web", &address), ("web.default", &address), ("web.shop", &"10.96.0.77".to_owned())] {
        let said = cluster.kubectl(&format!("exec client -- ping -c 1 -W 1 -w 1 {name}"));
        assert!(said.out.contains(&format!("({expected})")), "{name}: {said:?}");
    }
    assert_eq!(cluster.kubectl("exec client -- get first.nodes:80").ok(), "hello");
    assert!(!cluster.host.was_asked("192.0.2.53", "svc"), "names of the cluster went outside");
    // An endpoint that goes takes its names along.
    cluster.kubectl("delete pod two").ok();
    eventually("its address is gone", || {
        (!ask(&cluster, "client", "-type=a nodes.default.svc.cluster.local").out.contains(&two)).then_some(())
    });
}

#[test]
fn pods_have_the_resolver_that_they_ask_for() {
    let Some(cluster) = start() else { return };
    let file = |pod: &str| cluster.kubectl(&format!("exec {pod} -- cat /etc/resolv.conf")).ok();
    let usual = "search default.svc.cluster.local svc.cluster.local cluster.local host.example\nnameserver 10.96.0.10\noptions ndots:5";
    assert_eq!(file("client"), usual);
    assert_eq!(file("with-host"), usual);
    assert_eq!(file("own"), "search example.org\nnameserver 192.0.2.53\noptions ndots:2 edns0");
    assert_eq!(file("of-host"), "search host.example\nnameserver 192.0.2.53");
    finds(&cluster, "with-host", "-type=a kubernetes.default.svc.cluster.local", "10.96.0.1");
    finds(&cluster, "own", "-type=a kubernetes.default.svc.cluster.local", "203.0.113.7");
    assert_eq!(cluster.kubectl("exec one -- hostname").ok(), "first");
    assert_eq!(cluster.kubectl("exec one -- hostname -f").ok(), "first.nodes.default.svc.cluster.local");
    let hosts = cluster.kubectl("exec one -- cat /etc/hosts").ok();
    assert!(hosts.contains("\tfirst.nodes.default.svc.cluster.local\tfirst"), "{hosts}");
}
