//! Questions that are asked by making an object: who am I, what may I, whose token is this (`authentication.k8s.io`,
//! `authorization.k8s.io`). Nothing of them is kept.

use serde_json::{Value, json};

use super::token;
use crate::{
    auth::{
        User,
        role::{self, Ask},
        token::ISSUER,
    },
    kind::Kind,
    object::{Look, meta},
    server::Server,
    status::Failure,
};

/// Answers a question.
pub fn answer(server: &Server, kind: &Kind, user: &User, mut review: Value) -> Result<Value, Failure> {
    let status = match kind.kind {
        "SelfSubjectReview" => json!({ "userInfo": info(user) }),
        "TokenReview" => whose(server, &review),
        "SelfSubjectAccessReview" => access(user, &review),
        "SelfSubjectRulesReview" => rules(user, review.text("spec.namespace")),
        "SubjectAccessReview" | "LocalSubjectAccessReview" => access(&subject(&review), &review),
        _ => return Err(Failure::method_not_allowed()),
    };
    review.put("kind", kind.kind);
    review.put("apiVersion", kind.api_version());
    review.put("metadata.creationTimestamp", meta::time(server.now()));
    review.put("status", status);
    Ok(review)
}

fn info(user: &User) -> Value {
    let mut info = json!({ "username": user.name, "groups": user.groups });
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

fn whose(server: &Server, review: &Value) -> Value {
    let asked: Vec<&str> = review.list("spec.audiences").iter().filter_map(Value::as_str).collect();
    let audiences = if asked.is_empty() { vec![ISSUER] } else { asked };
    match token::holder(server, review.text("spec.token"), &audiences) {
        Some(user) => json!({ "authenticated": true, "user": info(&user), "audiences": audiences }),
        None => json!({ "authenticated": false, "error": "the token is not valid, or not for these audiences" }),
    }
}

fn subject(review: &Value) -> User {
    let texts = |path: &str| review.list(path).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    User { name: review.text("spec.user").to_owned(), groups: texts("spec.groups"), ..User::default() }
}

fn access(user: &User, review: &Value) -> Value {
    let of = |field: &str| review.text(&format!("spec.resourceAttributes.{field}"));
    let ask = if review.at("spec.nonResourceAttributes").is_some() {
        Ask::Path {
            verb: review.text("spec.nonResourceAttributes.verb"),
            path: review.text("spec.nonResourceAttributes.path"),
        }
    } else {
        Ask::Resource {
            verb: of("verb"),
            group: of("group"),
            resource: of("resource"),
            subresource: of("subresource"),
            namespace: of("namespace"),
            name: of("name"),
        }
    };
    let allowed = role::may(user, &ask);
    let mut status = json!({ "allowed": allowed });
    if !allowed {
        status["reason"] = "none of the three fixed roles of linkspan allows it".into();
    }
    status
}

fn rules(user: &User, namespace: &str) -> Value {
    let questions =
        |group: &str, resources: &[&str]| json!({ "verbs": ["create"], "apiGroups": [group], "resources": resources });
    let mut resources = vec![
        questions("authentication.k8s.io", &["selfsubjectreviews"]),
        questions("authorization.k8s.io", &["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
    ];
    let all = |verb| Ask::Resource { verb, group: "", resource: "pods", subresource: "", namespace, name: "" };
    if role::may(user, &all("deletecollection")) {
        resources.push(json!({ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }));
    } else if role::may(user, &all("list")) {
        resources.push(json!({ "verbs": ["get", "list", "watch"], "apiGroups": ["*"], "resources": ["*"] }));
    }
    let paths = json!([{ "verbs": ["get"], "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version"] }]);
    json!({ "resourceRules": resources, "nonResourceRules": paths, "incomplete": false })
}
