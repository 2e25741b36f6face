//! HTTP/2, gRPC and WebSockets from end to end.

use conformance::{Job, WEBSOCKET, eventually};

use super::Front;

/// A server on the host itself, behind a Service without a selector and an Ingress.
fn outside_of_pods(front: &Front, name: &str, host: &str, port: u16, app_protocol: &str) {
    let rule = if host.is_empty() { String::new() } else { format!("host: {host}, ") };
    let manifest = format!(
        "
apiVersion: v1
kind: Service
metadata: {{ name: {name} }}
spec:
  ports:
  - {{ port: 80, appProtocol: {app_protocol} }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: {name}-1, labels: {{ kubernetes.io/service-name: {name} }} }}
addressType: IPv4
ports:
- {{ name: '', port: {port} }}
endpoints:
- addresses: [192.0.2.1]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{ name: {name} }}
spec:
  rules:
  - {{ {rule}http: {{ paths: [{{ path: /, pathType: Prefix, backend: {{ service: {{ name: {name}, port: {{ number: 80 }} }} }} }}] }} }}"
    );
    front.cluster.apply(&manifest).ok();
}

/// etcd is a gRPC server, and etcdctl a client that streams both ways.
fn etcd(front: &Front, port: u16, options: &str) -> Option<Job> {
    if std::process::Command::new("etcd").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no etcd");
        return None;
    }
    let scheme = if options.is_empty() { "http" } else { "https" };
    let (url, peers) = (format!("{scheme}://192.0.2.1:{port}"), format!("http://127.0.0.1:{}", port + 1));
    let data = front.cluster.host.path().join(format!("etcd-{port}"));
    let command = format!(
        "etcd --data-dir {} --listen-client-urls {url} --advertise-client-urls {url} --listen-peer-urls {peers} \
         --initial-advertise-peer-urls {peers} --initial-cluster default={peers} {options}",
        data.display()
    );
    Some(front.cluster.host.begin(&command))
}

fn watches_and_puts(front: &Front) {
    let etcdctl = format!("ETCDCTL_API=3 timeout 50 etcdctl --endpoints=http://{}:80", front.address);
    eventually("a key is put", || {
        (front.cluster.host.outside(&format!("{etcdctl} put before 1")).out.trim() == "OK").then_some(())
    });
    let said = front.cluster.host.path().join("watched");
    let watch = format!("({etcdctl} watch --prefix key > {} 2>&1 &)", said.display());
    front.cluster.host.outside(&watch).ok();
    // The watch begins at some moment; from then on every change is told.
    eventually("the watch tells of a key", || {
        front.cluster.host.outside(&format!("{etcdctl} put key value")).ok();
        std::fs::read_to_string(&said).unwrap_or_default().contains("key\nvalue").then_some(())
    });
    assert_eq!(front.cluster.host.outside(&format!("{etcdctl} get before --print-value-only")).ok(), "1");
}

#[test]
fn streams_and_tunnels_pass() {
    let Some(front) = Front::start() else { return };
    http2(&front);
    websockets(&front);
    grpc(&front);
}

fn http2(front: &Front) {
    front.show("a");
    front.cluster.kubectl("create ingress a --rule='a.local/*=a:80'").ok();
    let said = front.says("--http2-prior-knowledge -i http://a.local/seen", "a GET /seen HTTP/1.1");
    assert!(said.starts_with("HTTP/2 200"), "{said}");
    // Asked for by an upgrade it is refused: what is asked in such a tunnel would pass unseen.
    let said = front.curl("--http2 -i http://a.local/seen").ok();
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
}

/// Docker's way to attach by WebSocket is the server.
fn websockets(front: &Front) {
    let _server = front.cluster.host.begin("socat TCP-LISTEN:2375,fork,reuseaddr UNIX-CONNECT:/run/docker.sock");
    outside_of_pods(front, "docker", "docker.local", 2375, "kubernetes.io/ws");
    front.says("http://docker.local/_ping", "OK");
    front.cluster.host.docker("run -di --name echo busybox head -n 1").ok();
    let client = front.cluster.host.path().join("client.py");
    std::fs::write(&client, WEBSOCKET).expect("written");
    let path = "/v1.50/containers/echo/attach/ws?logs=1&stream=1&stdin=1&stdout=1";
    let client = format!("timeout 20 python3 {} {}:80 '{path}' docker.local", client.display(), front.address);
    let said = front.cluster.host.outside(&format!("printf 'typed\\n' | {client}")).ok();
    assert_eq!(said, "typed\nopcodes 10 2 8");
}

fn grpc(front: &Front) {
    let Some(_plain) = etcd(front, 23790, "") else { return };
    outside_of_pods(front, "plain", "", 23790, "kubernetes.io/h2c");
    watches_and_puts(front);
    front.cluster.kubectl("delete ingress plain").ok();
    // The same where the endpoint has TLS; nobody made its certificate for an address.
    let here = front.cluster.host.path().display().to_string();
    let made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=etcd";
    front.cluster.host.sh(&format!("{made} -keyout {here}/etcd.key -out {here}/etcd.crt 2>&1")).ok();
    let options = format!("--cert-file {here}/etcd.crt --key-file {here}/etcd.key");
    let Some(_tls) = etcd(front, 23890, &options) else { return };
    outside_of_pods(front, "tls", "", 23890, "grpcs");
    watches_and_puts(front);
}
