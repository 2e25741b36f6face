//! Images of pods with the real kubectl: when they are pulled, with whose password, and what is said when they are not to be had.

use std::{fs, process::Command};

use conformance::{Cluster, Host, eventually};

const REGISTRY: &str = "127.0.0.1:5000";
/// A user and a password, with its bcrypt hash as htpasswd(1) writes it.
const USER: &str = "ali";
const PASSWORD: &str = "sesame";
const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O";

#[test]
fn images_are_pulled_as_the_pod_says() {
    if Command::new("docker-registry").arg("--version").output().is_err() {
        eprintln!("SKIPPED: docker-registry is missing: apt-get install docker-registry");
        return;
    }
    let Some(cluster) = Cluster::start() else { return };
    start_registry(&cluster.host);
    cluster.host.docker(&format!("login -u {USER} -p {PASSWORD} {REGISTRY}")).ok();
    for tag in ["1", "2"] {
        let name = format!("{REGISTRY}/shop:{tag}");
        cluster.host.docker(&format!("tag busybox {name}")).ok();
        cluster.host.docker(&format!("push -q {name}")).ok();
        cluster.host.docker(&format!("rmi {name}")).ok();
    }
    with_a_secret(&cluster);
    when(&cluster);
    refused(&cluster);
}

/// A registry that lets in one user.
fn start_registry(host: &Host) {
    let path = |name: &str| host.path().join(name);
    fs::write(path("htpasswd"), format!("{USER}:{HASH}\n")).expect("it is written");
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{REGISTRY}\"}}\n\
         auth: {{htpasswd: {{realm: cave, path: {}}}}}\n",
        path("registry").display(),
        path("htpasswd").display()
    );
    fs::write(path("registry.yml"), text).expect("it is written");
    // It ends with the host's process namespace.
    host.sh(&format!("docker-registry serve {} </dev/null >/dev/null 2>&1 &", path("registry.yml").display())).ok();
    let ask = format!("curl -s -u {USER}:{PASSWORD} {REGISTRY}/v2/");
    eventually("the registry answers", || (host.sh(&ask).out.trim() == "{}").then_some(()));
}

fn pod(cluster: &Cluster, name: &str, image: &str, more: &str) {
    let container = format!("{{ name: main, image: \"{image}\", command: [sleep, \"1000\"]{more} }}");
    let spec = format!(
        "{{ terminationGracePeriodSeconds: 1, containers: [{container}], imagePullSecrets: [{{ name: door }}] }}"
    );
    cluster.apply(&format!("{{ apiVersion: v1, kind: Pod, metadata: {{ name: {name} }}, spec: {spec} }}")).ok();
}

fn message(cluster: &Cluster, pod: &str) -> String {
    cluster.field(pod, ".status.containerStatuses[0].state.waiting.message")
}

/// Without the password it is not to be had; with it, it is, and the pod comes without anybody's doing.
fn with_a_secret(cluster: &Cluster) {
    let image = format!("{REGISTRY}/shop:1");
    pod(cluster, "shop", &image, "");
    cluster.until_told("shop", &format!("Pulling Pulling image \"{image}\""));
    cluster.until_told("shop", &format!("Failed Failed to pull image \"{image}\": "));
    cluster.until_told("shop", "Failed Error: ErrImagePull");
    cluster.until_shown("shop", "ImagePullBackOff");
    let words = format!("Back-off pulling image \"{image}\": ErrImagePull: ");
    assert!(message(cluster, "shop").starts_with(&words), "{}", message(cluster, "shop"));
    cluster.until_told("shop", &format!("BackOff Back-off pulling image \"{image}\""));
    cluster.until_told("shop", "Failed Error: ImagePullBackOff");
    let make = format!("create secret docker-registry door --docker-server={REGISTRY} --docker-username={USER}");
    cluster.kubectl(&format!("{make} --docker-password={PASSWORD}")).ok();
    cluster.until_ready("shop");
    cluster.until_told("shop", &format!("Pulled Successfully pulled image \"{image}\" in "));
    assert!(cluster.field("shop", ".status.containerStatuses[0].imageID").contains("sha256:"));
}

fn when(cluster: &Cluster) {
    let image = format!("{REGISTRY}/shop:1");
    pod(cluster, "again", &image, "");
    cluster.until_told("again", &format!("Pulled Container image \"{image}\" already present on machine"));
    pod(cluster, "always", &image, ", imagePullPolicy: Always");
    cluster.until_ready("always");
    cluster.until_told("always", &format!("Pulled Successfully pulled image \"{image}\" in "));
    let other = format!("{REGISTRY}/shop:2");
    pod(cluster, "never", &other, ", imagePullPolicy: Never");
    cluster.until_shown("never", "ErrImageNeverPull");
    let words = format!("Container image \"{other}\" is not present with pull policy of Never");
    assert_eq!(message(cluster, "never"), words);
    cluster.until_told("never", &format!("ErrImageNeverPull {words}"));
    cluster.until_told("never", "Failed Error: ErrImageNeverPull");
    cluster.host.docker(&format!("pull -q {other}")).ok();
    cluster.until_ready("never");
}

fn refused(cluster: &Cluster) {
    pod(cluster, "no-such", &format!("{REGISTRY}/nothing:1"), "");
    cluster.until_told("no-such", &format!("Failed Failed to pull image \"{REGISTRY}/nothing:1\": "));
    pod(cluster, "no-name", "UPPER:1", "");
    cluster.until_shown("no-name", "InvalidImageName");
    let words = "Failed to apply default image tag \"UPPER:1\": couldn't parse image name \"UPPER:1\": invalid reference format";
    assert!(message(cluster, "no-name").starts_with(words), "{}", message(cluster, "no-name"));
    cluster.until_told("no-name", &format!("InspectFailed {words}"));
    cluster.until_told("no-name", "Failed Error: InvalidImageName");
}
