//! What pods say and are told, with the real kubectl: logs, exec, attach, cp and port-forward.

use conformance::{Cluster, eventually_fits};

#[test]
fn logs_and_streams() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply_file("logs.yaml");
    for pod in ["talks", "again"] {
        cluster.until_ready(pod);
    }
    logs(&cluster);
    previous(&cluster);
    refused(&cluster);
    following(&cluster);
    streams(&cluster);
    copies(&cluster);
}

fn logs(cluster: &Cluster) {
    let all = cluster.kubectl("logs talks -c many").ok();
    assert_eq!((all.lines().next(), all.lines().count()), (Some("line 1"), 21));
    assert_eq!(cluster.kubectl("logs talks -c many --tail=2").ok().lines().count(), 2);
    assert_eq!(cluster.kubectl("logs talks -c many --tail=0").ok(), "");
    assert_eq!(cluster.kubectl("logs talks -c many --limit-bytes=9").ok(), "line 1\nli");
    assert_eq!(cluster.kubectl("logs talks -c many --since=1h").ok().lines().count(), 21);
    assert_eq!(cluster.kubectl("logs talks -c many --since-time=2099-01-01T00:00:00Z").ok(), "");
    let stamped = cluster.kubectl("logs talks -c many --timestamps").ok();
    let (time, line) = stamped.lines().next().and_then(|line| line.split_once(' ')).expect("a time and a line");
    assert!(time.ends_with('Z') && time.contains('T') && line == "line 1", "{time} {line}");
    let later = cluster.kubectl(&format!("logs talks -c many --since-time={time}")).ok();
    assert_eq!(later.lines().next(), Some("line 1"));
    // Without a name it is the first one, and kubectl says so.
    let first = cluster.kubectl("logs talks --tail=1");
    assert!(first.err.contains("Defaulted container \"many\" out of: many, shell, web"), "{}", first.err);
    let each = cluster.kubectl("logs talks --all-containers --prefix --tail=1").ok();
    assert!(each.contains("[pod/talks/shell] ready"), "{each}");
    let labelled = cluster.kubectl("logs -l app=talks --all-containers --tail=-1").ok();
    assert!(labelled.contains("line 20") && labelled.contains("second life"), "{labelled}");
}

fn previous(cluster: &Cluster) {
    assert_eq!(cluster.kubectl("logs again").ok(), "second life");
    assert_eq!(cluster.kubectl("logs again --previous").ok(), "first life");
    let words = "previous terminated container \"many\" in pod \"talks\" not found";
    cluster.kubectl("logs talks -c many --previous").fails_with(words);
}

fn refused(cluster: &Cluster) {
    cluster.until_shown("waits", "ErrImageNeverPull");
    let words = "container \"main\" in pod \"waits\" is waiting to start: ErrImageNeverPull";
    cluster.kubectl("logs waits").fails_with(words);
    cluster.kubectl("logs talks -c nobody").fails_with("container nobody is not valid for pod talks");
    cluster.kubectl("logs nobody").fails_with("pods \"nobody\" not found");
    cluster.kubectl("exec waits -- true").fails_with("container not found (\"main\")");
}

fn following(cluster: &Cluster) {
    let follow = "timeout 60 kubectl logs talks -c many -f --tail=1 > /run/followed 2>&1 &";
    cluster.host.sh(&format!("export KUBECONFIG=/run/linkspan/kubeconfig; {follow}")).ok();
    let followed = || cluster.host.sh("cat /run/followed").out;
    eventually_fits("the last line is there", followed, |text| !text.is_empty());
    cluster.kubectl("exec talks -c many -- touch /go").ok();
    eventually_fits("the next one follows", followed, |text| text.ends_with("at last\n"));
}

fn streams(cluster: &Cluster) {
    let said = cluster.kubectl("exec talks -c many -- sh -c 'echo out; echo err >&2; exit 7'");
    assert_eq!((said.code, said.out.as_str()), (7, "out\n"));
    assert!(said.err.contains("err\n") && said.err.contains("exit code 7"), "{}", said.err);
    cluster.kubectl("exec talks -c many -- nosuchprogram").fails_with("executable file not found in $PATH");
    let typed = cluster
        .host
        .sh("export KUBECONFIG=/run/linkspan/kubeconfig; echo typed | timeout 60 kubectl exec -i talks -c many -- cat");
    assert_eq!(typed.ok(), "typed");
    let attach = "(echo one; echo two; sleep 60) | timeout 60 kubectl attach -i talks -c shell > /run/heard 2>&1 &";
    cluster.host.sh(&format!("export KUBECONFIG=/run/linkspan/kubeconfig; {attach}")).ok();
    let heard = || cluster.host.sh("cat /run/heard").out;
    eventually_fits("what is typed is heard", heard, |text| text.contains("heard one\nheard two"));
    let forward = "
        export KUBECONFIG=/run/linkspan/kubeconfig
        kubectl port-forward pod/talks 8091:80 > /dev/null & forward=$!
        for try in $(seq 300); do curl -s 127.0.0.1:8091 && break; sleep 0.1; done
        kill $forward";
    assert_eq!(cluster.host.sh(forward).out.trim(), "hello");
}

/// `kubectl cp` runs tar in the container.
fn copies(cluster: &Cluster) {
    cluster.host.sh("mkdir -p /run/sent/deep; echo there > /run/sent/deep/file").ok();
    cluster.kubectl("cp /run/sent talks:/tmp -c many").ok();
    assert_eq!(cluster.kubectl("exec talks -c many -- cat /tmp/sent/deep/file").ok(), "there");
    cluster.kubectl("cp talks:/tmp/sent/deep/file /run/back -c many").ok();
    assert_eq!(cluster.host.sh("cat /run/back").ok(), "there");
}
