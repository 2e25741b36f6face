//! Pulls from registries that lie, stall, break and send elsewhere, and from honest ones.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runtime::image::{
    Credentials, Digest, ImageError, Platform, Progress, ProgressSink, PullRequest, Pulled, Reference,
    RegistrySettings, Store, inspect_distribution, login,
};
use tempfile::TempDir;

use crate::fake_registry::{Answer, DOCKER_LIST, Ending, Fixture, OCI_INDEX, Seen, Server, describe, ok, status};
use crate::house::{runtime, store};

/// No honest registry is this slow, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where a stall is waited for.
const STALL: Duration = Duration::from_secs(5);

fn settings() -> RegistrySettings {
    RegistrySettings { stall_timeout: PATIENCE, ..RegistrySettings::default() }
}

fn request(reference: &str) -> PullRequest {
    let reference = Reference::parse(reference).expect("valid");
    PullRequest { reference, platform: None, credentials: None, progress: ProgressSink::silent() }
}

/// Pulls `app` from a server into a new store; after a refusal nothing may be left of it.
async fn pull(
    server: &Server,
    suffix: &str,
    settings: &RegistrySettings,
) -> Result<(Pulled, Store, TempDir), ImageError> {
    let (dir, store) = store().expect("root");
    let pulled = store.pull(request(&format!("{}/app{suffix}", server.address)), settings).await;
    match pulled {
        Ok(pulled) => Ok((pulled, store, dir)),
        Err(error) => {
            for directory in ["tmp", "layers", "configs"] {
                let left = fs::read_dir(dir.path().join("images").join(directory)).expect("there").count();
                assert_eq!(left, 0, "{directory} after {error}");
            }
            Err(error)
        }
    }
}

/// A registry that answers so is refused with these words.
fn refused(answer: impl Fn(&Fixture, &Seen) -> Answer + Send + Sync + 'static, suffix: &str, expected: &str) {
    refused_within(PATIENCE, answer, suffix, expected);
}

/// The same by one who waits so long.
fn refused_within(
    stall_timeout: Duration,
    answer: impl Fn(&Fixture, &Seen) -> Answer + Send + Sync + 'static,
    suffix: &str,
    expected: &str,
) {
    if store().is_none() {
        return;
    }
    runtime().block_on(async {
        let fixture = Fixture::new();
        let server = Server::start(move |seen| answer(&fixture, seen)).await;
        let settings = RegistrySettings { stall_timeout, ..settings() };
        let error = pull(&server, suffix, &settings).await.map(drop).expect_err(expected).to_string();
        let expected = expected.replace("HOST", &server.address.to_string());
        assert!(error.contains(&expected), "expected {expected:?}, found {error:?}");
    });
}

#[test]
fn what_a_registry_has_is_described_without_a_pull() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let (digest, size) = (Digest::of(&fixture.manifest), fixture.manifest.len() as u64);
        let server = Server::start(move |seen| fixture.answer(seen)).await;
        let reference = Reference::parse(&format!("{}/app", server.address)).expect("valid");
        let found = inspect_distribution(&reference, None, &settings()).await.expect("described");
        assert_eq!((found.digest, found.size, found.platforms), (digest, size, vec![Platform::host()]));
        let layers = server.seen().into_iter().filter(|seen| seen.path.contains("/blobs/")).count();
        assert_eq!(layers, 1, "only the configuration");
    });
}

#[test]
fn honest_registries_serve_gzip_and_zstd() {
    if store().is_none() {
        return;
    }
    runtime().block_on(async {
        for fixture in [Fixture::new(), Fixture::zstd()] {
            let (manifest, id) = (Digest::of(&fixture.manifest), Digest::of(&fixture.config));
            let server = Server::start(move |seen| fixture.answer(seen)).await;
            let (pulled, store, _dir) = pull(&server, "", &settings()).await.expect("pulls");
            assert_eq!((pulled.id.clone(), pulled.digest.clone(), pulled.is_newer), (id, manifest.clone(), true));
            let image = store.resolve(&format!("{}/app", server.address)).expect("pulled");
            assert_eq!(image.repo_digests, [format!("{}/app@{manifest}", server.address)]);
            let by_digest = format!("{}/app@{manifest}", server.address);
            let again = store.pull(request(&by_digest), &settings()).await.expect("pulls again");
            assert!(!again.is_newer);
            store.save(&[by_digest], std::io::sink()).await.expect("whole");
        }
    });
}

#[test]
fn what_a_kept_connection_does_not_answer_is_asked_again() {
    if store().is_none() {
        return;
    }
    runtime().block_on(async {
        let fixture = Fixture::new();
        let asked = Mutex::new(BTreeSet::new());
        let server = Server::start(move |seen| {
            let first = asked.lock().expect("no panic").insert(seen.path.clone());
            let ending = if first && seen.path != "/v2/" { Ending::Instead } else { Ending::Proper };
            Answer { ending, ..fixture.answer(seen) }
        })
        .await;
        pull(&server, "", &settings()).await.expect("pulls");
    });
}

#[test]
fn lies_about_digests_and_sizes_are_refused() {
    let flip = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    let zero = format!("@sha256:{}", "0".repeat(64));
    refused(
        move |f, s| if f.is_layer(s) { ok(flip(&f.layer)) } else { f.answer(s) },
        "",
        "HOST sent a wrong layer digest",
    );
    refused(
        |f, s| if f.is_layer(s) { ok([&f.layer[..], b"more"].concat()) } else { f.answer(s) },
        "",
        "HOST sent a wrong layer size",
    );
    refused(
        |f, s| if f.is_layer(s) { ok(&f.layer[..f.layer.len() - 1]) } else { f.answer(s) },
        "",
        "HOST sent a wrong layer size",
    );
    refused(|f, s| f.answer(s), &zero, "HOST sent a wrong manifest digest");
    let header = format!("sha256:{}", "1".repeat(64));
    refused(
        move |f, s| {
            let mut answer = f.answer(s);
            answer.headers.push(("docker-content-digest", header.clone()));
            answer
        },
        "",
        "HOST sent a wrong manifest digest",
    );
    let is_config = |f: &Fixture, s: &Seen| s.path.ends_with(Digest::of(&f.config).as_str());
    refused(
        move |f, s| if is_config(f, s) { ok(flip(&f.config)) } else { f.answer(s) },
        "",
        "wrong configuration digest",
    );
    refused(move |f, s| if is_config(f, s) { ok("{}") } else { f.answer(s) }, "", "wrong configuration size");
    refused(|f, s| if s.path == "/v2/" { f.answer(s) } else { ok(vec![b' '; 5 << 20]) }, "", "at most 4194304");
}

#[test]
fn layers_that_unpack_to_something_else_are_refused() {
    let honest = Fixture::new();
    let other = Fixture::of(honest.layer.clone(), "gzip", &Digest::of(b"something else"), "amd64");
    refused(move |_, s| other.answer(s), "", "uncompressed content does not match its digest");
    let junk = Fixture::of(b"junk".repeat(1000), "gzip", &Digest::of(b"x"), "amd64");
    refused(move |_, s| junk.answer(s), "", "not a valid tar stream");
    let chart = Fixture::of(honest.layer, "gzip+encrypted", &Digest::of(b"x"), "amd64");
    refused(move |_, s| chart.answer(s), "", "this is not a container image");
}

#[test]
fn stalls_are_told_with_the_registry() {
    let stall = |answer: Answer| Answer { ending: Ending::Stalls, ..answer };
    let in_layer = move |f: &Fixture, s: &Seen| if f.is_layer(s) { stall(ok(&f.layer[..10])) } else { f.answer(s) };
    let in_manifest = move |f: &Fixture, s: &Seen| if s.path == "/v2/" { f.answer(s) } else { stall(ok("")) };
    let words = "registry HOST stalled: nothing came for 5 s while pulling";
    std::thread::scope(|both| {
        both.spawn(|| refused_within(STALL, in_layer, "", &format!("{words} layer")));
        both.spawn(|| refused_within(STALL, in_manifest, "", &format!("{words} the manifest")));
    });
}

#[test]
fn missing_and_forbidden_images_are_told_in_dockers_words() {
    let only_ping = |f: &Fixture, s: &Seen, code| if s.path == "/v2/" { f.answer(s) } else { status(code, &[]) };
    refused(
        move |f, s| only_ping(f, s, 404),
        ":v9",
        "manifest for HOST/app:v9 not found: manifest unknown: manifest unknown",
    );
    refused(
        move |f, s| only_ping(f, s, 403),
        "",
        "pull access denied for HOST/app, repository does not exist or may require 'docker login'",
    );
    refused(move |f, s| only_ping(f, s, 500), "", "registry HOST answered 500 while pulling the manifest");
    refused(|_, s| ok(if s.path == "/v2/" { "" } else { r#"{"schemaVersion":1,"fsLayers":[]}"# }), "", "schema 1");
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    if store().is_none() {
        return;
    }
    runtime().block_on(async {
        let fixture = Fixture::new();
        let (half, calls) = (fixture.layer.len() / 2, AtomicUsize::new(0));
        let server = Server::start(move |seen| match (fixture.is_layer(seen), &seen.range) {
            (true, None) if calls.fetch_add(1, Ordering::Relaxed) == 0 => {
                Answer { ending: Ending::Breaks, ..ok(&fixture.layer[..half]) }
            }
            (true, Some(range)) => {
                let from: usize = range["bytes=".len()..range.len() - 1].parse().expect("a number");
                Answer { status: 206, ..ok(&fixture.layer[from..]) }
            }
            _ => fixture.answer(seen),
        })
        .await;
        pull(&server, "", &settings()).await.expect("pulls");
    });
}

#[test]
fn credentials_do_not_follow_redirects() {
    if store().is_none() {
        return;
    }
    runtime().block_on(async {
        let fixture = Fixture::new();
        let stored = fixture.clone();
        let storage = Server::start(move |seen| stored.answer(seen)).await;
        let elsewhere = storage.address;
        let registry = Server::start(move |seen| match &seen.authorization {
            None => status(401, &[("www-authenticate", "Basic realm=\"x\"")]),
            Some(_) if fixture.is_layer(seen) => {
                status(307, &[("location", &format!("http://{elsewhere}{}", seen.path))])
            }
            Some(_) => fixture.answer(seen),
        })
        .await;
        let (_dir, store) = store().expect("root");
        let reference = format!("{}/app", registry.address);
        let error = store.pull(request(&reference), &settings()).await.expect_err("needs a login").to_string();
        assert!(error.contains("access denied"), "{error}");
        let credentials =
            Credentials { username: "me".to_owned(), password: "secret".to_owned(), ..Default::default() };
        let request = PullRequest { credentials: Some(credentials), ..request(&reference) };
        store.pull(request, &settings()).await.expect("pulls");
        assert_eq!(storage.seen().len(), 1);
        assert_eq!(storage.seen()[0].authorization, None);
        assert!(registry.seen().iter().any(|seen| seen.authorization.as_deref() == Some("Basic bWU6c2VjcmV0")));
    });
}

#[test]
fn redirects_without_end_and_to_other_protocols_are_refused() {
    refused(
        |f, s| if f.is_layer(s) { status(302, &[("location", &s.path)]) } else { f.answer(s) },
        "",
        "too many redirects in a row",
    );
    refused(
        |f, s| if f.is_layer(s) { status(302, &[("location", "file:///etc/passwd")]) } else { f.answer(s) },
        "",
        "it is not an HTTP address",
    );
}

#[test]
fn tokens_are_fetched_and_shown() {
    if store().is_none() {
        return;
    }
    runtime().block_on(async {
        let fixture = Fixture::new();
        let address = Arc::new(Mutex::new(String::new()));
        let realm = address.clone();
        let server = Server::start(move |seen| {
            if seen.path.starts_with("/token") {
                return match seen.authorization.as_deref() {
                    Some("Basic bWU6c2VjcmV0") => ok(r#"{"access_token":"let-me-in"}"#),
                    Some(_) => {
                        Answer { status: 401, ..ok(r#"{"errors":[{"code":"UNAUTHORIZED","message":"bad password"}]}"#) }
                    }
                    None => ok(r#"{"token":"anybody"}"#),
                };
            }
            match seen.authorization.as_deref() {
                Some("Bearer let-me-in") => fixture.answer(seen),
                _ => {
                    let host = realm.lock().expect("no panic").clone();
                    status(401, &[("www-authenticate", &format!("Bearer realm=\"http://{host}/token\",service=\"s\""))])
                }
            }
        })
        .await;
        *address.lock().expect("no panic") = server.address.to_string();
        let (_dir, store) = store().expect("root");
        let reference = format!("{}/app", server.address);
        let with = |password: &str| Credentials {
            username: "me".to_owned(),
            password: password.to_owned(),
            ..Default::default()
        };
        let settings = settings();
        let pull = |credentials| store.pull(PullRequest { credentials, ..request(&reference) }, &settings);
        assert!(pull(None).await.expect_err("refused").to_string().contains("access denied"));
        let error = pull(Some(with("wrong"))).await.expect_err("refused").to_string();
        assert!(error.contains("unauthorized: bad password"), "{error}");
        pull(Some(with("secret"))).await.expect("pulls");
        let scope =
            server.seen().iter().any(|seen| seen.path.contains("service=s&account=me&scope=repository%3Aapp%3Apull"));
        assert!(scope, "{:?}", server.seen());
        let host = server.address.to_string();
        login(&host, &with("secret"), &settings).await.expect("logs in");
        login(&host, &with("wrong"), &settings).await.expect_err("refused");
    });
}

#[test]
fn an_index_is_resolved_for_the_platform() {
    if store().is_none() {
        return;
    }
    let (ours, foreign) = (Fixture::new(), Fixture::of(Fixture::new().layer, "gzip", &Digest::of(b"x"), "s390x"));
    runtime().block_on(async {
        list_is_resolved(OCI_INDEX, ours.clone(), &foreign).await;
        list_is_resolved(DOCKER_LIST, ours.in_dockers_types(), &foreign.in_dockers_types()).await;
    });
}

/// A list of manifests of either kind is followed to this machine's, and to no other.
async fn list_is_resolved(media_type: &str, ours: Fixture, foreign: &Fixture) {
    let host = Platform::host();
    let entry = |fixture: &Fixture, architecture: &str| {
        let mut entry = describe(fixture.media_type, &fixture.manifest);
        entry["platform"] = serde_json::json!({"os": "linux", "architecture": architecture});
        entry
    };
    let list = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type,
        "manifests": [entry(foreign, "s390x"), entry(&ours, &host.architecture)],
    });
    let list = list.to_string().into_bytes();
    let digest = Digest::of(&list);
    let content_type = ("content-type", media_type.to_owned());
    let server = Server::start(move |seen| match seen.path.ends_with("/manifests/latest") {
        true => Answer { headers: vec![content_type.clone()], ..ok(list.clone()) },
        false => ours.answer(seen),
    })
    .await;
    let (pulled, store, _dir) = pull(&server, "", &settings()).await.expect("pulls");
    assert_eq!(pulled.digest, digest, "{media_type}");
    let name = format!("{}/app", server.address);
    assert_eq!(store.resolve(&name).expect("pulled").config.config.cmd, Some(vec!["/x".to_owned()]), "{media_type}");
    let platform = |text: &str| PullRequest { platform: Some(text.parse().expect("valid")), ..request(&name) };
    let error = store.pull(platform("linux/riscv64"), &settings()).await.expect_err("refused").to_string();
    assert_eq!(error, "no matching manifest for linux/riscv64 in the manifest list entries");
}

#[test]
fn progress_is_told_as_docker_does() {
    if store().is_none() {
        return;
    }
    runtime().block_on(async {
        let fixture = Fixture::new();
        let (layer, manifest) = (Digest::of(&fixture.layer), Digest::of(&fixture.manifest));
        let server = Server::start(move |seen| fixture.answer(seen)).await;
        let (_dir, store) = store().expect("root");
        let reference = format!("{}/app", server.address);
        let pull = || async {
            let told = Arc::new(Mutex::new(Vec::new()));
            let listener = told.clone();
            let progress = ProgressSink::new(move |news| {
                let line = match news {
                    Progress::Line(line) => line,
                    Progress::Named { id, text } => format!("{id}: {text}"),
                    Progress::Layer { id, phase } => format!("{id}: {phase}"),
                };
                let mut told = listener.lock().expect("no panic");
                if told.last() != Some(&line) {
                    told.push(line);
                }
            });
            store.pull(PullRequest { progress, ..request(&reference) }, &settings()).await.expect("pulls");
            told.lock().expect("no panic").clone()
        };
        let layer = layer.short();
        let phases = [
            "Pulling fs layer",
            "Downloading",
            "Verifying Checksum",
            "Download complete",
            "Extracting",
            "Pull complete",
        ];
        let mut expected = vec!["latest: Pulling from app".to_owned()];
        expected.extend(phases.iter().map(|phase| format!("{layer}: {phase}")));
        expected.push(format!("Digest: {manifest}"));
        expected.push(format!("Status: Downloaded newer image for {reference}:latest"));
        assert_eq!(pull().await, expected);
        let again = [
            "latest: Pulling from app".to_owned(),
            format!("{layer}: Already exists"),
            format!("Digest: {manifest}"),
            format!("Status: Image is up to date for {reference}:latest"),
        ];
        assert_eq!(pull().await, again);
    });
}

#[test]
fn mirrors_are_asked_before_the_hub_and_see_no_credentials() {
    if store().is_none() {
        return;
    }
    runtime().block_on(async {
        let fixture = Fixture::new();
        let empty = Server::start(|_| status(404, &[])).await;
        let mirror = Server::start(move |seen| fixture.answer(seen)).await;
        let mirrors = vec![format!("http://{}", empty.address), format!("http://{}", mirror.address)];
        let settings = RegistrySettings { mirrors, ..settings() };
        let (_dir, store) = store().expect("root");
        let credentials =
            Credentials { username: "me".to_owned(), password: "secret".to_owned(), ..Default::default() };
        let request = PullRequest { credentials: Some(credentials), ..request("busybox") };
        store.pull(request, &settings).await.expect("pulls from the second");
        assert_eq!(store.resolve("busybox").expect("pulled").repo_tags, ["busybox:latest"]);
        assert!(mirror.seen().iter().chain(&empty.seen()).all(|seen| seen.authorization.is_none()));
        assert!(!empty.seen().is_empty());
    });
}

#[test]
fn pulls_at_once_share_a_layer() {
    if store().is_none() {
        return;
    }
    runtime().block_on(async {
        let fixture = Fixture::new();
        let layer = fixture.clone();
        let server = Server::start(move |seen| fixture.answer(seen)).await;
        let (_dir, store) = store().expect("root");
        let pulls = (0..8).map(|number| {
            let (store, request) = (store.clone(), request(&format!("{}/app:{number}", server.address)));
            tokio::spawn(async move { store.pull(request, &settings()).await })
        });
        for pull in pulls.collect::<Vec<_>>() {
            pull.await.expect("no panic").expect("pulls");
        }
        assert_eq!(server.seen().iter().filter(|seen| layer.is_layer(seen)).count(), 1);
        assert_eq!(store.resolve(&format!("{}/app:3", server.address)).expect("pulled").repo_tags.len(), 8);
    });
}
