//! `token`: a service account gets a token (`authentication.k8s.io/v1` TokenRequest).

use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use serde_json::{Value, json};

use crate::{
    auth::{
        AUTHENTICATED, SERVICE_ACCOUNTS, User,
        token::{Bound, Claims, ISSUER, LIFE_MAX_S, LIFE_MIN_S, LIFE_S},
    },
    object::{Look, meta},
    server::Server,
    status::Failure,
    verb::Place,
};

/// Answers a TokenRequest.
pub fn create(server: &Server, place: Place<'_>, name: &str, mut request: Value) -> Result<Value, Failure> {
    let cluster = server.view.cluster();
    let account = cluster.get::<ServiceAccount>(place.namespace, name);
    let account = account.ok_or_else(|| Failure::not_found(place.kind, name))?;
    let asked = request.int("spec.expirationSeconds").unwrap_or(LIFE_S);
    if !(LIFE_MIN_S..=LIFE_MAX_S).contains(&asked) {
        let bound = if asked < LIFE_MIN_S {
            "may not specify a duration less than 10 minutes"
        } else {
            "may not specify a duration larger than 2^32 seconds"
        };
        let message = format!(
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: {asked}: {bound}"
        );
        return Err(Failure::unprocessable(message));
    }
    let mut pod = None;
    let mut node = None;
    if let Some(to) = request.at("spec.boundObjectRef").filter(|to| to.text("kind") == "Pod") {
        let bound = cluster.get::<Pod>(place.namespace, to.text("name"));
        let uid = bound.and_then(|pod| pod.metadata.uid.clone()).unwrap_or_default();
        if uid.is_empty() || (!to.text("uid").is_empty() && to.text("uid") != uid) {
            return Err(Failure::bad_request(format!(
                "the pod {:?} that the token is to be bound to is not there",
                to.text("name")
            )));
        }
        let on = bound.and_then(|pod| pod.spec.as_ref()?.node_name.clone());
        node = on.map(|name| Bound { name, uid: String::new() });
        pod = Some(Bound { name: to.text("name").to_owned(), uid });
    }
    let mut audiences: Vec<String> =
        request.list("spec.audiences").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    let now = server.now();
    let claims = Claims {
        namespace: place.namespace.to_owned(),
        account: Bound { name: name.to_owned(), uid: account.metadata.uid.clone().unwrap_or_default() },
        pod,
        secret: None,
        node,
        audiences: audiences.clone(),
        issued_s: now.as_second(),
        expires_s: now.as_second() + asked,
        id: server.uid()?,
    };
    let token = server.signer.sign(&claims).map_err(|_| Failure::internal("the token cannot be signed"))?;
    let expires = jiff::Timestamp::from_second(claims.expires_s).map_err(Failure::internal)?;
    request.put("kind", "TokenRequest");
    request.put("apiVersion", "authentication.k8s.io/v1");
    request
        .put("metadata", json!({ "name": name, "namespace": place.namespace, "creationTimestamp": meta::time(now) }));
    request.put("spec.audiences", audiences);
    request.put("spec.expirationSeconds", asked);
    request.put("status", json!({ "token": token, "expirationTimestamp": meta::time(expires) }));
    Ok(request)
}

/// Who shows a token, if it holds, is meant for `audiences` (any of them), and what it is bound to is still there.
pub fn holder(server: &Server, token: &str, audiences: &[&str]) -> Option<User> {
    let claims = server.signer.verify(token, server.now())?;
    if !claims.audiences.iter().any(|audience| audiences.contains(&audience.as_str())) {
        return None;
    }
    let cluster = server.view.cluster();
    let account = cluster.get::<ServiceAccount>(&claims.namespace, &claims.account.name)?;
    if account.metadata.uid.as_deref() != Some(&claims.account.uid) {
        return None;
    }
    let mut user = User {
        name: format!("system:serviceaccount:{}:{}", claims.namespace, claims.account.name),
        uid: claims.account.uid.clone(),
        groups: vec![
            SERVICE_ACCOUNTS.to_owned(),
            format!("{SERVICE_ACCOUNTS}:{}", claims.namespace),
            AUTHENTICATED.to_owned(),
        ],
        ..User::default()
    };
    if let Some(bound) = &claims.pod {
        let pod = cluster.get::<Pod>(&claims.namespace, &bound.name)?;
        if pod.metadata.uid.as_deref() != Some(&bound.uid) {
            return None;
        }
        user.extra.insert("authentication.kubernetes.io/pod-name".to_owned(), vec![bound.name.clone()]);
        user.extra.insert("authentication.kubernetes.io/pod-uid".to_owned(), vec![bound.uid.clone()]);
    }
    user.extra.insert("authentication.kubernetes.io/credential-id".to_owned(), vec![format!("JTI={}", claims.id)]);
    Some(user)
}
