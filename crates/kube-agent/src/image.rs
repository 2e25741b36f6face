//! The image of a container: found in the store, or pulled by the pod's policy and with its secrets.

use std::{collections::BTreeSet, time::Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::{Container, Pod, Secret};
use runtime::image::{Credentials, Image, ProgressSink, PullRequest, Reference};
use serde_json::Value;

use crate::{
    Shared,
    event::Kind,
    objects,
    pod::{spec, spec::Role},
};

/// Why a container has no image: a reason in Kubernetes' words, and more words.
pub type NoImage = (&'static str, String);

/// The container's image, which is pulled where its policy says so. What comes of it is told.
pub async fn of(shared: &Shared, pod: &Pod, role: Role, container: &Container) -> Result<Image, NoImage> {
    let name = container.image.as_deref().unwrap_or_default();
    let tell = |kind, reason, words: &str| {
        shared.recorder.tell(pod, Some(spec::field_path(role, &container.name)), kind, reason, words);
    };
    let refuse = |(reason, words): NoImage, told_as, told: &str| {
        tell(Kind::Warning, told_as, told);
        tell(Kind::Warning, "Failed", &format!("Error: {reason}"));
        Err((reason, words))
    };
    let reference = match Reference::parse(name) {
        Ok(reference) => reference,
        Err(error) => {
            let why = format!("couldn't parse image name \"{name}\": {error}");
            let words = format!("Failed to apply default image tag \"{name}\": {why}");
            return refuse(("InvalidImageName", words.clone()), "InspectFailed", &words);
        }
    };
    let present = shared.engine.images().resolve(name).ok();
    match (policy(container, &reference), present) {
        ("Never", None) => {
            let words = format!("Container image \"{name}\" is not present with pull policy of Never");
            refuse(("ErrImageNeverPull", words.clone()), "ErrImageNeverPull", &words)
        }
        ("IfNotPresent" | "Never", Some(image)) => {
            let words = format!("Container image \"{name}\" already present on machine and can be accessed by the pod");
            tell(Kind::Normal, "Pulled", &words);
            Ok(image)
        }
        _ => {
            tell(Kind::Normal, "Pulling", &format!("Pulling image \"{name}\""));
            let begun = Instant::now();
            match pull(shared, pod, &reference).await {
                Ok(pulled) => {
                    let (took_ms, bytes) = (begun.elapsed().as_millis(), pulled.size);
                    let times = format!("{took_ms}ms ({took_ms}ms including waiting)");
                    let words = format!("Successfully pulled image \"{name}\" in {times}. Image size: {bytes} bytes.");
                    tell(Kind::Normal, "Pulled", &words);
                    Ok(pulled)
                }
                Err(error) => {
                    let words = format!("failed to pull and unpack image \"{name}\": {error}");
                    let told = format!("Failed to pull image \"{name}\": {words}");
                    refuse(("ErrImagePull", words), "Failed", &told)
                }
            }
        }
    }
}

fn policy<'c>(container: &'c Container, reference: &Reference) -> &'c str {
    let newest = reference.digest().is_none() && reference.tag().is_none_or(|tag| tag == "latest");
    container.image_pull_policy.as_deref().unwrap_or(if newest { "Always" } else { "IfNotPresent" })
}

async fn pull(shared: &Shared, pod: &Pod, reference: &Reference) -> Result<Image, String> {
    let mut last = "no credentials".to_owned();
    let credentials = credentials(shared, pod, reference.domain()).await;
    for credentials in credentials.into_iter().map(Some).chain([None]) {
        let request =
            PullRequest { reference: reference.clone(), platform: None, credentials, progress: ProgressSink::silent() };
        match shared.engine.images().pull(request, &shared.registries).await {
            Ok(pulled) => return shared.engine.images().image(&pulled.id).map_err(|error| error.to_string()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

/// What the pod's secrets have for a registry.
async fn credentials(shared: &Shared, pod: &Pod, registry: &str) -> Vec<Credentials> {
    let (_, namespace, _) = spec::names(pod);
    let names: BTreeSet<_> =
        spec::of(pod).image_pull_secrets.into_iter().flatten().map(|reference| reference.name).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let fetched = objects::fetch(&shared.client, &namespace, (BTreeSet::new(), names)).await;
    fetched
        .map(|objects| objects.secrets.values().filter_map(|secret| of_secret(secret, registry)).collect())
        .unwrap_or_default()
}

/// Name and password in a `kubernetes.io/dockerconfigjson` or `dockercfg` secret.
fn of_secret(secret: &Secret, registry: &str) -> Option<Credentials> {
    let data = secret.data.as_ref()?;
    let registries: Value = match (data.get(".dockerconfigjson"), data.get(".dockercfg")) {
        (Some(json), _) => serde_json::from_slice::<Value>(&json.0).ok()?.get("auths")?.clone(),
        (None, Some(json)) => serde_json::from_slice(&json.0).ok()?,
        (None, None) => return None,
    };
    let bare = |key: &str| {
        let host = key.trim_start_matches("https://").trim_start_matches("http://");
        host.split('/').next().unwrap_or_default().to_owned()
    };
    let same = |key: &str| bare(key) == registry || (registry == "docker.io" && bare(key).ends_with("docker.io"));
    let entry = registries.as_object()?.iter().find(|(key, _)| same(key))?.1;
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (mut username, mut password) = (text("username"), text("password"));
    if username.is_empty() {
        let pair = String::from_utf8(STANDARD.decode(text("auth")).ok()?).ok()?;
        let (name, word) = pair.split_once(':')?;
        (username, password) = (name.to_owned(), word.to_owned());
    }
    Some(Credentials { username, password, ..Credentials::default() })
}
