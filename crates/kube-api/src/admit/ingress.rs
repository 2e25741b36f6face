//! An Ingress that names no class is of the default class (the Ingress page, "Default IngressClass").

use k8s_openapi::api::networking::v1::IngressClass;
use serde_json::Value;

use crate::{object::Look, server::Server};

const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
const OLD_CLASS: &str = "kubernetes.io/ingress.class";

/// Gives a new Ingress its class. Of several default classes the youngest is taken, as Kubernetes does.
pub fn create(server: &Server, ingress: &mut Value) {
    let old = ingress.map("metadata.annotations").is_some_and(|all| all.contains_key(OLD_CLASS));
    if old || ingress.at("spec.ingressClassName").is_some() {
        return;
    }
    let cluster = server.view.cluster();
    let is_default = |class: &&IngressClass| {
        let annotations = class.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(IS_DEFAULT)).is_some_and(|value| value == "true")
    };
    let class = cluster.list::<IngressClass>(None).filter(is_default).max_by_key(|class| {
        let made = class.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (made, std::cmp::Reverse(class.metadata.name.clone()))
    });
    if let Some(name) = class.and_then(|class| class.metadata.name.clone()) {
        ingress.put("spec.ingressClassName", name);
    }
}
