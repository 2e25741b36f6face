//! Certificates from Secrets, by the name that is asked for, and TLS to the endpoints.

use conformance::eventually;

use super::Front;

impl Front {
    /// A certificate for names, in a Secret; what trusts it is in a file, whose path is returned.
    fn certificate(&self, secret: &str, names: &[&str]) -> String {
        let here = self.cluster.host.path().join(secret);
        let alternatives: Vec<_> = names.iter().map(|name| format!("DNS:{name}")).collect();
        let make = format!(
            "mkdir -p {0} && cd {0} && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
             -subj /CN={secret} -addext subjectAltName={1} -keyout key -out crt 2>&1",
            here.display(),
            alternatives.join(",")
        );
        self.cluster.host.sh(&make).ok();
        let create = format!("create secret tls {secret} --cert={0}/crt --key={0}/key", here.display());
        self.cluster.kubectl(&format!("{create} --dry-run=client -o yaml > {}/secret", here.display())).ok();
        self.cluster.kubectl(&format!("apply -f {}/secret", here.display())).ok();
        format!("{}/crt", here.display())
    }
}

#[test]
fn tls_on_both_sides() {
    let Some(front) = Front::start() else { return };
    certificates(&front);
    endpoints(&front);
}

/// They come from Secrets, and change without a reload.
fn certificates(front: &Front) {
    front.show("a");
    let shop = front.certificate("shop", &["shop.local"]);
    let wild = front.certificate("wild", &["*.shop.local"]);
    front
        .cluster
        .kubectl("create ingress tls --rule='shop.local/*=a:80,tls=shop' --rule='*.shop.local/*=a:80,tls=wild'")
        .ok();
    let said = front.says(&format!("--cacert {shop} https://shop.local/"), "a GET /");
    assert!(said.contains("\nx-forwarded-proto: https\n") && said.contains("\nx-forwarded-port: 443\n"), "{said}");
    front.says(&format!("--cacert {wild} https://one.shop.local/"), "a GET /");
    // 60: the certificate is not trusted.
    for (trusts, host) in [(&shop, "one.shop.local"), (&wild, "shop.local"), (&wild, "one.two.shop.local")] {
        assert_eq!(front.curl(&format!("--cacert {trusts} https://{host}/")).code, 60, "{host}");
    }
    for (version, options) in [("2", "--http2"), ("1.1", "--http1.1"), ("2", "--http2 --tlsv1.2 --tls-max 1.2")] {
        let seen =
            front.curl(&format!("{options} -o /dev/null -w '%{{http_version}}' --cacert {shop} https://shop.local/"));
        assert_eq!(seen.ok(), version, "{options}");
    }
    // A connection that is there goes on while the certificate changes, and new ones see the new.
    let (client, go) = (front.cluster.host.path().join("client.py"), front.cluster.host.path().join("go"));
    std::fs::write(&client, KEPT).expect("written");
    let kept = format!("python3 {} {} {shop} {}", client.display(), front.address, go.display());
    let kept = front.cluster.host.begin(&kept);
    kept.says("connected");
    let old = std::fs::read(&shop).expect("a certificate");
    let new = front.certificate("shop", &["shop.local", "new.local"]);
    assert_ne!(old, std::fs::read(&new).expect("a certificate"));
    front.says(&format!("--cacert {new} https://shop.local/"), "a GET /");
    std::fs::write(&go, "").expect("written");
    let said = kept.ends().ok();
    assert!(said.contains("HTTP/1.1 200") && said.contains("a GET /kept"), "{said}");
}

/// Connects, and asks when it is told to: ADDRESS CERTIFICATE FILE.
const KEPT: &str = r#"
import os, socket, ssl, sys, time
address, certificate, go = sys.argv[1:]
context = ssl.create_default_context(cafile=certificate)
s = context.wrap_socket(socket.create_connection((address, 443)), server_hostname="shop.local")
print("connected", flush=True)
for _ in range(600):
    if os.path.exists(go):
        break
    time.sleep(0.1)
s.sendall(b"GET /kept HTTP/1.1\r\nhost: shop.local\r\nconnection: close\r\n\r\n")
print(s.makefile("rb").read().decode())
"#;

/// The API server speaks TLS, and lets a service account read its namespace: a server for the gateway, and kubectl the client.
fn endpoints(front: &Front) {
    front.cluster.apply(API).ok();
    front.says("-k https://api.local/version", "gitVersion");
    let token = front.cluster.kubectl("create token default").ok();
    let host = &front.cluster.host;
    host.sh(&format!(
        "cp /etc/hosts /run/hosts && echo {} api.local >> /run/hosts && mount --bind /run/hosts /etc/hosts",
        front.address
    ))
    .ok();
    let kubectl = |words: &str| {
        let options = "--kubeconfig=/dev/null --server=https://api.local --insecure-skip-tls-verify";
        host.outside(&format!("timeout 30 kubectl {options} --token={token} {words}"))
    };
    assert_eq!(kubectl("get configmaps -o name").ok(), "configmap/kube-root-ca.crt");
    // A watch is an answer that does not end.
    front.cluster.kubectl("run box --image=busybox:1 -- sh -c 'echo hello; exec sleep 1000'").ok();
    kubectl("wait --for=condition=Ready pod/box --timeout=20s").ok();
    eventually("its log is read", || (kubectl("logs box").out.trim() == "hello").then_some(()));
}

const API: &str = "
apiVersion: v1
kind: Service
metadata: { name: api }
spec:
  ports:
  - { port: 443, appProtocol: https }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: api-1, labels: { kubernetes.io/service-name: api } }
addressType: IPv4
ports:
- { name: '', port: 443 }
endpoints:
- addresses: [10.96.0.1]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: api }
spec:
  rules:
  - host: api.local
    http:
      paths:
      - { path: /, pathType: Prefix, backend: { service: { name: api, port: { number: 443 } } } }";
