//! What a new pod gets: its service account with a token that finds the server, and patience with nodes that fall silent (the pages
//! "Managing service accounts", "Taints and tolerations").

use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::{Value, json};

use crate::{auth::User, kind, object::Look, server::Server, status::Failure};

/// Where containers find the token, the authority's certificate and the namespace.
const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How long the token holds, seconds; it is renewed before.
const TOKEN_LIFE_S: i64 = 3607;
/// How long a pod stays on a node that is silent, seconds.
const PATIENCE_S: i64 = 300;

/// Admits a new pod.
pub fn create(server: &Server, user: &User, pod: &mut Value) -> Result<(), Failure> {
    tolerations(pod);
    // What a node says it runs on its own (a mirror pod) has no account.
    if user.node().is_some()
        && pod.map("metadata.annotations").is_some_and(|all| all.contains_key("kubernetes.io/config.mirror"))
    {
        return Ok(());
    }
    service_account(server, pod)
}

/// Gives a pod the tolerations that every pod has.
pub fn tolerations(pod: &mut Value) {
    let mut all = pod.list("spec.tolerations").to_vec();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let there = |toleration: &Value| {
            let (named, effect) = (toleration.text("key"), toleration.text("effect"));
            (named == key || named.is_empty()) && matches!(effect, "" | "NoExecute")
        };
        if !all.iter().any(there) {
            all.push(
                json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": PATIENCE_S }),
            );
        }
    }
    pod.put("spec.tolerations", all);
}

fn service_account(server: &Server, pod: &mut Value) -> Result<(), Failure> {
    if pod.text("spec.serviceAccountName").is_empty() {
        pod.put("spec.serviceAccountName", "default");
        pod.put("spec.serviceAccount", "default");
    }
    let (namespace, name) = (pod.text("metadata.namespace").to_owned(), pod.text("spec.serviceAccountName").to_owned());
    let cluster = server.view.cluster();
    let Some(account) = cluster.get::<ServiceAccount>(&namespace, &name) else {
        let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        let pods = kind::by_plural("", "pods").ok_or_else(Failure::no_such_path)?;
        return Err(Failure::not_allowed(pods, pod.text("metadata.name"), &why));
    };
    if pod.list("spec.imagePullSecrets").is_empty()
        && let Some(secrets) = account.image_pull_secrets.as_ref().filter(|secrets| !secrets.is_empty())
    {
        pod.put("spec.imagePullSecrets", json!(secrets));
    }
    let wanted = pod.at("spec.automountServiceAccountToken").and_then(Value::as_bool);
    if wanted.or(account.automount_service_account_token).unwrap_or(true) {
        mount_token(server, pod)?;
    }
    Ok(())
}

fn mount_token(server: &Server, pod: &mut Value) -> Result<(), Failure> {
    let volume = crate::object::name::generate("kube-api-access-", server.random()?);
    let mut used = false;
    for list in ["spec.containers", "spec.initContainers"] {
        for container in pod.at_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let mut mounts = container.list("volumeMounts").to_vec();
            if mounts.iter().any(|mount| mount.text("mountPath") == MOUNT) {
                continue;
            }
            mounts.push(json!({ "name": volume, "readOnly": true, "mountPath": MOUNT }));
            container.put("volumeMounts", mounts);
            used = true;
        }
    }
    if used {
        let mut volumes = pod.list("spec.volumes").to_vec();
        volumes.push(json!({ "name": volume, "projected": { "defaultMode": 0o644, "sources": [
            { "serviceAccountToken": { "expirationSeconds": TOKEN_LIFE_S, "path": "token" } },
            { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
            { "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } }] } },
        ] } }));
        pod.put("spec.volumes", volumes);
    }
    Ok(())
}
