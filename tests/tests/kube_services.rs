//! Services with the real kubectl and real packets: who is asked where, by whom, and who answers.

use conformance::{Cluster, From, eventually};

/// Two pods that answer: at 8080 to HTTP with their name, at 8081 with the client's address, at 5353 by UDP with their name.
const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: busybox:1
        command:
        - sh
        - -c
        - |
          hostname > /tmp/index.html
          socat TCP-LISTEN:8081,fork,reuseaddr SYSTEM:'echo $SOCAT_PEERADDR' &
          socat -T 5 UDP-LISTEN:5353,fork,reuseaddr SYSTEM:'read line; hostname' &
          exec httpd -f -p 8080 -h /tmp
        ports:
        - { name: http, containerPort: 8080 }
        - { name: peer, containerPort: 8081 }
        - { name: say, containerPort: 5353, protocol: UDP }
        readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 }
---
apiVersion: v1
kind: Pod
metadata: { name: client }
spec:
  terminationGracePeriodSeconds: 1
  containers: [{ name: client, image: busybox:1, command: [sleep, '100000'] }]";

/// A service of those pods.
fn service(name: &str, spec: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec:\n  selector: {{ app: web }}\n{spec}")
}

/// All their ports.
const PORTS: &str = "  ports:
  - { name: http, port: 80, targetPort: http }
  - { name: peer, port: 81, targetPort: peer }
  - { name: say, port: 53, targetPort: say, protocol: UDP }
";

/// A cluster with those pods and a client.
fn start(arguments: &[&str]) -> Option<Cluster> {
    let cluster = Cluster::start_with(arguments)?;
    cluster.apply(WEB).ok();
    cluster.kubectl("rollout status deployment/web --timeout=60s").ok();
    cluster.kubectl("wait --for=condition=Ready pod/client --timeout=60s").ok();
    Some(cluster)
}

fn field(cluster: &Cluster, object: &str, path: &str) -> String {
    cluster.kubectl(&format!("get {object} -o 'jsonpath={{{path}}}'")).ok()
}

/// Runs a shell script in the client.
fn client(cluster: &Cluster, script: &str) -> conformance::Said {
    cluster.kubectl(&format!("exec client -- sh -c \"{script}\""))
}

/// One of the pods answers the client by HTTP.
#[track_caller]
fn answers(cluster: &Cluster, target: &str) {
    eventually(&format!("{target} answers the client"), || {
        client(cluster, &format!("get {target}")).out.starts_with("web-").then_some(())
    });
}

/// Which of a list of names is answered by.
#[track_caller]
fn reaches(cluster: &Cluster, from: From<'_>, target: &str) {
    eventually(&format!("{from:?} reaches {target}"), || {
        cluster.host.tcp(from, target).filter(|said| said.starts_with("web-"))
    });
}

/// An event of a service has these words.
#[track_caller]
fn told(cluster: &Cluster, service: &str, words: &str) {
    eventually(&format!("service {service} is told {words:?}"), || {
        let events = cluster.kubectl(&format!("get events --field-selector involvedObject.name={service}")).out;
        events.contains(words).then_some(())
    });
}

#[test]
fn services_answer_at_all_their_addresses() {
    let Some(cluster) = start(&[]) else { return };
    let host = &cluster.host;
    let all = format!("  type: NodePort\n  externalIPs: [203.0.113.7]\n{PORTS}");
    cluster.apply(&service("web", &all.replace("port: 80,", "port: 80, nodePort: 30080,"))).ok();
    let address = field(&cluster, "service web", ".spec.clusterIP");
    answers(&cluster, &format!("{address}:80"));
    answers(&cluster, "web:80");
    answers(&cluster, "192.0.2.1:30080");
    answers(&cluster, "203.0.113.7:80");
    for target in [&format!("{address}:80"), "192.0.2.1:30080", "127.0.0.1:30080", "[::1]:30080"] {
        reaches(&cluster, From::Host, target);
    }
    reaches(&cluster, From::Outside, "192.0.2.1:30080");
    host.outside("ip route add 203.0.113.7/32 via 192.0.2.1").ok();
    reaches(&cluster, From::Outside, "203.0.113.7:80");
    // Both pods are asked, by UDP too.
    let names = format!("for i in \\$(seq 10); do echo | socat -t 0.3 - UDP:{address}:53; done | sort -u | wc -l");
    eventually("both answer by UDP", || (client(&cluster, &names).out.trim() == "2").then_some(()));
    // Who asks from inside keeps its address, who asks from outside at a node's port does not have to.
    let own = field(&cluster, "pod client", ".status.podIP");
    assert_eq!(client(&cluster, &format!("get {address}:81")).ok(), own);
    // A pod that asks its own service and is led to itself.
    let pod = field(&cluster, "pods -l app=web", ".items[0].metadata.name");
    let hairpin = format!("exec {pod} -- sh -c 'for i in $(seq 30); do get {address}:80; done | sort -u | wc -l'");
    assert_eq!(cluster.kubectl(&hairpin).ok(), "2");
    // Who has affinity stays with one.
    cluster.kubectl("patch service web -p '{\"spec\":{\"sessionAffinity\":\"ClientIP\"}}'").ok();
    let many = format!("for i in \\$(seq 20); do get {address}:80; done | sort -u | wc -l");
    eventually("the client stays with one", || (client(&cluster, &many).out.trim() == "1").then_some(()));
    // Nobody serves: they are told at once.
    cluster.kubectl("scale deployment web --replicas=0").ok();
    let refused = |kind: &str, port: u16| {
        let ask = format!("echo | socat -t 3 - {kind}:{address}:{port}");
        eventually(&format!("{kind} is refused"), || {
            client(&cluster, &ask).err.contains("Connection refused").then_some(())
        });
    };
    refused("TCP", 80);
    refused("UDP", 53);
    // One flow, from before the first pod to after the last.
    cluster.kubectl("scale deployment web --replicas=1").ok();
    cluster.kubectl("rollout status deployment/web --timeout=60s").ok();
    let flow = format!("echo | socat -t 1 - UDP:{address}:53,sourceport=7777");
    let heard = || Some(client(&cluster, &flow).out.trim().to_owned()).filter(|name| name.starts_with("web-"));
    let first = eventually("the flow is answered", heard);
    cluster.kubectl(&format!("delete pod {first} --wait=true --timeout=60s")).ok();
    let second = eventually("the flow is answered by another", || heard().filter(|name| *name != first));
    assert_ne!(first, second);
}

#[test]
fn services_without_selectors_lead_where_somebody_says() {
    let Some(cluster) = start(&[]) else { return };
    let host = &cluster.host;
    host.serve("peer", "");
    let peer = host.docker("inspect peer -f {{.NetworkSettings.IPAddress}}").ok();
    cluster
        .apply(&format!(
            "
apiVersion: v1
kind: Service
metadata: {{ name: by-slice }}
spec: {{ ports: [{{ port: 80 }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: by-slice-1, labels: {{ kubernetes.io/service-name: by-slice }} }}
addressType: IPv4
ports: [{{ name: '', port: 80, protocol: TCP }}]
endpoints: [{{ addresses: [{peer}] }}]
---
apiVersion: v1
kind: Service
metadata: {{ name: by-endpoints }}
spec: {{ ports: [{{ port: 80 }}] }}
---
apiVersion: v1
kind: Endpoints
metadata: {{ name: by-endpoints }}
subsets: [{{ addresses: [{{ ip: {peer} }}], ports: [{{ port: 80 }}] }}]
"
        ))
        .ok();
    for name in ["by-slice", "by-endpoints"] {
        eventually(&format!("{name} leads to the container"), || {
            (client(&cluster, &format!("get {name}:80")).out.trim() == "hello").then_some(())
        });
    }
    let mirrored =
        "get endpointslices -l kubernetes.io/service-name=by-endpoints -o 'jsonpath={.items[*].metadata.labels}'";
    assert!(cluster.kubectl(mirrored).ok().contains("endpointslicemirroring-controller.k8s.io"));
}

#[test]
fn endpoints_that_end_or_are_not_ready_serve_where_they_should() {
    let Some(cluster) = start(&[]) else { return };
    cluster.apply("
apiVersion: v1
kind: Pod
metadata: { name: slow, labels: { app: slow } }
spec:
  terminationGracePeriodSeconds: 60
  containers:
  - name: slow
    image: busybox:1
    command: [sh, -c, 'echo slow > /tmp/index.html; httpd -p 8080 -h /tmp; trap \"while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 0\" TERM; while :; do sleep 0.1; done']
    readinessProbe: { exec: { command: [test, '!', -e, /tmp/unready] }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata: { name: slow }
spec: { selector: { app: slow }, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: eager }
spec: { selector: { app: slow }, publishNotReadyAddresses: true, ports: [{ port: 80, targetPort: 8080 }] }
").ok();
    cluster.kubectl("wait --for=condition=Ready pod/slow --timeout=60s").ok();
    let says = |name: &str, expected: &str| {
        eventually(&format!("{name} says {expected:?}"), || {
            (client(&cluster, &format!("get {name}:80")).out.trim() == expected).then_some(())
        });
    };
    says("slow", "slow");
    cluster.kubectl("exec slow -- touch /tmp/unready").ok();
    says("slow", "");
    says("eager", "slow");
    cluster.kubectl("exec slow -- rm /tmp/unready").ok();
    says("slow", "slow");
    // It is about to end, it still serves, and there is no other.
    cluster.kubectl("delete pod slow --wait=false").ok();
    eventually("its slice says that it ends", || {
        let slices = "get endpointslices -l kubernetes.io/service-name=slow";
        let conditions = cluster.kubectl(&format!("{slices} -o 'jsonpath={{.items[*].endpoints[*].conditions}}'")).out;
        conditions.contains("\"terminating\":true").then_some(())
    });
    says("slow", "slow");
    cluster.kubectl("exec slow -- touch /tmp/end").ok();
    says("slow", "");
}

#[test]
fn local_traffic_keeps_its_source_and_tells_its_health() {
    let Some(cluster) = start(&[]) else { return };
    let host = &cluster.host;
    // Somebody has a port that a service is going to want: that harms that one only.
    let holder = host.sh("socat TCP-LISTEN:32001,fork,reuseaddr /dev/null >/dev/null 2>&1 & echo $!").ok();
    let local = |check: u16| {
        format!("  type: LoadBalancer\n  externalTrafficPolicy: Local\n  healthCheckNodePort: {check}\n{PORTS}")
    };
    cluster.apply(&service("web", &local(32000))).ok();
    cluster
        .apply(&service("taken", &local(32001).replace("port: 8", "port: 18").replace("port: 53,", "port: 153,")))
        .ok();
    let address = eventually("it has an address", || {
        Some(field(&cluster, "service web", ".status.loadBalancer.ingress[0].ip")).filter(|ip| !ip.is_empty())
    });
    assert_eq!(address, "192.0.2.1");
    eventually("the client's address is seen", || {
        (host.tcp(From::Outside, &format!("{address}:81")).as_deref() == Some("192.0.2.2")).then_some(())
    });
    let checked = || host.outside("curl -s -i -m 5 http://192.0.2.1:32000/healthz").out.replace('\r', "");
    let said =
        eventually("two endpoints are told", || Some(checked()).filter(|said| said.contains("\"localEndpoints\": 2")));
    for words in ["HTTP/1.1 200", "content-type: application/json", "\"namespace\": \"default\"", "\"name\": \"web\""] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    assert!(
        said.contains("\"serviceProxyHealthy\": true") && said.contains("x-content-type-options: nosniff"),
        "{said}"
    );
    told(&cluster, "taken", "FailedToStartServiceHealthcheck");
    cluster.kubectl("scale deployment web --replicas=0").ok();
    eventually("none is told", || {
        let said = checked();
        (said.contains("HTTP/1.1 503") && said.contains("\"localEndpoints\": 0")).then_some(())
    });
    cluster.kubectl("delete service web").ok();
    eventually("the port is closed", || (host.outside("curl -s -m 5 http://192.0.2.1:32000/").code == 7).then_some(()));
    // Who waited for a port has it once it is free, and who gets one that was another's has it at once.
    let is_of = |port: u16, name: &str| {
        let ask = format!("curl -s -m 5 http://192.0.2.1:{port}/");
        eventually(&format!("{port} is that of {name}"), || {
            host.outside(&ask).out.contains(&format!("\"name\": \"{name}\"")).then_some(())
        });
    };
    host.sh(&format!("kill {holder}")).ok();
    is_of(32001, "taken");
    cluster.apply(&service("next", &local(32000))).ok();
    is_of(32000, "next");
}

#[test]
fn health_and_metrics_have_their_ports_and_names() {
    let Some(cluster) = start(&[]) else { return };
    let host = &cluster.host;
    cluster.apply(&service("web", PORTS)).ok();
    for path in ["healthz", "livez"] {
        let said = host.outside(&format!("curl -sf -m 5 http://192.0.2.1:10256/{path}")).ok();
        assert!(said.starts_with("{\"lastUpdated\": ") && said.contains("\"currentTime\": "), "{said}");
        assert_eq!(said.contains("\"nodeEligible\": true"), path == "healthz", "{said}");
    }
    assert_eq!(host.sh("curl -sf -m 5 http://127.0.0.1:10249/proxyMode").ok(), "nftables");
    assert_eq!(host.outside("curl -s -m 5 http://192.0.2.1:10249/metrics").code, 7);
    let number = |name: &str| {
        let metrics = host.sh("curl -sf -m 5 http://127.0.0.1:10249/metrics").ok();
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("kubeproxy_{name} ")).map(str::to_owned));
        line.and_then(|number| number.parse::<f64>().ok())
    };
    eventually("changes of services and endpoints are counted", || {
        let [services, endpoints] = ["service", "endpoint"]
            .map(|of| number(&format!("sync_proxy_rules_{of}_changes_total")).unwrap_or_default());
        (services >= 2.0 && endpoints >= 2.0).then_some(())
    });
    assert!(number("sync_proxy_rules_duration_seconds_count").is_some_and(|count| count >= 2.0));
    assert!(number("sync_proxy_rules_last_timestamp_seconds").is_some_and(|at| at > 1.0));
    assert_eq!(number("sync_proxy_rules_nftables_sync_failures_total"), Some(0.0));
    // The autoscaler is about to remove the node: load balancers leave it, and it goes on.
    let node = field(&cluster, "nodes", ".items[0].metadata.name");
    cluster.kubectl(&format!("taint nodes {node} ToBeDeletedByClusterAutoscaler=1:PreferNoSchedule")).ok();
    let code = |path: &str| {
        host.outside(&format!("curl -s -m 5 -o /dev/null -w '%{{http_code}}' http://192.0.2.1:10256/{path}")).out
    };
    eventually("it is not eligible", || (code("healthz") == "503").then_some(()));
    assert_eq!(code("livez"), "200");
}

#[test]
fn ports_of_the_host_are_not_taken_from_each_other() {
    let Some(cluster) = start(&[]) else { return };
    let host = &cluster.host;
    host.serve("holder", "-p 30080:80");
    cluster
        .apply(&service(
            "web",
            &format!("  type: NodePort\n{}", PORTS.replace("port: 80,", "port: 80, nodePort: 30080,")),
        ))
        .ok();
    told(&cluster, "web", "192.0.2.1:30080/tcp is already that of container holder");
    host.reaches(From::Outside, "192.0.2.1:30080");
    answers(&cluster, "web:80");
    host.docker("rm -f holder").ok();
    for target in ["192.0.2.1:30080", "127.0.0.1:30080", "[::1]:30080"] {
        reaches(&cluster, From::Host, target);
    }
    host.docker("run -d --name thief -p 30080:80 busybox sleep 1000")
        .fails_with("port is already allocated by service default/web");
    host.docker("rm -f thief").ok();
    cluster.kubectl("delete service web").ok();
    eventually("the port is free", || (host.docker("run --rm -p 30080:80 busybox true").code == 0).then_some(()));
    host.serve("holder", "-p 30080:80");
    host.reaches(From::Outside, "192.0.2.1:30080");
}

#[test]
fn neighbours_reach_services_and_not_what_the_host_serves_for_pods() {
    let Some(cluster) = start(&[]) else { return };
    let host = &cluster.host;
    cluster.apply(&service("web", PORTS)).ok();
    let address = field(&cluster, "service web", ".spec.clusterIP");
    host.outside("ip route add 10.96.0.0/16 via 192.0.2.1").ok();
    reaches(&cluster, From::Outside, &format!("{address}:80"));
    assert_eq!(host.outside("curl -sk -m 5 https://10.96.0.1/version").code, 7);
    let lookup = "echo | socat -t 2 - UDP:10.96.0.10:53";
    assert!(host.outside(lookup).err.contains("Connection refused"));
    // Pods, other containers and the host itself do.
    client(&cluster, "socat -u OPEN:/dev/null TCP:10.96.0.1:443,connect-timeout=5").ok();
    assert_eq!(host.sh("curl -sk -m 5 https://10.96.0.1/version -o /dev/null").code, 0);
    assert!(
        host.docker("run --rm busybox nslookup kubernetes.default.svc.cluster.local 10.96.0.10")
            .ok()
            .contains("10.96.0.1")
    );
}

#[test]
fn the_network_of_pods_goes_when_kubernetes_is_off() {
    let Some(Cluster { host }) = start(&[]) else { return };
    host.docker("network rm kube-pods").fails_with("cannot be removed while Kubernetes is on");
    host.kill_daemon();
    let host = host.with_arguments(&["--no-kube"]);
    host.start_daemon();
    // Pods are ordinary containers now.
    host.docker("network rm kube-pods").fails_with("has active endpoints");
    host.docker("rm -f $(docker ps -aq)").ok();
    host.docker("network rm kube-pods").ok();
    assert_eq!(host.sh("ip link show kube-pods").code, 1);
}

#[test]
fn sctp_where_the_kernel_has_it() {
    let probe = ["-n", "timeout", "1", "socat", "-u", "SCTP-LISTEN:9", "/dev/null"];
    let probe = std::process::Command::new("unshare").args(probe).output();
    if probe.is_ok_and(|said| String::from_utf8_lossy(&said.stderr).contains("not supported")) {
        eprintln!("SKIPPED: this kernel has no sockets for SCTP");
        return;
    }
    let Some(cluster) = start(&[]) else { return };
    let listen = "socat SCTP-LISTEN:8082,fork SYSTEM:hostname";
    cluster.kubectl(&format!("run sctp --image=busybox:1 --labels=app=sctp --command -- {listen}")).ok();
    cluster.kubectl("expose pod sctp --port 90 --target-port 8082 --protocol SCTP").ok();
    eventually("it answers by SCTP", || {
        (client(&cluster, "socat -t 2 - SCTP:sctp:90").out.trim() == "sctp").then_some(())
    });
}

#[test]
fn both_families_where_they_are_asked_for() {
    let pods = ["--cluster-cidr", "10.244.0.0/16,fd00:10:244::/56"];
    let services = ["--service-cluster-ip-range", "10.96.0.0/16,fd00:10:96::/112"];
    let Some(cluster) = start(&[pods, services].concat()) else { return };
    let ports = "  ports: [{ port: 80, targetPort: http, nodePort: 30080 }]";
    cluster.apply(&service("web", &format!("  type: NodePort\n  ipFamilyPolicy: RequireDualStack\n{ports}"))).ok();
    cluster.apply(&service("six", "  ipFamilies: [IPv6]\n  ports: [{ port: 80, targetPort: http }]")).ok();
    let addresses = field(&cluster, "service web", ".spec.clusterIPs[*]");
    let (four, six) = addresses.split_once(' ').expect("two addresses");
    assert!(four.starts_with("10.96.") && six.starts_with("fd00:10:96::"), "{addresses}");
    let of_pod = field(&cluster, "pod client", ".status.podIPs[*].ip");
    assert!(of_pod.starts_with("10.244.0.") && of_pod.contains(" fd00:10:244::"), "{of_pod}");
    for target in [format!("{four}:80"), format!("[{six}]:80"), "six:80".to_owned()] {
        answers(&cluster, &target);
        if target != "six:80" {
            reaches(&cluster, From::Host, &target);
        }
    }
    for target in ["192.0.2.1:30080", "[2001:db8::1]:30080"] {
        reaches(&cluster, From::Outside, target);
    }
    reaches(&cluster, From::Host, "[::1]:30080");
    eventually("names have both", || {
        client(&cluster, "nslookup -type=aaaa web.default.svc.cluster.local").out.contains(six).then_some(())
    });
    // Pods reach the outside by both, as this host.
    for (listen, to, own) in [
        ("TCP4-LISTEN:7004", "192.0.2.2:7004", "192.0.2.1"),
        ("TCP6-LISTEN:7006", "[2001:db8::2]:7006", "[2001:0db8:0000:0000:0000:0000:0000:0001]"),
    ] {
        let server = format!("socat {listen},fork,reuseaddr SYSTEM:'echo $SOCAT_PEERADDR' >/dev/null 2>&1 &");
        cluster.host.outside(&server).ok();
        eventually(&format!("{to} sees {own}"), || {
            (client(&cluster, &format!("get {to}")).out.trim() == own).then_some(())
        });
    }
}

#[test]
fn one_family_is_what_there_is_by_default() {
    let Some(cluster) = Cluster::start() else { return };
    let spec = "  ipFamilyPolicy: RequireDualStack\n  ports: [{ port: 80 }]";
    cluster.apply(&service("web", spec)).fails_with("this cluster is not configured for dual-stack services");
}
