//! Hosts, paths, defaults and classes; what is wrong harms itself only.

use super::Front;

#[test]
fn hosts_and_paths_lead_where_the_rules_say() {
    let Some(front) = Front::start() else { return };
    for name in ["a", "b", "c"] {
        front.show(name);
    }
    front
        .cluster
        .kubectl(
            "create ingress rules --rule='shop.local/*=a:80' --rule='shop.local/b=b:http' --rule='shop.local/b/*=c:80' \
             --rule='*.shop.local/*=b:80'",
        )
        .ok();
    front.says("http://shop.local/", "a GET / HTTP/1.1");
    for (url, expected) in [
        ("shop.local/x/y?z=1", "a GET /x/y?z=1 HTTP/1.1"),
        ("SHOP.local/bb", "a GET /bb HTTP/1.1"),
        ("shop.local/b", "b GET /b HTTP/1.1"),
        ("shop.local/b/", "c GET /b/ HTTP/1.1"),
        ("shop.local/b/../x", "a GET /x HTTP/1.1"),
        ("one.shop.local/", "b GET / HTTP/1.1"),
        ("one.two.shop.local/", "404 Not Found: no rule is for this host and path"),
        ("other.local/", "404 Not Found: no rule is for this host and path"),
    ] {
        let said = front.curl(&format!("--path-as-is http://{url}")).ok();
        assert!(said.starts_with(expected), "{url}: {said}");
    }
    // What the server is told of who asked; the address is the client's own, by way of the LoadBalancer.
    let said = front.curl("-H 'X-Forwarded-For: 10.9.9.9' -H 'X-Real-Ip: 10.9.9.9' http://shop.local/").ok();
    for field in [
        "host: shop.local",
        "x-forwarded-for: 10.9.9.9, 192.0.2.2",
        "x-forwarded-proto: http",
        "x-forwarded-host: shop.local",
        "x-forwarded-port: 80",
        "x-real-ip: 192.0.2.2",
    ] {
        assert!(said.lines().any(|line| line == field), "{field}: {said}");
    }
    let status = "get ingress rules -o 'jsonpath={.status.loadBalancer.ingress[0].ip} {.spec.ingressClassName}'";
    assert_eq!(front.cluster.kubectl(status).ok(), format!("{} linkspan", front.address));
    // The default backend takes what no rule is for; ImplementationSpecific is a prefix.
    front.cluster.apply(DEFAULT).ok();
    front.says("http://other.local/", "c GET / HTTP/1.1");
    assert!(front.curl("http://third.local/one/two").ok().starts_with("b GET /one/two"));
    assert!(front.curl("http://third.local/").ok().starts_with("c GET /"));
    // An Ingress of somebody else's class is not ours; it is when its class becomes ours.
    front.cluster.apply(ELSEWHERE).ok();
    front.says("http://mine.local/", "a GET / HTTP/1.1");
    assert!(front.curl("http://elsewhere.local/").ok().starts_with("c GET /"));
    front.cluster.kubectl("patch ingress elsewhere -p '{\"spec\":{\"ingressClassName\":\"linkspan\"}}'").ok();
    front.says("http://elsewhere.local/", "a GET / HTTP/1.1");
    front.cluster.kubectl("delete ingress elsewhere default").ok();
    front.says("http://elsewhere.local/", "404 Not Found");
}

const DEFAULT: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: default }
spec:
  defaultBackend: { service: { name: c, port: { name: http } } }
  rules:
  - host: third.local
    http:
      paths:
      - { path: /one, pathType: ImplementationSpecific, backend: { service: { name: b, port: { number: 80 } } } }";

const ELSEWHERE: &str = "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: { name: elsewhere }
spec: { controller: example.com/other }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: elsewhere }
spec:
  ingressClassName: elsewhere
  rules:
  - host: elsewhere.local
    http:
      paths:
      - { path: /, pathType: Prefix, backend: { service: { name: a, port: { number: 80 } } } }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: mine }
spec:
  rules:
  - host: mine.local
    http:
      paths:
      - { path: /, pathType: Prefix, backend: { service: { name: a, port: { number: 80 } } } }";

#[test]
fn what_is_wrong_with_an_ingress_is_told_and_harms_itself_only() {
    let Some(front) = Front::start() else { return };
    front.show("a");
    front.cluster.kubectl("create ingress good --rule='good.local/*=a:80'").ok();
    let not_a_certificate =
        "create secret generic broken --type=kubernetes.io/tls --from-literal=tls.crt=x --from-literal=tls.key=y";
    front.cluster.kubectl(not_a_certificate).ok();
    front.cluster.apply(BAD).ok();
    front.says("http://good.local/", "a GET / HTTP/1.1");
    for (path, expected) in [
        ("/", "a GET /"),
        ("/nobody", "503 Service Unavailable"),
        ("/port", "503 Service Unavailable"),
        ("/bucket", "a GET /bucket"),
    ] {
        front.says(&format!("http://bad.local{path}"), expected);
    }
    // The certificate is the self-made one, which nobody trusts.
    front.says("-k https://bad.local/", "a GET /");
    assert_eq!(front.curl("https://bad.local/").code, 60);
    for words in [
        "service nobody does not exist",
        "service a has no port 81",
        "host bad.local: path /bucket: only services can be backends here, not other resources",
        "secret broken: the certificate is not PEM",
        "secret missing of type kubernetes.io/tls does not exist",
    ] {
        front.tells("bad", words);
    }
    assert!(!front.events().contains("good linkspan-gateway"), "{}", front.events());
}

const BAD: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: bad }
spec:
  tls:
  - { hosts: [bad.local], secretName: broken }
  - { hosts: [worse.local], secretName: missing }
  rules:
  - host: bad.local
    http:
      paths:
      - { path: /, pathType: Prefix, backend: { service: { name: a, port: { number: 80 } } } }
      - { path: /nobody, pathType: Prefix, backend: { service: { name: nobody, port: { number: 80 } } } }
      - { path: /port, pathType: Prefix, backend: { service: { name: a, port: { number: 81 } } } }
      - { path: /bucket, pathType: Prefix, backend: { resource: { apiGroup: example.com, kind: Bucket, name: b } } }";
