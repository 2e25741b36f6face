//! Services of type LoadBalancer with the real kubectl: addresses of the node, addresses of a pool, and who may ask there.

use conformance::{Cluster, From, eventually};

const WEB: &str = "
apiVersion: v1
kind: Pod
metadata: { name: web, labels: { app: web } }
spec:
  terminationGracePeriodSeconds: 1
  containers: [{ name: web, image: busybox:1, command: [httpd, -f, -p, '80', -h, /var/www] }]";

fn start(arguments: &[&str]) -> Option<Cluster> {
    let cluster = Cluster::start_with(arguments)?;
    cluster.apply(WEB).ok();
    cluster.kubectl("wait --for=condition=Ready pod/web --timeout=60s").ok();
    Some(cluster)
}

/// Makes a service of the pod.
fn balance(cluster: &Cluster, name: &str, port: u16, spec: &str) {
    let ports = format!("ports: [{{ port: {port}, targetPort: 80 }}]");
    cluster
        .apply(&format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec: {{ type: LoadBalancer, selector: {{ app: web }}, {ports}{spec} }}"
        ))
        .ok();
}

fn field(cluster: &Cluster, name: &str, path: &str) -> String {
    cluster.kubectl(&format!("get service {name} -o 'jsonpath={{{path}}}'")).ok()
}

const ADDRESS: &str = ".status.loadBalancer.ingress[*].ip";

#[track_caller]
fn has(cluster: &Cluster, name: &str, address: &str) {
    eventually(&format!("{name} has {address:?}"), || (field(cluster, name, ADDRESS) == address).then_some(()));
}

#[track_caller]
fn waits(cluster: &Cluster, name: &str, why: &str) {
    eventually(&format!("{name} waits: {why}"), || {
        let events = cluster.kubectl(&format!("get events --field-selector involvedObject.name={name}")).out;
        events.contains(why).then_some(())
    });
    assert_eq!(field(cluster, name, ADDRESS), "");
}

#[test]
fn the_nodes_own_address_is_shared_by_ports() {
    let Some(cluster) = start(&[]) else { return };
    let host = &cluster.host;
    balance(&cluster, "one", 8001, ", allocateLoadBalancerNodePorts: false");
    has(&cluster, "one", "192.0.2.1");
    assert_eq!(field(&cluster, "one", ".status.loadBalancer.ingress[0].ipMode"), "VIP");
    assert_eq!(field(&cluster, "one", ".spec.ports[0].nodePort"), "");
    balance(&cluster, "two", 8002, "");
    has(&cluster, "two", "192.0.2.1");
    balance(&cluster, "clash", 8001, "");
    waits(&cluster, "clash", "port 8001/TCP of 192.0.2.1 is already allocated by service default/one");
    for port in [8001, 8002] {
        host.reaches(From::Outside, &format!("192.0.2.1:{port}"));
        host.reaches(From::Host, &format!("192.0.2.1:{port}"));
    }
    cluster.kubectl("delete service one").ok();
    has(&cluster, "clash", "192.0.2.1");
    host.reaches(From::Outside, "192.0.2.1:8001");
    // Only some may ask; the node's port is not guarded.
    cluster.kubectl("patch service two -p '{\"spec\":{\"loadBalancerSourceRanges\":[\"198.51.100.0/24\"]}}'").ok();
    eventually("the neighbour may not ask", || host.tcp(From::Outside, "192.0.2.1:8002").is_none().then_some(()));
    let node_port = field(&cluster, "two", ".spec.ports[0].nodePort");
    host.reaches(From::Outside, &format!("192.0.2.1:{node_port}"));
    cluster.kubectl("patch service two -p '{\"spec\":{\"loadBalancerSourceRanges\":[\"192.0.2.2/32\"]}}'").ok();
    host.reaches(From::Outside, "192.0.2.1:8002");
    // A container's port is the container's.
    host.docker("run -d -p 8002:80 busybox sleep 1000").fails_with("port is already allocated by service default/two");
}

#[test]
fn addresses_of_a_pool_are_given_and_given_back() {
    let Some(cluster) = start(&["--load-balancer-pool", "192.0.2.200-192.0.2.201"]) else { return };
    let host = &cluster.host;
    balance(&cluster, "one", 80, "");
    has(&cluster, "one", "192.0.2.200");
    balance(&cluster, "two", 80, ", loadBalancerIP: 192.0.2.201");
    has(&cluster, "two", "192.0.2.201");
    for address in ["192.0.2.200:80", "192.0.2.201:80"] {
        host.reaches(From::Outside, address);
        host.reaches(From::Host, address);
    }
    balance(&cluster, "three", 80, "");
    waits(&cluster, "three", "no IPv4 address of the pool is free");
    balance(&cluster, "far", 80, ", loadBalancerIP: 198.51.100.1");
    waits(&cluster, "far", "address 198.51.100.1 is not in the pool");
    // A container's published port is beside them.
    host.serve("container", "-p 80:80");
    host.reaches(From::Outside, "192.0.2.1:80");
    cluster.kubectl("delete service one").ok();
    has(&cluster, "three", "192.0.2.200");
    host.reaches(From::Outside, "192.0.2.200:80");
    // They outlive the daemon, and go with the service.
    host.kill_daemon();
    host.start_daemon();
    host.reaches(From::Outside, "192.0.2.201:80");
    eventually("the API answers", || (cluster.kubectl("get services").code == 0).then_some(()));
    has(&cluster, "two", "192.0.2.201");
    cluster.kubectl("delete service two three far").ok();
    eventually("the host has them no more", || (!host.sh("ip addr show").ok().contains("192.0.2.20")).then_some(()));
}
