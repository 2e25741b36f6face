//! What serves Kubernetes is killed at random under a rollout with load.

use std::{net::SocketAddr, process::Command, thread, time::Duration};

use conformance::{Ask, Cluster, From, Host, eventually};

use crate::{deploy, many, until_served};

/// How often, usually.
const KILLS: u32 = 4;

/// Numbers that look like chance, the same for a seed: `LINKSPAN_SEED`.
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let seed = std::env::var("LINKSPAN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
        println!("LINKSPAN_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// A while, so that what comes next comes at any point of what goes on.
    fn pause(&mut self, up_to_ms: u64) {
        thread::sleep(Duration::from_millis(self.below(up_to_ms)));
    }
}

#[test]
fn the_daemon_is_killed_while_a_deployment_is_updated_and_serves() {
    let Some(cluster) = Cluster::start() else { return };
    survives(&cluster, |random| kill_daemon(&cluster.host, random));
}

#[test]
fn an_etcd_or_the_daemon_is_killed_while_a_deployment_is_updated_and_serves() {
    if Command::new("etcd").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no etcd");
        return;
    }
    let Some(host) = Host::empty() else { return };
    start_etcd(&host);
    let host = host.with_all_faces().with_arguments(&["--store", "etcd://127.0.0.1:2379"]);
    host.start_daemon();
    let Some(cluster) = Cluster::on(host) else { return };
    survives(&cluster, |random| {
        if random.below(2) == 0 {
            kill_daemon(&cluster.host, random);
        } else {
            cluster
                .host
                .sh("pid=$(pgrep -x etcd); kill -9 $pid; while kill -0 $pid 2>/dev/null; do sleep 0.01; done")
                .ok();
            random.pause(1000);
            start_etcd(&cluster.host);
        }
    });
}

fn start_etcd(host: &Host) {
    host.sh(&format!("etcd --data-dir {0}/etcd >>{0}/etcd.log 2>&1 &", host.path().display())).ok();
}

fn kill_daemon(host: &Host, random: &mut Random) {
    host.kill_daemon();
    random.pause(500);
    host.start_daemon();
}

/// A deployment is updated and scaled again and again, and each time something is killed and started, while clients ask without pause: it
/// comes to what was acknowledged last, and no request is lost.
fn survives(cluster: &Cluster, kill: impl Fn(&mut Random)) {
    deploy(cluster);
    let mut random = Random::seeded();
    let inside = cluster.kubectl("get service web -o jsonpath={.spec.clusterIP}").ok();
    let ask = |address: &str, port| {
        let address = SocketAddr::new(address.parse().expect("an address"), port);
        Ask { address, host: "web".to_owned(), kept: false, pause: Duration::from_millis(5) }
    };
    let loads = [
        ("a neighbour, at the node's port", cluster.host.load(From::Outside, 1, &ask("192.0.2.1", 30080))),
        ("the host, at the cluster's address", cluster.host.load(From::Host, 1, &ask(&inside, 80))),
    ];
    // What is acknowledged counts; what is not may or may not have been done, and is asked again.
    let told = |verb: &str, words: &str| {
        eventually("it is acknowledged", || {
            (cluster.kubectl(&format!("{verb} deployment/web {words}")).code == 0).then_some(())
        });
    };
    let kills = many(KILLS);
    let (mut version, mut replicas) = (0, 3);
    for round in 0..kills {
        version += 1;
        told("set env", &format!("VERSION={version}"));
        if round % 3 == 2 {
            replicas = 2 + random.below(3);
            told("scale", &format!("--replicas={replicas}"));
        }
        // Somewhere in the rollout.
        random.pause(1500);
        kill(&mut random);
    }
    eventually("the rollout is over", || {
        (cluster.kubectl("rollout status deployment/web --timeout=30s").code == 0).then_some(())
    });
    let path = "{.spec.template.spec.containers[0].env[0].value} {.status.readyReplicas} {.status.updatedReplicas}";
    let said = cluster.kubectl(&format!("get deployment web -o 'jsonpath={path}'")).ok();
    assert_eq!(said, format!("{version} {replicas} {replicas}"), "the last that was acknowledged");
    eventually("only pods of the last version are left, each with one container", || {
        let pods = cluster.kubectl("get pods -o name").ok().lines().count() as u64;
        let containers = cluster.host.docker("ps -q").ok().lines().count() as u64;
        (pods == replicas && containers == pods).then_some(())
    });
    until_served(cluster, &version.to_string());
    for (name, load) in loads {
        let tally = load.ends();
        println!("{kills} kills: {name}: {} requests, {} lost", tally.answered, tally.lost.len());
        assert!(tally.answered > 0 && tally.lost.is_empty(), "{name}: {tally:?}");
    }
    assert_eq!(cluster.host.linkspan("diff").ok(), "The kernel is as it must be.");
}
