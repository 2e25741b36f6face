//! Pushes to a real registry, and what comes back.

use std::sync::{Arc, Mutex};

use runtime::image::{
    Credentials, Progress, ProgressSink, PullRequest, PushRequest, Pushed, Reference, RegistrySettings, RemoveOptions,
    Store,
};

use crate::debian_registry::{DebianRegistry, Door};
use crate::house::{busybox, runtime, store};

fn credentials() -> Credentials {
    Credentials { username: "me".to_owned(), password: "secret".to_owned(), ..Default::default() }
}

/// Pushes and says what was told, lines and final words of layers.
async fn push(store: &Store, reference: &str, credentials: Option<Credentials>) -> (Vec<Pushed>, Vec<String>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = told.clone();
    let progress = ProgressSink::new(move |news| match news {
        Progress::Line(line) => listener.lock().expect("no panic").push(line),
        Progress::Layer { phase, .. } if phase.amount().is_none() => {
            listener.lock().expect("no panic").push(phase.to_string());
        }
        _ => {}
    });
    let reference = Reference::parse(reference).expect("valid");
    let request = PushRequest { reference, credentials, progress };
    let pushed = store.push(request, &RegistrySettings::default()).await.expect("pushes");
    (pushed, told.lock().expect("no panic").clone())
}

fn pull_request(reference: &str) -> PullRequest {
    let reference = Reference::parse(reference).expect("valid");
    PullRequest { reference, platform: None, credentials: Some(credentials()), progress: ProgressSink::silent() }
}

#[test]
fn what_is_pushed_comes_back_the_same() {
    let Some(registry) = DebianRegistry::start(Door::Open) else { return };
    let (Some((_a, here)), Some((_b, there))) = (store(), store()) else { return };
    runtime().block_on(async {
        let settings = RegistrySettings::default();
        let name = format!("{}/library/busybox", registry.address);
        let id = busybox(&here, &format!("{name}:v1")).await;
        let (pushed, told) = push(&here, &format!("{name}:v1"), None).await;
        let (digest, size) = (&pushed[0].digest, pushed[0].size);
        let expected = [
            format!("The push refers to repository [{name}]"),
            "Preparing".to_owned(),
            "Pushed".to_owned(),
            format!("v1: digest: {digest} size: {size}"),
        ];
        assert_eq!(told, expected);
        assert_eq!(here.image(&id).expect("here").repo_digests, [format!("{name}@{digest}")]);
        let pulled = there.pull(pull_request(&format!("{name}:v1")), &settings).await.expect("pulls");
        assert_eq!((&pulled.id, &pulled.digest), (&id, digest));
        there.save(&[id.to_string()], std::io::sink()).await.expect("whole");

        // Known layers are not sent again: not here, and not to another repository.
        here.tag(id.as_str(), &format!("{name}:v2")).await.expect("tags");
        assert!(push(&here, &format!("{name}:v2"), None).await.1.contains(&"Layer already exists".to_owned()));
        let other = format!("{}/other", registry.address);
        there.tag(id.as_str(), &other).await.expect("tags");
        let (_, told) = push(&there, &other, None).await;
        assert!(told.contains(&"Mounted from library/busybox".to_owned()), "{told:?}");

        // All tags at once, by digest, and what is not there.
        let (pushed, _) = push(&here, &name, None).await;
        assert_eq!(pushed.iter().map(|pushed| pushed.tag.as_str()).collect::<Vec<_>>(), ["v1", "v2"]);
        let repository = Reference::parse(&name).expect("valid");
        assert_eq!(there.remote_tags(&repository, None, &settings).await.expect("lists"), ["v1", "v2"]);
        there
            .remove_image(id.as_str(), RemoveOptions { force: true, ..Default::default() }, &[])
            .await
            .expect("removes");
        // A repository's digests go with its last tag, whatever other names the image has.
        here.tag(id.as_str(), "kept").await.expect("tags");
        for tag in ["v1", "v2"] {
            here.remove_image(&format!("{name}:{tag}"), RemoveOptions::default(), &[]).await.expect("removes");
        }
        assert!(here.image(&id).expect("kept").repo_digests.is_empty());
        let by_digest = format!("{name}@{digest}");
        assert_eq!(there.pull(pull_request(&by_digest), &settings).await.expect("pulls").id, id);
        let missing = there.pull(pull_request(&format!("{name}:v3")), &settings).await.expect_err("missing");
        assert_eq!(
            missing.to_string(),
            format!("manifest for {name}:v3 not found: manifest unknown: manifest unknown")
        );
        let unknown = PushRequest {
            reference: Reference::parse("nope:1").expect("valid"),
            credentials: None,
            progress: ProgressSink::silent(),
        };
        let error = here.push(unknown, &settings).await.expect_err("missing").to_string();
        assert_eq!(error, "An image does not exist locally with the tag: nope:1");
    });
}

#[test]
fn a_registry_with_a_password_is_served_with_one() {
    let Some(registry) = DebianRegistry::start(Door::Password) else { return };
    let Some((_dir, store)) = store() else { return };
    runtime().block_on(async {
        let settings = RegistrySettings::default();
        let name = format!("{}/busybox:latest", registry.address);
        busybox(&store, &name).await;
        let anonymous = PushRequest {
            reference: Reference::parse(&name).expect("valid"),
            credentials: None,
            progress: ProgressSink::silent(),
        };
        let error = store.push(anonymous, &settings).await.expect_err("refused").to_string();
        assert!(error.starts_with("push access denied for"), "{error}");
        push(&store, &name, Some(credentials())).await;
        assert!(!store.pull(pull_request(&name), &settings).await.expect("pulls").is_newer);
        let host = registry.address.to_string();
        runtime::image::login(&host, &credentials(), &settings).await.expect("logs in");
        let wrong = Credentials { password: "wrong".to_owned(), ..credentials() };
        let error = runtime::image::login(&host, &wrong, &settings).await.expect_err("refused").to_string();
        assert!(error.contains("unauthorized"), "{error}");
    });
}

#[test]
fn a_registry_on_loopback_may_have_any_certificate() {
    let Some(registry) = DebianRegistry::start(Door::Tls) else { return };
    let Some((_dir, store)) = store() else { return };
    runtime().block_on(async {
        let name = format!("{}/busybox:latest", registry.address);
        busybox(&store, &name).await;
        push(&store, &name, None).await;
        let pulled = store.pull(pull_request(&name), &RegistrySettings::default()).await;
        assert!(!pulled.expect("pulls").is_newer);
    });
}
