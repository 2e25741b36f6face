//! A pod's place on the network with the real kubectl: its names, its name servers, and the ports of its host.

use conformance::{Cluster, eventually_fits};

#[test]
fn names_name_servers_and_host_ports() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply_file("network.yaml");
    for pod in ["named", "full", "own-dns", "more-dns", "hosts-dns", "on-host"] {
        cluster.until_ready(pod);
    }
    names(&cluster);
    name_servers(&cluster);
    ports(&cluster);
}

fn run(cluster: &Cluster, pod: &str, command: &str) -> String {
    cluster.kubectl(&format!("exec {pod} -- {command}")).out.trim().to_owned()
}

fn names(cluster: &Cluster) {
    assert_eq!(run(cluster, "named", "hostname"), "till");
    assert_eq!(run(cluster, "full", "hostname"), "counter.shops.default.svc.cluster.local");
    assert_eq!(run(cluster, "full", "sh -c 'echo $HOSTNAME'"), "counter.shops.default.svc.cluster.local");
    let hosts = run(cluster, "named", "cat /etc/hosts");
    let address = cluster.field("named", ".status.podIP");
    for line in [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "# Entries added by HostAliases.",
        "192.0.2.7\tseven\tsiete",
    ] {
        assert!(hosts.lines().any(|found| found == line), "{line}\n{hosts}");
    }
    assert!(hosts.contains(&format!("{address}\ttill.shops.default.svc.cluster.local\ttill")), "{hosts}");
    // Others find it by its own name below that of its service.
    let found = || run(cluster, "full", "nslookup -type=a till.shops.default.svc.cluster.local");
    eventually_fits("it is found by name", found, |found| found.contains(&address));

    let node = cluster.host.sh("hostname").ok();
    assert_eq!(run(cluster, "on-host", "hostname"), node);
    let hosts = run(cluster, "on-host", "cat /etc/hosts");
    assert!(hosts.starts_with("# Kubernetes-managed hosts file (host network)."), "{hosts}");
    assert!(hosts.contains("192.0.2.7\tseven"), "{hosts}");
    assert!(hosts.contains(cluster.host.sh("grep -m1 localhost /etc/hosts").ok().as_str()), "{hosts}");
}

fn name_servers(cluster: &Cluster) {
    let read = |pod: &str| run(cluster, pod, "cat /etc/resolv.conf");
    assert_eq!(read("own-dns"), "search example.com\nnameserver 192.0.2.9\noptions ndots:2 edns0");
    let more = read("more-dns");
    let search = "search default.svc.cluster.local svc.cluster.local cluster.local";
    assert!(more.starts_with(search) && more.contains(" example.com\n"), "{more}");
    assert!(more.contains("nameserver 10.96.0.10\noptions ndots:2"), "{more}");
    let of_host = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with("nameserver")).map(str::to_owned).collect()
    };
    assert_eq!(of_host(&read("hosts-dns")), of_host(&cluster.host.sh("cat /etc/resolv.conf").out));
    assert!(read("on-host").contains("nameserver 10.96.0.10\noptions ndots:5"), "{}", read("on-host"));
}

fn ports(cluster: &Cluster) {
    assert_eq!(cluster.host.outside("curl -s 192.0.2.1:8081").ok(), "hello");
    assert_eq!(
        cluster.host.sh("curl -s 192.0.2.1:8081; curl -s 127.0.0.1:8081; curl -s 127.0.0.1:8082").ok(),
        "hello\nhello\nhello"
    );
    assert_ne!(cluster.host.outside("curl -s -m 5 192.0.2.1:8082").code, 0);
    assert_eq!(cluster.host.outside("curl -s 192.0.2.1:8090").ok(), "hello");
    assert_eq!(cluster.field("on-host", ".spec.containers[0].ports[0].hostPort"), "8090");
    cluster.until_shown("same-port", "Pending");
    cluster.until_told("same-port", "didn't have free ports for the requested pod ports");
    // By hand it is not to be had either.
    let node = cluster.field("named", ".spec.nodeName");
    let container = "{ name: main, image: \"busybox:1\", ports: [{ containerPort: 1, hostPort: 8081 }] }";
    let spec = format!("{{ nodeName: {node}, containers: [{container}] }}");
    cluster.apply(&format!("{{ apiVersion: v1, kind: Pod, metadata: {{ name: bound }}, spec: {spec} }}")).ok();
    cluster.until_shown("bound", "NodePorts");
    // When its holder goes, it is.
    cluster.kubectl("delete pod named --now").ok();
    cluster.until_ready("same-port");
}
