//! The verbs of kubectl that make and change objects, and those that ask the server about itself.

use conformance::{Cluster, eventually};

/// Checks what kubectl says.
fn says(cluster: &Cluster, words: &str, expected: &str) {
    assert_eq!(cluster.kubectl(words).ok(), expected, "kubectl {words}");
}

#[test]
fn objects_are_made_edited_and_refused() {
    let Some(cluster) = Cluster::start() else { return };
    made(&cluster);
    edited(&cluster);
    applied(&cluster);
    refused(&cluster);
    told(&cluster);
}

/// `create` for each kind that it has a word for.
fn made(cluster: &Cluster) {
    let dir = cluster.host.path().display().to_string();
    let pair = format!(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout {dir}/key -out {dir}/cert -days 9 -subj /CN=a.b 2>/dev/null"
    );
    cluster.host.sh(&format!("{pair}; echo blue > {dir}/colour")).ok();
    let check = |words: &str, made: &str| says(cluster, &format!("create {words}"), &format!("{made} created"));
    check(&format!("configmap settings --from-file={dir}/colour --from-literal=a=b"), "configmap/settings");
    check("secret generic word --from-literal=x=y", "secret/word");
    check(&format!("secret tls pair --cert={dir}/cert --key={dir}/key"), "secret/pair");
    check("secret docker-registry registry --docker-username=u --docker-password=p", "secret/registry");
    check("serviceaccount robot", "serviceaccount/robot");
    check("namespace shop", "namespace/shop");
    check("deployment web --image=busybox:1 --port=80 --replicas=0 -- sleep 1000", "deployment.apps/web");
    check("service clusterip inner --tcp=80:8080", "service/inner");
    check("service nodeport outer --tcp=80:8080 --node-port=30080", "service/outer");
    check("service loadbalancer balanced --tcp=80", "service/balanced");
    check("service externalname away --external-name=example.com", "service/away");
    check("ingress web --rule=a.b/x*=inner:80,tls=pair --class=other", "ingress.networking.k8s.io/web");
    assert!(cluster.kubectl("create token robot --duration=700s").ok().starts_with("eyJ"));
    says(cluster, "expose deployment web --name=exposed --port=80", "service/exposed exposed");
    says(cluster, "run solo --image=busybox:1 --dry-run=server", "pod/solo created (server dry run)");
    says(cluster, "get pods -o name", "");
    cluster
        .kubectl("create service nodeport other --tcp=80 --node-port=30080")
        .fails_with("spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated");
    says(cluster, "get deployment,service,ingress,secret -l app=web -o name", "deployment.apps/web\nservice/exposed");
    let columns = cluster.kubectl("get services -o wide").ok();
    assert!(columns.starts_with("NAME         TYPE           CLUSTER-IP"), "{columns}");
}

fn edited(cluster: &Cluster) {
    let edit = |editor: &str, words: &str| {
        cluster.host.sh(&format!("export KUBECONFIG=/run/linkspan/kubeconfig KUBE_EDITOR={editor:?}; kubectl {words}"))
    };
    let blue = "sed -i s/blue/green/";
    assert_eq!(edit(blue, "edit configmap settings").ok(), "configmap/settings edited");
    assert_eq!(edit(blue, "edit configmap settings").err.trim(), "Edit cancelled, no changes made.");
    edit("sed -i s/^data:/datum:/", "edit configmap settings")
        .fails_with("strict decoding error: unknown field \"datum\"");
    says(cluster, "get configmap settings -o jsonpath={.data.colour}", "green");
    says(cluster, "label configmap settings tier=front", "configmap/settings labeled");
    says(cluster, "annotate configmap settings note=yes", "configmap/settings annotated");
    says(cluster, "set image deployment/web busybox=busybox:2", "deployment.apps/web image updated");
    says(cluster, "set serviceaccount deployment web robot", "deployment.apps/web serviceaccount updated");
    says(cluster, "set env deployment/web A=1", "deployment.apps/web env updated");
    says(cluster, "set selector service inner app=web", "service/inner selector updated");
    says(
        cluster,
        "patch deployment web --subresource=scale --type=merge -p '{\"spec\":{\"replicas\":1}}'",
        "scale.autoscaling/web patched",
    );
    says(cluster, "scale deployment web --replicas=0", "deployment.apps/web scaled");
    says(cluster, "wait --for=jsonpath='{.spec.replicas}'=0 deployment/web", "deployment.apps/web condition met");
    let history = cluster.kubectl("rollout history deployment/web --revision=2").ok();
    assert!(history.contains("busybox:2"), "{history}");
    says(cluster, "rollout undo deployment/web --to-revision=1", "deployment.apps/web rolled back");
    says(cluster, "get deployment web -o 'jsonpath={.spec.template.spec.containers[0].image}'", "busybox:1");
    cluster.kubectl("rollout undo deployment/web --to-revision=99").fails_with("unable to find specified revision 99");
}

fn applied(cluster: &Cluster) {
    let map = |name: &str, value: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  labels: {{ set: a }}\ndata: {{ a: '{value}' }}"
        )
    };
    let with = |words: &str, manifest: &str| cluster.kubectl(&format!("{words} -f - <<'END'\n{manifest}\nEND"));
    assert_eq!(with("apply", &map("one", "1")).ok(), "configmap/one created");
    assert!(cluster.kubectl("apply view-last-applied configmap one").ok().contains("a: \"1\""));
    let pruned = with("apply --prune -l set=a --prune-allowlist=core/v1/ConfigMap", &map("two", "1"));
    assert_eq!(pruned.ok(), "configmap/two created\nconfigmap/one pruned");
    assert_eq!(with("replace --force", &map("two", "2")).ok(), "configmap \"two\" deleted\nconfigmap/two replaced");
    let any = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: two, resourceVersion: '0' }\ndata: { a: '3' }";
    assert_eq!(with("replace", any).ok(), "configmap/two replaced");
    let old = any.replace("'0'", "'1'");
    with("replace", &old).fails_with("the object has been modified; please apply your changes to the latest version");
    // Server-side: what a manager no longer says goes, unless another says it too.
    let both =
        |manager: &str, manifest: &str| with(&format!("apply --server-side --field-manager={manager}"), manifest);
    let parts =
        |data: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: shared }}\ndata: {{ {data} }}");
    both("first", &parts("a: '1', b: '1'")).ok();
    both("second", &parts("a: '1', c: '1'")).ok();
    both("second", &parts("a: '2'")).fails_with("conflict with \"first\": .data.a");
    both("first", &parts("b: '1'")).ok();
    says(cluster, "get configmap shared -o jsonpath={.data}", r#"{"a":"1","b":"1","c":"1"}"#);
    both("second", &parts("c: '1'")).ok();
    says(cluster, "get configmap shared -o jsonpath={.data}", r#"{"b":"1","c":"1"}"#);
    let managers = cluster
        .kubectl("get configmap shared --show-managed-fields -o 'jsonpath={.metadata.managedFields[*].manager}'");
    assert_eq!(managers.ok(), "first second");
}

fn refused(cluster: &Cluster) {
    let fails = |words: &str, wrong: &str| cluster.kubectl(words).fails_with(wrong);
    for namespace in ["default", "kube-system"] {
        let told = format!("namespaces \"{namespace}\" is forbidden: this namespace may not be deleted");
        fails(&format!("delete namespace {namespace}"), &told);
    }
    fails("autoscale deployment web --max=3", "there are no horizontalpodautoscalers of autoscaling/v1 here");
    fails("create job work --image=busybox:1", "there are no jobs of batch/v1 here");
    let body = r#"{"metadata":{"name":"twice"},"data":{"a":"1","a":"2"},"x":1}"#;
    let raw = |how: &str| {
        cluster.kubectl(&format!(
            "create --raw '/api/v1/namespaces/default/configmaps?fieldValidation={how}' -f - <<'END'\n{body}\nEND"
        ))
    };
    raw("Strict").fails_with("strict decoding error: duplicate field \"data.a\", unknown field \"x\"");
    let warned = raw("Warn");
    assert!(warned.err.contains("Warning: duplicate field \"data.a\""), "{warned:?}");
    assert!(warned.ok().contains("\"a\":\"2\""));
    fails("patch service inner -p '{\"spec\":{\"clusterIP\":\"10.96.0.77\"}}'", "may not change once set");
}

/// What the server says of itself.
fn told(cluster: &Cluster) {
    let has = |words: &str, parts: &[&str]| {
        let said = cluster.kubectl(words).ok();
        parts.iter().for_each(|part| assert!(said.contains(part), "kubectl {words}: no {part:?} in\n{said}"));
    };
    has("cluster-info", &["is running at", "https://127.0.0.1:6443"]);
    has("get --raw '/readyz?verbose'", &["[+]ping ok\n", "[+]etcd ok\n", "readyz check passed"]);
    has("get --raw /livez/ping", &["ok"]);
    has(
        "get --raw /metrics",
        &["apiserver_request_total{code=\"200\"", "apiserver_storage_objects{resource=\"services\"}"],
    );
    has(
        "api-resources -o wide --categories=all",
        &["deployments", "create,delete,deletecollection,get,list,patch,update,watch"],
    );
    has("auth can-i --list --as=system:serviceaccount:default:robot", &["*.*", "[get list watch]"]);
    for kind in
        cluster.kubectl("api-resources --no-headers -o name").ok().lines().filter(|kind| !kind.starts_with("events."))
    {
        has(&format!("explain {kind} --recursive"), &["KIND:", "FIELDS:"]);
    }
    let list = "get configmaps -A --chunk-size=2 -o name";
    assert_eq!(cluster.kubectl(list).ok(), cluster.kubectl("get configmaps -A -o name").ok());
    // What every cluster has comes again.
    cluster.kubectl("delete service kubernetes").ok();
    eventually("it is there again", || (cluster.kubectl("get service kubernetes").code == 0).then_some(()));
}
