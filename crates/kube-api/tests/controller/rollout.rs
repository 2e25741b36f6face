//! Rollouts by all controllers together in a world without IO: their ends, and what never happens on the way.

use std::time::Duration;

use super::world::{DEPLOYMENT, World, image, is_ready};
use kube_api::controller::Propagation;
use proptest::prelude::*;
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn deployed(spec: Value) -> World {
    let mut world = World::new();
    world.deploy(spec);
    world.settle(MINUTE);
    world
}

fn images(world: &World) -> Vec<String> {
    world.active().into_iter().map(|(image, _)| image).collect()
}

fn revision(object: &Value) -> &str {
    object["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str().unwrap_or_default()
}

fn spec(replicas: i32) -> Value {
    json!({"replicas": replicas, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10})
}

#[test]
fn a_first_rollout_tells_that_it_is_complete() {
    let world = deployed(spec(3));
    assert_eq!(images(&world), ["v1"; 3]);
    let status = &world.get(DEPLOYMENT)["status"];
    for field in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
        assert_eq!(status[field], 3, "{field}");
    }
    assert_eq!(status["observedGeneration"], 1);
    let set = world.list("/apps/replicasets/").next().unwrap()["metadata"]["name"].as_str().unwrap().to_string();
    let done =
        ("True".into(), "NewReplicaSetAvailable".into(), format!("ReplicaSet {set:?} has successfully progressed."));
    assert_eq!(world.condition("Progressing"), done);
    assert_eq!(world.condition("Available").1, "MinimumReplicasAvailable");
    let said: Vec<_> = world.events.iter().map(|event| event.message.as_str()).collect();
    assert!(said.contains(&format!("Scaled up replica set {set} from 0 to 3").as_str()), "{said:?}");
}

#[test]
fn update_undo_and_history() {
    let mut world = deployed(spec(3));
    world.set_image("v2");
    world.settle(MINUTE);
    assert_eq!(images(&world), ["v2"; 3]);
    assert_eq!(revision(world.get(DEPLOYMENT)), "2");
    world.set_image("v1");
    world.settle(MINUTE);
    assert_eq!(images(&world), ["v1"; 3]);
    assert_eq!(revision(world.get(DEPLOYMENT)), "3");
    let sets: Vec<_> = world.list("/apps/replicasets/").collect();
    assert_eq!(sets.len(), 2, "an undo takes the old set again");
    let mut revisions: Vec<_> = sets.iter().map(|set| revision(set)).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, ["2", "3"]);
    let history = |set: &&&Value| set["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1";
    assert_eq!(sets.iter().filter(history).count(), 1);
}

#[test]
fn old_sets_beyond_the_limit_go() {
    let mut world = deployed(json!({"replicas": 1, "revisionHistoryLimit": 1, "progressDeadlineSeconds": 600}));
    for image in ["v2", "v3", "v4"] {
        world.set_image(image);
        world.settle(MINUTE);
    }
    let mut revisions: Vec<_> = world.list("/apps/replicasets/").map(revision).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, ["3", "4"]);
}

#[test]
fn a_rollout_that_makes_no_progress_times_out_and_an_undo_heals_it() {
    let mut world = deployed(spec(4));
    world.set_image("bad");
    world.settle(HOUR);
    assert_eq!(world.condition("Progressing").1, "ProgressDeadlineExceeded");
    assert_eq!(world.active().iter().filter(|(_, ready)| *ready).count(), 3, "4 with 25% unavailable");
    world.set_image("v1");
    world.settle(HOUR);
    assert_eq!(images(&world), ["v1"; 4]);
    assert_eq!(world.condition("Progressing").1, "NewReplicaSetAvailable");
}

#[test]
fn nothing_rolls_while_paused() {
    let mut world = deployed(spec(2));
    world.edit(DEPLOYMENT, |object| object["spec"]["paused"] = true.into());
    world.settle(MINUTE);
    assert_eq!(world.condition("Progressing").1, "DeploymentPaused");
    world.set_image("v2");
    world.edit(DEPLOYMENT, |object| object["spec"]["replicas"] = 3.into());
    world.settle(HOUR);
    assert_eq!(images(&world), ["v1"; 3], "it is scaled all the same");
    world.edit(DEPLOYMENT, |object| object["spec"]["paused"] = false.into());
    world.settle(HOUR);
    assert_eq!(images(&world), ["v2"; 3]);
}

#[test]
fn a_scaling_in_the_middle_of_a_rollout_is_shared() {
    let mut world =
        deployed(json!({"replicas": 10, "progressDeadlineSeconds": 600, "strategy": {"type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}}));
    world.set_image("bad");
    world.settle(MINUTE);
    let sizes = |world: &World| -> Vec<(String, i64)> {
        let sets = world.list("/apps/replicasets/");
        let mut sizes: Vec<_> = sets
            .map(|set| {
                let image = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_string();
                (image, set["spec"]["replicas"].as_i64().unwrap())
            })
            .collect();
        sizes.sort();
        sizes
    };
    assert_eq!(sizes(&world), [("bad".into(), 5), ("v1".into(), 8)]);
    world.edit(DEPLOYMENT, |object| object["spec"]["replicas"] = 15.into());
    world.settle(MINUTE);
    assert_eq!(sizes(&world), [("bad".into(), 7), ("v1".into(), 11)], "as in Kubernetes' documentation");
}

#[test]
fn to_nothing_and_back() {
    let mut world = deployed(spec(3));
    for replicas in [0, 5] {
        world.edit(DEPLOYMENT, |object| object["spec"]["replicas"] = replicas.into());
        world.settle(MINUTE);
        assert_eq!(world.active().len(), usize::try_from(replicas).unwrap());
    }
}

#[test]
fn a_deployment_takes_everything_along() {
    for propagation in [None, Some(Propagation::Background), Some(Propagation::Foreground)] {
        let mut world = deployed(spec(3));
        world.delete(DEPLOYMENT, propagation, None);
        world.settle(MINUTE);
        let left: Vec<_> = world.objects.keys().filter(|key| !key.starts_with("/core/nodes/")).collect();
        assert!(left.is_empty(), "{propagation:?}: {left:?}");
    }
    let mut world = deployed(spec(3));
    world.delete(DEPLOYMENT, Some(Propagation::Orphan), None);
    world.settle(MINUTE);
    assert_eq!(world.active().len(), 3);
    assert_eq!(world.list("/apps/replicasets/").filter(|set| set["metadata"]["ownerReferences"].is_null()).count(), 1);
}

#[test]
fn a_daemon_set_is_where_the_nodes_are_and_rolls() {
    for rolling in [json!({"maxUnavailable": 1}), json!({"maxSurge": 1, "maxUnavailable": 0})] {
        let mut world = World::new();
        let labels = json!({"app": "agent"});
        world.create(json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": {
            "selector": {"matchLabels": labels}, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "agent", "image": "v1"}]}}}}));
        world.settle(MINUTE);
        assert_eq!(images(&world), ["v1"], "{rolling}");
        world.edit("/apps/daemonsets/default/agent", |set| {
            set["spec"]["template"]["spec"]["containers"][0]["image"] = "v2".into()
        });
        world.settle(MINUTE);
        assert_eq!(images(&world), ["v2"], "{rolling}");
        let status = &world.get("/apps/daemonsets/default/agent")["status"];
        assert_eq!((&status["updatedNumberScheduled"], &status["numberAvailable"]), (&json!(1), &json!(1)));
        assert_eq!(world.list("/apps/controllerrevisions/").count(), 2);
    }
}

/// What a user does in the middle of something else.
#[derive(Debug, Clone)]
enum Act {
    Image(&'static str),
    Scale(i32),
    Pause(bool),
}

#[derive(Debug, Clone)]
struct Story {
    replicas: i32,
    strategy: Value,
    acts: Vec<Act>,
    /// Who is next, among all who could be.
    turns: Vec<u16>,
}

fn story(scales: bool) -> impl Strategy<Value = Story> {
    let amount = || prop_oneof![(0..4_i32).prop_map(Value::from), (0..=100_i32).prop_map(|n| format!("{n}%").into())];
    let rolling = (amount(), amount()).prop_map(|(surge, unavailable)| {
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
    });
    let strategy = prop_oneof![4 => rolling, 1 => Just(json!({"type": "Recreate"}))];
    let image = prop::sample::select(vec!["v1", "v2", "v3", "bad"]).prop_map(Act::Image);
    let act = if scales {
        prop_oneof![3 => image, 2 => (0..7).prop_map(Act::Scale), 1 => any::<bool>().prop_map(Act::Pause)].boxed()
    } else {
        image.boxed()
    };
    let turns = prop::collection::vec(any::<u16>(), 0..400);
    (1..7, strategy, prop::collection::vec(act, 1..5), turns).prop_map(|(replicas, strategy, acts, turns)| Story {
        replicas,
        strategy,
        acts,
        turns,
    })
}

/// `maxSurge` and `maxUnavailable` as numbers, computed here once more.
fn limits(story: &Story) -> (i32, i32) {
    let rolling = &story.strategy["rollingUpdate"];
    let number = |value: &Value, up: bool| match value.as_str() {
        None => i32::try_from(value.as_i64().unwrap()).unwrap(),
        Some(text) => {
            let product = text.trim_end_matches('%').parse::<i32>().unwrap() * story.replicas;
            if up { (product + 99) / 100 } else { product / 100 }
        }
    };
    let (surge, unavailable) = (number(&rolling["maxSurge"], true), number(&rolling["maxUnavailable"], false));
    (surge, if surge == 0 { unavailable.max(1) } else { unavailable })
}

fn act(world: &mut World, act: &Act) {
    match act {
        Act::Image(image) => world.set_image(image),
        Act::Scale(replicas) => world.edit(DEPLOYMENT, |object| object["spec"]["replicas"] = (*replicas).into()),
        Act::Pause(paused) => world.edit(DEPLOYMENT, |object| object["spec"]["paused"] = (*paused).into()),
    }
}

/// Plays the acts between the turns of controllers and kubelet, in the order of the story; looks after each of them.
fn play(world: &mut World, story: &Story, look: impl Fn(&World)) {
    let mut acts = story.acts.iter();
    for turn in &story.turns {
        let keys: Vec<_> = world.keys.iter().cloned().collect();
        let pods = world.busy_pods();
        let choices = keys.len() + pods.len() + 1;
        match usize::from(*turn) % choices {
            index if index < keys.len() => world.reconcile(&keys[index]),
            index if index < keys.len() + pods.len() => world.kubelet(&pods[index - keys.len()]),
            _ => {
                if let Some(next) = acts.next() {
                    act(world, next);
                }
            }
        }
        look(world);
    }
    acts.for_each(|next| act(world, next));
}

/// In the end there is what was asked for last.
fn check_end(world: &mut World) {
    world.edit(DEPLOYMENT, |object| object["spec"]["paused"] = Value::Null);
    world.set_image("last");
    world.settle(HOUR);
    let replicas = world.get(DEPLOYMENT)["spec"]["replicas"].as_i64().unwrap();
    assert_eq!(images(world), vec!["last"; usize::try_from(replicas).unwrap()]);
    let deployment = world.get(DEPLOYMENT);
    assert_eq!(deployment["status"]["updatedReplicas"].as_i64().unwrap_or(0), replicas);
    assert_eq!(deployment["status"]["observedGeneration"], deployment["metadata"]["generation"]);
    assert_eq!(world.condition("Progressing").1, "NewReplicaSetAvailable");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_too_many_and_never_too_few(story in story(false)) {
        let mut spec = spec(story.replicas);
        spec["strategy"] = story.strategy.clone();
        let mut world = deployed(spec);
        let recreates = story.strategy["type"] == "Recreate";
        play(&mut world, &story, |world| {
            let pods = world.active();
            if recreates {
                let alive: std::collections::BTreeSet<_> = world.list("/core/pods/").map(image).collect();
                assert!(alive.len() <= 1, "{alive:?} live together");
                return;
            }
            let (surge, unavailable) = limits(&story);
            let available = i32::try_from(pods.iter().filter(|(_, ready)| *ready).count()).unwrap();
            let total = i32::try_from(pods.len()).unwrap();
            assert!(total <= story.replicas + surge, "{total} pods: {pods:?}");
            assert!(available >= story.replicas - unavailable, "{available} available: {pods:?}");
        });
        check_end(&mut world);
    }

    #[test]
    fn whatever_happens_it_ends_well(story in story(true)) {
        let mut spec = spec(story.replicas);
        spec["strategy"] = story.strategy.clone();
        let mut world = deployed(spec);
        play(&mut world, &story, |_| ());
        check_end(&mut world);
        assert!(world.list("/core/pods/").all(is_ready));
    }
}
