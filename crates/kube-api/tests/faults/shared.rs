//! Two servers over one etcd: they agree, one of them runs the controllers, and they wait for an etcd that is away.

use std::{
    env,
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use store::objects::{Etcd, Objects, Options};

use crate::front::{Front, eventually};

/// An etcd that ends with the test.
struct Server {
    process: Child,
    url: String,
    flags: Vec<String>,
    _data: tempfile::TempDir,
}

impl Server {
    /// None, and loudly so, where etcd is not installed.
    fn start() -> Option<Self> {
        let installed = env::split_paths(&env::var_os("PATH")?).any(|folder| folder.join("etcd").is_file());
        if !installed {
            eprintln!("SKIPPED: there is no etcd here; Debian's package is etcd-server");
            return None;
        }
        // An address of this process alone, so that nobody else takes its ports.
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        let host = Ipv4Addr::new(127, 1 + high % 250, middle, low);
        let port = || TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port();
        let data = tempfile::tempdir().unwrap();
        let (clients, peers) = (format!("{host}:{}", port()), format!("http://{host}:{}", port()));
        let flags = vec![
            format!("--listen-client-urls=http://{clients}"),
            format!("--advertise-client-urls=http://{clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
            format!("--data-dir={}", data.path().display()),
        ];
        Some(Self { process: run(&flags), url: format!("etcd://{clients}"), flags, _data: data })
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.process = run(&self.flags);
    }

    async fn front(&self) -> Front {
        let etcd = Etcd::parse(&self.url, None).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        let objects = loop {
            match Objects::open_etcd(etcd.clone(), Options { patience: Duration::from_secs(20), ..Options::default() })
                .await
            {
                Ok(objects) => break objects,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        Front::over(objects, tempfile::tempdir().unwrap()).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(flags: &[String]) -> Child {
    Command::new("etcd").args(flags).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SERVICES: &str = "/api/v1/namespaces/default/services";

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": {
            "replicas": 3, "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": { "containers": [{ "name": "a", "image": "b" }] } },
        },
    })
}

/// How many pods a deployment has, and how many were ever made for it.
async fn pods(front: &Front, app: &str) -> (usize, usize) {
    let pods = front.must("GET", &format!("{PODS}?labelSelector=app={app}"), &Value::Null).await;
    let events = front.must("GET", "/api/v1/namespaces/default/events", &Value::Null).await;
    let made = events["items"].as_array().unwrap().iter().filter(|event| {
        event["reason"] == "SuccessfulCreate"
            && event["involvedObject"]["name"].as_str().unwrap().starts_with(&format!("{app}-"))
    });
    (pods["items"].as_array().unwrap().len(), made.count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_agree_and_one_of_them_controls() {
    let Some(mut etcd) = Server::start() else { return };
    let pair = [etcd.front().await, etcd.front().await];
    for (front, app) in pair.iter().zip(["one", "two"]) {
        front.must("POST", DEPLOYMENTS, &deployment(app)).await;
    }
    for app in ["one", "two"] {
        eventually(&format!("{app} has its pods"), async || pods(&pair[0], app).await.0 == 3).await;
    }
    // Both write the same object, each what it read.
    pair[0].must("POST", MAPS, &json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "counter" }, "data": { "n": "0" } })).await;
    let count = async |front: &Front| {
        let mut done = 0;
        while done < 20 {
            let mut map = front.must("GET", &format!("{MAPS}/counter"), &Value::Null).await;
            let next = map["data"]["n"].as_str().unwrap().parse::<u32>().unwrap() + 1;
            map["data"]["n"] = next.to_string().into();
            match front.ask("PUT", &format!("{MAPS}/counter"), map.to_string()).await {
                (200, _) => done += 1,
                (409, _) => {}
                (status, said) => panic!("{status} {said}"),
            }
        }
    };
    tokio::join!(count(&pair[0]), count(&pair[1]));
    for front in &pair {
        assert_eq!(front.must("GET", &format!("{MAPS}/counter"), &Value::Null).await["data"]["n"], "40");
    }
    // Both give addresses, none twice.
    let service = |name: String| json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "spec": { "type": "NodePort", "ports": [{ "port": 80 }] } });
    let give = async |front: &Front, who: &str| {
        for number in 0..20 {
            front.must("POST", SERVICES, &service(format!("{who}{number}"))).await;
        }
    };
    tokio::join!(give(&pair[0], "a"), give(&pair[1], "b"));
    let services = pair[1].must("GET", SERVICES, &Value::Null).await;
    let addresses: std::collections::BTreeSet<_> = services["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| service["spec"]["clusterIP"].as_str().unwrap())
        .collect();
    assert_eq!(addresses.len(), 41, "with that of the API itself");
    for app in ["one", "two"] {
        assert_eq!(pods(&pair[1], app).await, (3, 3), "{app}: each pod was made once");
    }
    // Etcd is away for a while: who asks is told, and all goes on when it is back.
    etcd.kill();
    for front in &pair {
        let (status, said) = front.ask("POST", MAPS, json!({ "metadata": { "name": "lost" } }).to_string()).await;
        assert!(status >= 500 && said.to_string().contains("etcd"), "{status} {said}");
    }
    etcd.start_again();
    for (front, app) in pair.iter().zip(["three", "four"]) {
        eventually("etcd is back", async || front.ask("POST", DEPLOYMENTS, deployment(app).to_string()).await.0 == 201)
            .await;
    }
    for app in ["three", "four"] {
        eventually(&format!("{app} has its pods"), async || pods(&pair[0], app).await.0 == 3).await;
    }
    // Whoever controls goes: the other does.
    let [first, second] = pair;
    let lease = second
        .must("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-controller-manager", &Value::Null)
        .await;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap().to_owned();
    let is_first = holder.contains(first.folder().to_str().unwrap());
    let (gone, left) = if is_first { (first, second) } else { (second, first) };
    drop(gone);
    left.must("POST", DEPLOYMENTS, &deployment("five")).await;
    eventually("the other controls", async || pods(&left, "five").await.0 == 3).await;
    for app in ["one", "two", "three", "four"] {
        assert_eq!(pods(&left, app).await.0, 3, "{app}");
    }
}
