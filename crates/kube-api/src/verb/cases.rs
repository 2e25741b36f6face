//! Cases of the verbs over real objects.

use http_body_util::BodyExt;
use serde_json::{Value, json};
use store::objects::{Keep, Objects, Options};

use super::{
    Place, collection, create,
    delete::{self, DeleteOptions},
    list::{self, Filter},
    patch::{self, Patch},
    read,
    update::{self, Part, Update},
    watch,
};
use crate::{
    answer::Form,
    auth::{User, authority::ServerNames},
    controller::Started,
    kind,
    object::{Look, meta},
    open::{ApiServer, Opening},
    query::{FieldValidation, Query, WriteOptions},
    server::Server,
    settings::Settings,
    status::Failure,
    table::Include,
};

/// A server that remembers little of what happened.
struct World {
    server: Server,
    _dir: tempfile::TempDir,
}

const MAPS: fn() -> Place<'static> =
    || Place { kind: kind::by_plural("", "configmaps").expect("a kind"), namespace: "default" };

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let keep = Keep { events: 24, snapshots: 0, ..Keep::default() };
        let options = Options { keep, ..Options::default() };
        let objects = Objects::open_sqlite(&dir.path().join("kube.db"), options).await.expect("objects");
        let settings = Settings {
            version: "0".to_owned(),
            advertised: ([127, 0, 0, 1].into(), 6443),
            dns: None,
            service_ranges: vec!["10.96.0.0/16".parse().expect("a network")],
            node_ports: (30_000, 32_767),
            load_balancer_pools: Vec::new(),
            pod_ranges: Vec::new(),
            domain: "cluster.local".to_owned(),
        };
        let names = ServerNames::default();
        let opening =
            Opening { objects, pki: dir.path().join("pki"), settings, names, gateway: (Vec::new(), Started::ByOthers) };
        let api = ApiServer::open(opening).await.expect("a server");
        Self { server: api.server().clone(), _dir: dir }
    }

    async fn create(&self, object: Value, options: &WriteOptions) -> Result<Value, Failure> {
        create::create(&self.server, MAPS(), &user(), object, options).await.map(|written| written.object)
    }

    async fn make(&self, names: &[&str]) {
        for name in names {
            let object = json!({ "metadata": { "name": name, "labels": { "name": name } } });
            self.create(object, &options()).await.expect("it is made");
        }
    }

    /// Changes an object until what was so before is forgotten.
    async fn forget(&self) {
        for count in 0..64 {
            self.change("b", json!({ "data": { "count": count.to_string() } })).await.expect("it is changed");
        }
        // The last moment that was asked for is kept, so another is asked for.
        let last = self.server.objects.cached().revision.0 - 1;
        let last = self.list(&format!("resourceVersion={last}&resourceVersionMatch=Exact")).await;
        last.expect("that is not forgotten");
    }

    async fn change(&self, name: &str, patch: Value) -> Result<Value, Failure> {
        let options = options();
        let asked = Update { name, user: &user(), part: Part::Whole, options: &options };
        patch::patch(&self.server, MAPS(), &asked, &Patch::Merge(patch)).await.map(|written| written.object)
    }

    async fn list(&self, query: &str) -> Result<(Vec<String>, Value), Failure> {
        let (kind, query) = (MAPS().kind, Query::parse(Some(query)));
        let filter = Filter::read(kind, &query)?;
        let page = list::list(&self.server, kind, Some("default"), &filter, &query).await?;
        Ok((page.items.iter().map(|item| meta::name(&kind.decode(item)).to_owned()).collect(), page.metadata()))
    }

    async fn names(&self) -> Vec<String> {
        self.list("").await.expect("a list").0
    }

    /// The first events that a watch tells, as type and name.
    async fn watch(&self, query: &str, count: usize) -> Vec<Value> {
        let query = Query::parse(Some(query));
        let filter = Filter::read(MAPS().kind, &query).expect("a filter");
        let namespace = Some("default".to_owned());
        let asked =
            watch::Asked { kind: MAPS().kind, namespace, filter, form: Form::Whole, include: Include::default() };
        let mut body = watch::watch(&self.server, asked, &query).await.expect("a watch").into_body();
        let mut told = Vec::new();
        while told.len() < count {
            let Some(Ok(frame)) = body.frame().await else { break };
            let text = frame.into_data().expect("data");
            told.extend(
                text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok()),
            );
        }
        told
    }
}

fn user() -> User {
    User::internal("tester")
}

fn options() -> WriteOptions {
    WriteOptions::internal("tester")
}

fn told<T: std::fmt::Debug>(outcome: Result<T, Failure>) -> (u16, String) {
    let failure = outcome.expect_err("it is refused");
    (failure.code, failure.message)
}

#[tokio::test]
async fn pages_are_of_one_moment() {
    let world = World::new().await;
    world.make(&["a", "b", "c", "d", "e"]).await;
    let (first, metadata) = world.list("limit=2").await.expect("a page");
    assert_eq!((first, metadata.int("remainingItemCount")), (vec!["a".to_owned(), "b".to_owned()], Some(3)));
    let next = format!("limit=2&continue={}", metadata.text("continue"));
    delete::delete(&world.server, MAPS(), "c", &DeleteOptions::default()).await.expect("it goes");
    world.make(&["c2", "f"]).await;
    let (second, metadata) = world.list(&next).await.expect("a page");
    assert_eq!(second, ["c", "d"]);
    let (third, metadata) =
        world.list(&format!("limit=2&continue={}", metadata.text("continue"))).await.expect("a page");
    assert_eq!((third, metadata.text("continue")), (vec!["e".to_owned()], ""));
    assert_eq!(world.names().await, ["a", "b", "c2", "d", "e", "f"]);
    // What is no longer known is refused, with a way on.
    world.forget().await;
    let failure = world.list(&next).await.expect_err("it is too old");
    assert_eq!((failure.code, failure.reason), (410, "Expired"));
    let resumed = format!("continue={}", failure.body().text("metadata.continue"));
    assert_eq!(world.list(&resumed).await.expect("the rest").0, ["c2", "d", "e", "f"]);
}

#[tokio::test]
async fn lists_are_of_the_version_that_is_asked_for() {
    let world = World::new().await;
    world.make(&["a"]).await;
    let version = world.list("").await.expect("a list").1.text("resourceVersion").to_owned();
    world.make(&["b"]).await;
    let exact = format!("resourceVersion={version}&resourceVersionMatch=Exact");
    assert_eq!(world.list(&exact).await.expect("a list").0, ["a"]);
    let not_older = format!("resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    assert_eq!(world.list(&not_older).await.expect("a list").0, ["a", "b"]);
    world.forget().await;
    assert_eq!(told(world.list(&exact).await).0, 410);
    assert_eq!(told(world.list("resourceVersion=x").await).0, 400);
}

#[tokio::test]
async fn only_what_is_meant_is_deleted() {
    let world = World::new().await;
    world.make(&["a", "b", "c"]).await;
    let delete =
        async |name: &'static str, options: DeleteOptions| delete::delete(&world.server, MAPS(), name, &options).await;
    let uid = DeleteOptions { uid: Some("other".to_owned()), ..DeleteOptions::default() };
    let (code, message) = told(delete("a", uid).await);
    assert_eq!(code, 409);
    assert!(message.starts_with(
        "Operation cannot be fulfilled on configmaps \"a\": Precondition failed: UID in precondition: other"
    ));
    let version = DeleteOptions { resource_version: Some("1".to_owned()), ..DeleteOptions::default() };
    assert_eq!(told(delete("a", version).await).0, 409);
    let dry = DeleteOptions { dry_run: true, ..DeleteOptions::default() };
    delete("a", dry.clone()).await.expect("it would go");
    assert_eq!(told(delete("x", DeleteOptions::default()).await).0, 404);
    let many = async |query: &'static str, options: &DeleteOptions| {
        let query = Query::parse(Some(query));
        collection::delete(&world.server, MAPS().kind, Some("default"), &query, options).await.expect("they go").len()
    };
    assert_eq!(many("labelSelector=name in (a,b)", &dry).await, 2);
    assert_eq!(world.names().await, ["a", "b", "c"]);
    assert_eq!(many("labelSelector=name in (a,b)", &DeleteOptions::default()).await, 2);
    assert_eq!(many("fieldSelector=metadata.name=x", &DeleteOptions::default()).await, 0);
    assert_eq!(world.names().await, ["c"]);
}

#[tokio::test]
async fn writes_that_only_try_leave_no_trace() {
    let world = World::new().await;
    world.make(&["a"]).await;
    let before = world.server.objects.cached().revision;
    let dry = WriteOptions { dry_run: true, ..options() };
    let tried = world.create(json!({ "metadata": { "generateName": "x-" } }), &dry).await.expect("it could be made");
    assert!(meta::name(&tried).starts_with("x-") && !tried.text("metadata.uid").is_empty());
    let (user, name) = (user(), "a");
    let asked = Update { name, user: &user, part: Part::Whole, options: &dry };
    let whole = json!({ "metadata": { "name": "a" }, "data": { "k": "v" } });
    let tried = update::update(&world.server, MAPS(), &asked, update::whole(&whole)).await.expect("it could be");
    assert_eq!(tried.object.text("data.k"), "v");
    for patch in [Patch::Merge(whole.clone()), Patch::Strategic(whole.clone()), Patch::Apply(whole.clone())] {
        let tried = patch::patch(&world.server, MAPS(), &asked, &patch).await.expect("it could be");
        assert_eq!(tried.object.text("data.k"), "v", "{patch:?}");
    }
    assert_eq!(world.server.objects.cached().revision, before);
    assert_eq!(read::object(&world.server, MAPS(), "a").await.expect("it is there").at("data"), None);
}

#[tokio::test]
async fn what_is_written_is_checked() {
    let world = World::new().await;
    world.make(&["a"]).await;
    let strict = |twice: &[&str]| WriteOptions {
        validation: FieldValidation::Strict,
        twice: twice.iter().map(|one| (*one).to_owned()).collect(),
        ..options()
    };
    let object = json!({ "metadata": { "name": "b" }, "x": 1 });
    let (code, message) =
        told(world.create(object, &strict(&["duplicate field \"x\"", "duplicate field \"data\""])).await);
    let expected = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: \
                    duplicate field \"data\", unknown field \"x\"";
    assert_eq!((code, message.as_str()), (400, expected));
    let version = |version: &str| json!({ "metadata": { "resourceVersion": version }, "data": { "v": version } });
    assert_eq!(told(world.change("a", version("1")).await).0, 409);
    assert_eq!(world.change("a", version("0")).await.expect("any version will do").text("data.v"), "0");
    let asked = Update { name: "a", user: &user(), part: Part::Whole, options: &options() };
    let patch = Patch::Strategic(json!({ "metadata": { "labels": "invalid" } }));
    let (code, message) = told(patch::patch(&world.server, MAPS(), &asked, &patch).await);
    let expected =
        " \"\" is invalid: patch: Invalid value: \"map[metadata:map[labels:invalid]]\": cannot restore map from string";
    assert_eq!((code, message.as_str()), (422, expected));
    let namespaces = Place { kind: kind::by_plural("", "namespaces").expect("a kind"), namespace: "" };
    let kept = delete::delete(&world.server, namespaces, "default", &DeleteOptions::default()).await;
    let expected = "namespaces \"default\" is forbidden: this namespace may not be deleted";
    assert_eq!(told(kept), (403, expected.to_owned()));
}

#[tokio::test]
async fn what_is_wrong_with_an_object_is_told_before_that_its_name_is_taken() {
    let world = World::new().await;
    let check = async |(group, plural): (&str, &str), good: Value, bad: Value, words: &str| {
        let kind = kind::by_plural(group, plural).expect("a kind");
        let place = Place { kind, namespace: if kind.scope == kind::Scope::Namespaced { "default" } else { "" } };
        let make = async |object: Value| create::create(&world.server, place, &user(), object, &options()).await;
        make(good.clone()).await.expect("it is made");
        let (code, message) = told(make(bad).await);
        assert!(code == 422 && message.contains(words), "{code} {message}");
        told(make(good).await)
    };
    let map = |key: &str| json!({ "metadata": { "name": "a" }, "data": { key: "v" } });
    let twice = check(("", "configmaps"), map("k"), map("a key"), "data[a key]: Invalid value").await;
    assert_eq!(twice, (409, "configmaps \"a\" already exists".to_owned()));
    let service = |port: u32| json!({ "metadata": { "name": "a" }, "spec": { "ports": [{ "port": port }] } });
    let twice = check(("", "services"), service(80), service(70_000), "must be between 1 and 65535").await;
    assert_eq!(twice, (409, "services \"a\" already exists".to_owned()));
    // Its port is taken, if only by the one of its name.
    let spec = json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30080 }] });
    let service = json!({ "metadata": { "name": "b" }, "spec": spec });
    let words = "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated";
    let twice = check(("", "services"), service.clone(), service, words).await;
    assert_eq!(twice, (422, format!("Service \"b\" is invalid: {words}")));
}

#[tokio::test]
async fn a_new_node_gets_no_pods_before_it_is_ready() {
    let world = World::new().await;
    let nodes = Place { kind: kind::by_plural("", "nodes").expect("a kind"), namespace: "" };
    let node = json!({ "metadata": { "name": "one" } });
    let made = create::create(&world.server, nodes, &user(), node, &options()).await.expect("it is made");
    assert_eq!(
        made.object.at("spec.taints"),
        Some(&json!([{ "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule" }]))
    );
}

#[tokio::test]
async fn watches_begin_where_they_are_asked_to() {
    let world = World::new().await;
    world.make(&["a"]).await;
    let shown = |events: &[Value]| -> Vec<String> {
        events.iter().map(|event| format!("{} {}", event.text("type"), meta::name(&event["object"]))).collect()
    };
    let initial = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    let events = world.watch(initial, 2).await;
    assert_eq!(shown(&events), ["ADDED a", "BOOKMARK "]);
    let annotations = &events[1]["object"]["metadata"]["annotations"];
    assert_eq!(annotations["k8s.io/initial-events-end"], "true");
    let version = world.list("").await.expect("a list").1.text("resourceVersion").to_owned();
    world.make(&["b"]).await;
    world.change("b", json!({ "metadata": { "labels": { "name": "c" } } })).await.expect("it is changed");
    delete::delete(&world.server, MAPS(), "b", &DeleteOptions::default()).await.expect("it goes");
    let since = format!("watch=1&resourceVersion={version}");
    assert_eq!(shown(&world.watch(&since, 3).await), ["ADDED b", "MODIFIED b", "DELETED b"]);
    // Who leaves the selection is deleted to the eyes of who selects.
    assert_eq!(shown(&world.watch(&format!("{since}&labelSelector=name=b"), 2).await), ["ADDED b", "DELETED b"]);
    world.make(&["b"]).await;
    world.forget().await;
    let events = world.watch(&since, 1).await;
    assert_eq!((events[0].text("type"), events[0].int("object.code")), ("ERROR", Some(410)));
}
