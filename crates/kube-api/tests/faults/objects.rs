//! Objects that are too large, too deep, too many-sided, or that contradict themselves: each is taken or refused in Kubernetes' words, and
//! what it does it does to itself.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::front::{Front, eventually};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const PODS: &str = "/api/v1/namespaces/default/pods";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

/// Sends a body and checks what is answered.
async fn check(front: &Front, (method, path): (&str, &str), body: impl ToString, status: u16, words: &str) {
    let body = body.to_string();
    let short: String = body.chars().take(100).collect();
    let (found, said) = front.ask(method, path, body).await;
    assert!(found == status && said.to_string().contains(words), "{method} {path} {short}\n{found} {said:.700}");
    front.serves_others().await;
}

fn map(name: &str, field: &str, value: Value) -> Value {
    let mut object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
    match field.split_once('.') {
        Some((outer, inner)) => object[outer][inner] = value,
        None => object[field] = value,
    }
    object
}

fn texts(count: usize, length: usize) -> Value {
    (0..count).map(|n| (format!("k{n}"), Value::from("v".repeat(length)))).collect::<serde_json::Map<_, _>>().into()
}

/// `{"a":{"a":...}}`, so deep.
fn nested(depth: usize) -> String {
    format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes() {
    let front = Front::start().await;
    let make = ("POST", MAPS);
    check(&front, make, map("full", "data.a", "x".repeat((1 << 20) - 1).into()), 201, "").await;
    check(
        &front,
        make,
        map("a", "data.ab", "x".repeat((1 << 20) + 1).into()),
        422,
        "may not be more than 1048576 bytes",
    )
    .await;
    check(
        &front,
        make,
        map("a", "metadata.annotations", texts(1, 256 << 10)),
        422,
        "metadata.annotations: Too long: may not be more than 262144 bytes",
    )
    .await;
    check(&front, make, map("labels", "metadata.labels", texts(50_000, 10)), 201, "").await;
    check(&front, make, map("a", "metadata.labels", texts(1, 64)), 422, "must be no more than 63").await;
    // A million do not fit into a request.
    check(
        &front,
        make,
        map("a", "metadata.labels", texts(1_000_000, 1)),
        413,
        "Request entity too large: limit is 3145728",
    )
    .await;
    check(&front, ("GET", &format!("{MAPS}?labelSelector=k1,k2,k49999")), "", 200, "\"labels\"").await;
    let finalizers: Vec<String> = (0..2000).map(|n| format!("example.com/f{n}")).collect();
    check(&front, make, map("finalizers", "metadata.finalizers", json!(finalizers)), 201, "").await;
    // A change that would make it larger than any request.
    let much = |part: u8| map("full", "binaryData", json!({ (format!("k{part}")): "A".repeat(900_000) }));
    check(&front, ("PATCH", &format!("{MAPS}/full")), much(0), 422, "may not be more than 1048576 bytes").await;

    let ports: Vec<Value> =
        (1..=10_000).map(|n| json!({ "name": format!("p{n}"), "port": n, "targetPort": n })).collect();
    let service = |name: &str, ports: Value| json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "spec": { "selector": { "a": "b" }, "ports": ports } });
    check(&front, ("POST", SERVICES), service("many", ports.into()), 201, "").await;
    check(
        &front,
        ("POST", SERVICES),
        service("a", json!([{ "port": 70_000 }])),
        422,
        "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
    )
    .await;
    check(&front, ("DELETE", &format!("{SERVICES}/many")), "", 200, "").await;

    let slice = |count: usize| {
        let endpoints: Vec<Value> = (0..count)
            .map(|n| json!({ "addresses": [format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255)] }))
            .collect();
        json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": { "name": format!("s{count}") }, "addressType": "IPv4", "endpoints": endpoints })
    };
    check(&front, ("POST", SLICES), slice(1000), 201, "").await;
    check(&front, ("POST", SLICES), slice(1001), 422, "endpoints: Too many: 1001: must have at most 1000 items").await;
    check(&front, ("POST", SLICES), slice(120_000), 413, "Request entity too large").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn depths_and_forms() {
    let front = Front::start().await;
    let make = ("POST", MAPS);
    check(&front, make, nested(10_000), 422, "nested too deep").await;
    check(&front, make, nested(1_000_000 / 6), 422, "nested too deep").await;
    check(&front, make, format!("{{\"metadata\":{{\"name\":\"deep\"}},\"x\":{}}}", nested(100)), 201, "").await;
    for (body, status) in [
        ("", 400),
        ("null", 400),
        ("[]", 400),
        ("7", 400),
        ("{", 400),
        ("\u{0}", 400),
        ("{}", 422),
        ("{\"metadata\":[]}", 422),
    ] {
        check(&front, make, body, status, "\"Failure\"").await;
    }
    let path = format!("{MAPS}/deep");
    check(&front, ("PATCH", &path), nested(10_000), 422, "nested too deep").await;
    check(&front, ("PATCH", &path), "{\"data\":{\"a\":7}}", 400, "\"Failure\"").await;
    check(&front, ("PUT", &path), "{\"metadata\":{\"name\":\"other\"}}", 400, "does not match the name on the URL")
        .await;
    for query in [
        "limit=x",
        "limit=99999999999999999999",
        "resourceVersion=x",
        "resourceVersion=99999999999999999999",
        "continue=x",
        "continue=e30",
        "labelSelector=a%20b",
        "labelSelector=((",
        "fieldSelector=x",
        "fieldSelector=spec.none=1",
    ] {
        check(&front, ("GET", &format!("{MAPS}?{query}")), "", 400, "BadRequest").await;
    }
    for query in [
        "limit=-1",
        "limit=0",
        "timeoutSeconds=-1",
        "labelSelector=",
        "watch=no",
        "%ff=%00",
        "a&&&=&=",
        "labelSelector=k%20in%20()",
    ] {
        check(&front, ("GET", &format!("{MAPS}?{query}")), "", 200, "items").await;
    }
    for path in [
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "/api/v1/%2e%2e/secrets",
        "/api/v1/namespaces/default/unheard",
        "/api/v9/pods",
        "//",
        "/api/v1/namespaces//pods",
    ] {
        check(
            &front,
            ("POST", path),
            "{\"kind\":\"MutatingWebhookConfiguration\"}",
            if matches!(path, "//" | "/api/v1/namespaces//pods") { 405 } else { 404 },
            "\"Failure\"",
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alphabets() {
    let front = Front::start().await;
    for (number, name) in [
        "名前",
        "Ärger",
        "имя",
        "שלום",
        "a\u{301}",
        "🦀",
        "a b",
        "a\u{0}b",
        "A",
        "-a",
        "a..b",
        "../a",
        "a/b",
        "%2e",
        &"a".repeat(254),
    ]
    .into_iter()
    .enumerate()
    {
        check(&front, ("POST", MAPS), map(name, "metadata.name", name.into()), 422, "metadata.name: Invalid value")
            .await;
        check(
            &front,
            ("POST", MAPS),
            map(&format!("labelled-{number}"), "metadata.labels", json!({ "a": name })),
            if matches!(name, "A" | "a..b") { 201 } else { 422 },
            "",
        )
        .await;
    }
    // What is said in an object may be in any alphabet, and comes back as it was.
    let said = "名前 Ärger имя שלום 🦀 \u{0}\u{7}\u{1b}[31m\u{202e}\"\\\r\n</script>";
    check(&front, ("POST", MAPS), map("words", "data", json!({ "a": said })), 201, "").await;
    assert_eq!(front.must("GET", &format!("{MAPS}/words"), &Value::Null).await["data"]["a"], said);
    check(
        &front,
        ("POST", MAPS),
        map("key", "data", json!({ "名": "a" })),
        422,
        "a valid config key must consist of alphanumeric characters",
    )
    .await;
    let (status, _) = front.ask("GET", &format!("{MAPS}/%E5%90%8D"), "").await;
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contradictions() {
    let front = Front::start().await;
    let uid =
        async |name: &str| front.must("GET", &format!("{MAPS}/{name}"), &Value::Null).await["metadata"]["uid"].clone();
    let owner = |name: &str, uid: Value| json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": true });
    // Two that own each other, and one that owns itself.
    for name in ["a", "b", "self"] {
        front.must("POST", MAPS, &map(name, "data", json!({}))).await;
    }
    for (name, by) in [("a", "b"), ("b", "a"), ("self", "self")] {
        let owners = json!({ "metadata": { "ownerReferences": [owner(by, uid(by).await)] } });
        front.must("PATCH", &format!("{MAPS}/{name}"), &owners).await;
    }
    let mut two = [owner("a", uid("a").await), owner("b", uid("b").await)];
    two.iter_mut().for_each(|owner| owner["controller"] = true.into());
    check(
        &front,
        ("POST", MAPS),
        map("two", "metadata.ownerReferences", json!(two)),
        422,
        "Only one reference can have Controller set to true",
    )
    .await;
    check(&front, ("POST", MAPS), map("empty", "metadata.ownerReferences", json!([{}])), 422, "uid must not be empty")
        .await;
    for name in ["a", "self"] {
        let (status, said) = front.ask("DELETE", &format!("{MAPS}/{name}?propagationPolicy=Foreground"), "").await;
        assert_eq!(status, 200, "{said:.300}");
    }
    eventually("circles of owners are gone", async || {
        ["a", "b", "self"]
            .iter()
            .all(|name| front.objects.cached().get(&format!("/core/configmaps/default/{name}")).is_none())
    })
    .await;
    // A finalizer that nobody removes keeps its object, and nothing else.
    front.must("POST", MAPS, &map("kept", "metadata.finalizers", json!(["example.com/nobody"]))).await;
    check(&front, ("DELETE", &format!("{MAPS}/kept")), "", 200, "deletionTimestamp").await;
    check(&front, ("DELETE", &format!("{MAPS}/kept")), "", 200, "deletionTimestamp").await;
    check(
        &front,
        ("PATCH", &format!("{MAPS}/kept")),
        json!({ "metadata": { "finalizers": ["example.com/nobody", "example.com/more"] } }),
        422,
        "no new finalizers can be added",
    )
    .await;
    check(&front, ("PATCH", &format!("{MAPS}/kept")), json!({ "metadata": { "finalizers": null } }), 200, "").await;
    check(&front, ("GET", &format!("{MAPS}/kept")), "", 404, "NotFound").await;
    // A pod whose environment refers to itself is taken: what becomes of it is the node's business.
    let variables: Vec<Value> =
        (0..50).map(|n| json!({ "name": format!("V{n}"), "value": format!("$(V{}) $(V{})", n + 1, n - 1) })).collect();
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "circles" }, "spec": { "containers": [{ "name": "a", "image": "b", "env": variables }] } });
    check(&front, ("POST", PODS), pod, 201, "").await;
    // Many patches at once, each of which is right by itself.
    let mut operations = String::from("[");
    for number in 0..10_001 {
        let _ = write!(
            operations,
            "{}{{\"op\":\"test\",\"path\":\"/kind\",\"value\":\"Pod\"}}",
            if number > 0 { "," } else { "" }
        );
    }
    let mut sender = front.sender(front.admin(crate::front::Version::Http1)).await;
    let mut request = crate::front::request("PATCH", &format!("{PODS}/circles"), operations + "]");
    request.headers_mut().insert("content-type", "application/json-patch+json".parse().unwrap());
    let (status, said) = crate::front::answer(&mut sender, request).await;
    assert_eq!(
        (status, said["message"].as_str()),
        (413, Some("The allowed maximum operations in a JSON patch is 10000, got 10001"))
    );
}
