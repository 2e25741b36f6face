//! Who shows something that does not hold is refused, and told so: 401. Who shows nothing is nobody, who may next to nothing: 403.

use hyper::header::AUTHORIZATION;
use jiff::Timestamp;
use kube_api::auth::{
    MASTERS,
    authority::{Authority, Pair},
};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use serde_json::{Value, json};

use crate::front::{Front, Version, answer, eventually, request, tls};

const PODS: &str = "/api/v1/namespaces/default/pods";

/// What the holder of a token is answered.
async fn with_token(front: &Front, token: &str, path: &str) -> (u16, Value) {
    let mut sender = front.sender(front.nobody(Version::Http1)).await;
    let mut request = request("GET", path, "");
    request.headers_mut().insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    answer(&mut sender, request).await
}

/// A certificate of an administrator that has ended.
fn expired(folder: &std::path::Path) -> Pair {
    let read = |name: &str| std::fs::read_to_string(folder.join("pki").join(name)).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read("ca.crt"), KeyPair::from_pem(&read("ca.key")).unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "admin");
    params.distinguished_name.push(DnType::OrganizationName, MASTERS);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let key = KeyPair::generate().unwrap();
    Pair { certificate_pem: params.signed_by(&key, &issuer).unwrap().pem(), key_pem: key.serialize_pem() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates() {
    let front = Front::start().await;
    let folder = tempfile::tempdir().unwrap();
    let other = Authority::open(folder.path(), Timestamp::now()).unwrap();
    let ours = front.server.authority();
    let now = Timestamp::now();
    let cases = [
        ("of ours", ours.client("admin", MASTERS, now).unwrap(), 200),
        ("of another authority", other.client("admin", MASTERS, now).unwrap(), 401),
        ("expired", expired(front.folder()), 401),
        ("of a server", ours.server(&Default::default(), now).unwrap(), 401),
        ("of somebody unknown", ours.client("somebody", "some", now).unwrap(), 403),
    ];
    for version in [Version::Http1, Version::Http2] {
        for (what, pair, expected) in &cases {
            let mut sender = front.sender(tls(ours, Some(pair), version)).await;
            let (status, said) = answer(&mut sender, request("GET", PODS, "")).await;
            assert_eq!(status, *expected, "a certificate {what}, {version:?}: {said}");
            if status == 401 {
                assert_eq!(said["reason"], "Unauthorized", "{what}");
            }
        }
        let mut sender = front.sender(front.nobody(version)).await;
        let (status, said) = answer(&mut sender, request("GET", PODS, "")).await;
        let words = "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"";
        assert_eq!((status, said["message"].as_str()), (403, Some(words)));
        assert_eq!(answer(&mut sender, request("GET", "/readyz", "")).await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens() {
    let front = Front::start().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let bound = async |account: &str, spec: Value| {
        let asked = front.must("POST", &format!("{accounts}/{account}/token"), &json!({ "spec": spec })).await;
        asked["status"]["token"].as_str().unwrap().to_owned()
    };
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "web" } });
    front.must("POST", accounts, &account).await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web" }, "spec": { "serviceAccountName": "web", "containers": [{ "name": "a", "image": "b" }] },
    });
    front.must("POST", PODS, &pod).await;
    let free = bound("web", json!({})).await;
    let of_pod = bound("web", json!({ "boundObjectRef": { "kind": "Pod", "name": "web" } })).await;
    let for_others = bound("web", json!({ "audiences": ["vault"] })).await;
    let mut broken = free.clone();
    broken.replace_range(free.len() - 4.., "AAAA");
    // The same claims by another key.
    let folder = tempfile::tempdir().unwrap();
    let other = Authority::open(folder.path(), Timestamp::now()).unwrap().signer().unwrap();
    let claims = kube_api::auth::token::Claims {
        namespace: "default".to_owned(),
        audiences: vec![kube_api::auth::token::ISSUER.to_owned()],
        expires_s: i64::MAX,
        ..Default::default()
    };
    let forged = other.sign(&claims).unwrap();
    let expired = front
        .server
        .authority()
        .signer()
        .unwrap()
        .sign(&kube_api::auth::token::Claims { expires_s: 1, ..claims })
        .unwrap();
    let long = "a".repeat(30_000);
    let cases: &[(&str, &str, u16)] = &[
        ("as given", &free, 200),
        ("of a pod that is there", &of_pod, 200),
        ("for others", &for_others, 401),
        ("with another signature", &broken, 401),
        ("of another key", &forged, 401),
        ("that is over", &expired, 401),
        ("of nothing", "", 401),
        ("of dots", "..", 401),
        ("that is long", &long, 401),
        ("that is a password", "hunter2", 401),
    ];
    for (what, token, expected) in cases {
        let (status, said) = with_token(&front, token, PODS).await;
        assert_eq!(status, *expected, "a token {what}: {said:.300}");
    }
    // What is not its own it may not have.
    assert_eq!(with_token(&front, &free, "/api/v1/namespaces/default/secrets").await.0, 403);
    assert_eq!(with_token(&front, &free, "/api/v1/namespaces/kube-system/pods").await.0, 403);
    // Its pod goes: the token is worth nothing, those of the account are.
    front.must("DELETE", &format!("{PODS}/web?gracePeriodSeconds=0"), &Value::Null).await;
    eventually("the pod's token is worth nothing", async || with_token(&front, &of_pod, PODS).await.0 == 401).await;
    assert_eq!(with_token(&front, &free, PODS).await.0, 200);
    // A new account of the same name is another.
    front.must("DELETE", &format!("{accounts}/web"), &Value::Null).await;
    front.must("POST", accounts, &account).await;
    assert_eq!(with_token(&front, &free, PODS).await.0, 401);
}
