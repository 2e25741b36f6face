//! The gateway on labelled nodes, at node ports, behind a load balancer on another host.

use conformance::{Cluster, eventually};

use super::{SHOW, manifest};

#[test]
fn a_load_balancer_outside_leads_to_labelled_nodes() {
    let Some(cluster) = Cluster::start_with(&["--ingress-ports", "none"]) else { return };
    let text = std::fs::read_to_string(manifest("gateway-nodes.yaml")).expect("the manifest");
    let told = text.replace("\"--drain-grace=30\"]", "\"--drain-grace=30\", \"--proxy-protocol-from=192.0.2.2/32\"]");
    assert_ne!(text, told);
    cluster.apply(&told).ok();
    cluster.apply(&SHOW.replace("NAME_OF_IT", "shop")).ok();
    cluster.kubectl("create ingress shop --rule='shop.local/*=shop:80'").ok();
    cluster.kubectl("rollout status deployment/shop --timeout=60s").ok();
    // No node is labelled: none has a gateway.
    let desired = "-n linkspan-system get daemonset gateway -o 'jsonpath={.status.desiredNumberScheduled}'";
    eventually("the daemon set is looked at", || (cluster.kubectl(desired).ok() == "0").then_some(()));
    assert_eq!(cluster.kubectl("-n linkspan-system get pods -o name").ok(), "");
    let ready = "curl -s -m 5 -o /dev/null -w '%{http_code}' http://192.0.2.1:30254/readyz";
    assert_eq!(cluster.host.outside(ready).code, 7, "refused");
    cluster.kubectl("label nodes --all linkspan.dev/gateway=true").ok();
    cluster.kubectl("-n linkspan-system rollout status daemonset/gateway --timeout=60s").ok();
    eventually("the gateway is ready", || (cluster.host.outside(ready).out == "200").then_some(()));
    // A client of the balancer is at a third address; curl speaks as it does, with its own.
    let direct = "curl -sS -m 10 --haproxy-protocol -H 'Host: shop.local' http://192.0.2.1:30080/";
    let said = eventually("the shop answers", || {
        let said = cluster.host.outside(direct).out;
        said.starts_with("shop GET /").then_some(said)
    });
    assert!(said.contains("\nx-real-ip: 192.0.2.2\n") && said.contains("\nx-forwarded-port: 30080\n"), "{said}");
    let without = "curl -sS -m 10 -H 'Host: shop.local' http://192.0.2.1:30080/";
    assert_ne!(cluster.host.outside(without).code, 0, "who must tell who asked, and does not, is not heard");
    if std::process::Command::new("haproxy").arg("-v").output().is_err() {
        eprintln!("SKIPPED: there is no haproxy");
        return;
    }
    let configuration = cluster.host.path().join("haproxy.cfg");
    std::fs::write(&configuration, HAPROXY).expect("written");
    // The client is a third host, and the balancer leads only to nodes whose gateway is ready.
    cluster.host.sh("ip netns add client && ip link add client type veth peer name eth0 netns client && ip link set client netns outside")
        .ok();
    cluster
        .host
        .sh("ip -n outside addr add 198.51.100.1/24 dev client && ip -n outside link set client up && \
             ip -n client addr add 198.51.100.7/24 dev eth0 && ip -n client link set eth0 up")
        .ok();
    cluster.host.outside(&format!("haproxy -D -f {}", configuration.display())).ok();
    let ask = |words: &str| {
        let ask = format!(
            "ip netns exec client curl -sS -m 10 --resolve shop.local:80:198.51.100.1 --resolve shop.local:443:198.51.100.1 {words}"
        );
        cluster.host.sh(&ask)
    };
    let said = eventually("the balancer has found the node", || {
        let said = ask("http://shop.local/").out;
        said.starts_with("shop GET /").then_some(said)
    });
    assert!(
        said.contains("\nx-real-ip: 198.51.100.7\n") && said.contains("\nx-forwarded-for: 198.51.100.7\n"),
        "{said}"
    );
    let said = ask("-k --http2 https://shop.local/").out;
    assert!(said.contains("\nx-real-ip: 198.51.100.7\n") && said.contains("\nx-forwarded-proto: https\n"), "{said}");
    cluster.kubectl("label nodes --all linkspan.dev/gateway-").ok();
    eventually("the gateway leaves the node", || {
        cluster.kubectl("-n linkspan-system get pods -o name").ok().is_empty().then_some(())
    });
    assert_eq!(cluster.host.outside(ready).code, 7, "refused");
}

/// As an operator would write it, for the addresses of this test.
const HAPROXY: &str = "
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend http
  bind 198.51.100.1:80
  default_backend http
frontend https
  bind 198.51.100.1:443
  default_backend https
backend http
  option httpchk GET /readyz
  server node 192.0.2.1:30080 check port 30254 inter 500 send-proxy-v2
backend https
  option httpchk GET /readyz
  server node 192.0.2.1:30443 check port 30254 inter 500 send-proxy-v2
";
