//! The verbs of kubectl that reach into what runs: logs, attach, cp, debug, proxy, events.

use conformance::{Cluster, eventually};

/// A pod of two containers, and one that says what it hears until nobody speaks any more.
const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: { name: talk, labels: { app: talk } }
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: busybox:1
    command: [sh, -c, 'echo first; echo second; exec httpd -f -p 8080 -h /var/www']
    ports: [{ name: http, containerPort: 8080 }]
  - name: side
    image: busybox:1
    command: [sh, -c, 'echo beside; exec sleep 1000']
---
apiVersion: v1
kind: Pod
metadata: { name: echo }
spec:
  restartPolicy: Never
  containers:
  - name: echo
    image: busybox:1
    stdin: true
    stdinOnce: true
    command: [sh, -c, 'while read line; do echo \"heard $line\"; done']";

#[test]
fn what_runs_is_read_fed_and_reached() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply(PODS).ok();
    cluster.kubectl("wait --for=condition=Ready pod/talk pod/echo --timeout=50s").ok();
    logs(&cluster);
    let heard = cluster.host.sh(
        "export KUBECONFIG=/run/linkspan/kubeconfig; printf 'one\\ntwo\\n' | timeout 50 kubectl attach -i echo 2>/dev/null",
    );
    assert_eq!(heard.ok(), "heard one\nheard two");
    cluster.kubectl("wait --for=jsonpath='{.status.phase}'=Succeeded pod/echo --timeout=50s").ok();
    copies(&cluster);
    cluster.kubectl("debug talk -c helper --image=busybox:1 --target=web --profile=general -- echo from-debug").ok();
    let debugged = || Some(cluster.kubectl("logs talk -c helper").out).filter(|said| said.trim() == "from-debug");
    eventually("the debugging container speaks", debugged);
    proxies(&cluster);
    events(&cluster);
    cluster.kubectl("top pod").fails_with("Metrics API not available");
    assert_eq!(cluster.kubectl("delete pod talk --now").ok(), "pod \"talk\" deleted");
}

fn logs(cluster: &Cluster) {
    let check = |words: &str, expected: &str| {
        assert_eq!(cluster.kubectl(&format!("logs {words} 2>/dev/null")).ok(), expected, "{words}");
    };
    let both = "[pod/talk/web] first\n[pod/talk/web] second\n[pod/talk/side] beside";
    eventually("all have spoken", || {
        (cluster.kubectl("logs talk --all-containers --prefix").ok() == both).then_some(())
    });
    check("talk", "first\nsecond");
    check("talk -c side", "beside");
    check("talk -c web --tail=1", "second");
    check("talk -c web --since=1h", "first\nsecond");
    check("talk -c web --since-time=2099-01-01T00:00:00Z", "");
    // kubectl asks for the containers in an order that changes.
    let of_all = cluster.kubectl("logs -l app=talk --all-containers --tail=-1").ok();
    assert!(["first\nsecond\nbeside", "beside\nfirst\nsecond"].contains(&of_all.as_str()), "{of_all}");
    cluster.kubectl("logs talk -c none").fails_with("container none is not valid for pod talk");
    cluster
        .kubectl("logs talk -c web --previous")
        .fails_with("(BadRequest): previous terminated container \"web\" in pod \"talk\" not found");
}

fn copies(cluster: &Cluster) {
    let file = cluster.host.path().join("file");
    std::fs::write(&file, "there and back").expect("a file is written");
    cluster.kubectl(&format!("cp {} talk:/tmp/file -c web", file.display())).ok();
    assert_eq!(cluster.kubectl("exec talk -c web -- cat /tmp/file").ok(), "there and back");
    cluster.kubectl(&format!("cp talk:tmp/file {}.back -c web", file.display())).ok();
    assert_eq!(cluster.host.sh(&format!("cat {}.back", file.display())).ok(), "there and back");
}

fn proxies(cluster: &Cluster) {
    cluster.kubectl("expose pod talk --port=80 --target-port=http").ok();
    let place = "/api/v1/namespaces/default";
    let served =
        || (cluster.kubectl(&format!("get --raw {place}/services/talk:80/proxy/")).out == "hello\n").then_some(());
    eventually("the service is reached through the API", served);
    for path in ["pods/http:talk:8080/proxy/", "pods/talk/proxy/index.html"] {
        assert_eq!(cluster.kubectl(&format!("get --raw {place}/{path}")).ok(), "hello");
    }
    cluster.kubectl(&format!("get --raw {place}/services/talk:81/proxy/")).fails_with("no endpoints available");
    let node = cluster.kubectl("get nodes -o 'jsonpath={.items[0].metadata.name}'").ok();
    assert_eq!(cluster.kubectl(&format!("get --raw /api/v1/nodes/{node}/proxy/healthz")).ok(), "ok");
    let through = format!(
        "export KUBECONFIG=/run/linkspan/kubeconfig; kubectl proxy --port=8099 >/dev/null & proxy=$!
         for try in $(seq 100); do curl -sf 127.0.0.1:8099{place}/pods/talk:8080/proxy/ && break; sleep 0.1; done
         kill $proxy"
    );
    assert_eq!(cluster.host.sh(&through).out.trim(), "hello");
}

/// What one group is told the other tells too.
fn events(cluster: &Cluster) {
    assert!(cluster.kubectl("events --for pod/talk").ok().contains("Scheduled"));
    let names = |words: &str| cluster.kubectl(&format!("get {words} -o 'jsonpath={{.items[*].metadata.name}}'")).ok();
    let core = names("events --field-selector involvedObject.name=talk,reason=Scheduled");
    assert!(core.starts_with("talk."), "{core}");
    assert_eq!(names("events.v1.events.k8s.io --field-selector regarding.name=talk,reason=Scheduled"), core);
    let young = "
apiVersion: events.k8s.io/v1
kind: Event
metadata: { name: young, namespace: default }
eventTime: '2026-01-01T00:00:00.000000Z'
regarding: { apiVersion: v1, kind: Pod, name: talk, namespace: default }
reportingController: example.com/tester
reportingInstance: tester-1
action: Testing
reason: Tested
type: Normal
note: all is well";
    let made = cluster.kubectl(&format!("create -f - <<'END'\n{young}\nEND"));
    assert_eq!(made.ok(), "event.events.k8s.io/young created");
    let told = cluster.kubectl("get events --field-selector reason=Tested --no-headers").ok();
    assert!(told.ends_with("Normal   Tested   pod/talk   all is well"), "{told}");
    assert_eq!(cluster.kubectl("delete event young").ok(), "event \"young\" deleted");
    assert_eq!(names("events.v1.events.k8s.io --field-selector reason=Tested"), "");
}
