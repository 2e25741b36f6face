//! What pods name, from the API.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount, ServiceAccountTokenProjection},
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};

use crate::pod::{env::Objects, spec};

/// How long a token is good for unless the pod says, seconds.
const TOKEN_S: i64 = 3607;

/// Fetches ConfigMaps and Secrets; those that are not there are left out.
pub async fn fetch(
    client: &Client,
    namespace: &str,
    (maps, secrets): (BTreeSet<String>, BTreeSet<String>),
) -> kube::Result<Objects> {
    let mut objects = Objects::default();
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    for name in maps {
        if let Some(map) = api.get_opt(&name).await? {
            objects.config_maps.insert(name, map);
        }
    }
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    for name in secrets {
        if let Some(secret) = api.get_opt(&name).await? {
            objects.secrets.insert(name, secret);
        }
    }
    Ok(objects)
}

/// The Services that the containers of a namespace are told of.
pub async fn services(client: &Client, namespace: &str) -> kube::Result<Vec<Service>> {
    let own: Api<Service> = Api::namespaced(client.clone(), namespace);
    let mut services = own.list(&ListParams::default()).await?.items;
    if namespace != "default" {
        services.extend(Api::<Service>::namespaced(client.clone(), "default").get_opt("kubernetes").await?);
    }
    Ok(services)
}

/// Tokens of pods that are still good for long, by the pod's uid and by what asks for them.
#[derive(Default)]
pub struct Tokens(Mutex<BTreeMap<(String, String), (String, Instant)>>);

impl Tokens {
    /// A token of the pod's service account. It is asked for anew when a fifth of its time is left, as kubelet does.
    pub async fn get(
        &self,
        client: &Client,
        pod: &Pod,
        (key, wanted): (&str, &ServiceAccountTokenProjection),
    ) -> kube::Result<String> {
        let at = (spec::names(pod).2, key.to_owned());
        let known = self.lock().get(&at).filter(|(_, until)| Instant::now() < *until).map(|(token, _)| token.clone());
        if let Some(token) = known {
            return Ok(token);
        }
        let token = token(client, pod, wanted).await?;
        let seconds = wanted.expiration_seconds.unwrap_or(TOKEN_S).unsigned_abs() * 4 / 5;
        self.lock().insert(at, (token.clone(), Instant::now() + Duration::from_secs(seconds)));
        Ok(token)
    }

    /// Forgets those of a pod that is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().retain(|(of, _), _| of != uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), (String, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token of the pod's service account, which is good as long as the pod.
async fn token(client: &Client, pod: &Pod, wanted: &ServiceAccountTokenProjection) -> kube::Result<String> {
    let (name, namespace, uid) = spec::names(pod);
    let account = spec::of(pod).service_account_name.unwrap_or_else(|| "default".to_owned());
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: wanted.audience.clone().filter(|audience| !audience.is_empty()).map(|audience| vec![audience]),
            expiration_seconds: Some(wanted.expiration_seconds.unwrap_or(TOKEN_S)),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(name),
                uid: Some(uid),
            }),
        }),
        ..TokenRequest::default()
    };
    let answer = accounts.create_token_request(&account, &PostParams::default(), &request).await?;
    Ok(answer.status.and_then(|status| status.token).unwrap_or_default())
}
