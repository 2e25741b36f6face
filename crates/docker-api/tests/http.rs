//! The face as its clients meet it: bytes over a unix socket, with an engine on a made host behind it.

use std::{
    io,
    net::{IpAddr, TcpListener, UdpSocket},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use docker_api::ApiSettings;
use engine::{Engine, Parts, Places, World};
use model::{
    Command, Facts, SandboxId, State,
    address::Pool,
    host::Settings,
    network::{FamilyWish, SubnetWish},
};
use plan::dns::ResolvConf;
use runtime::{
    Runtime, RuntimeSettings,
    image::{Assembly, Config, RegistrySettings},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use store::Store;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

/// No test waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon without a host: nothing can be started, everything else can be asked for.
struct Daemon {
    directory: tempfile::TempDir,
}

struct MadeWorld(u64);

impl World for MadeWorld {
    fn facts(&mut self, _: &State, _: &Command) -> Facts {
        self.0 += 1;
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Facts { now_ms: i64::try_from(now_ms).unwrap(), nonce: self.0, ..Facts::default() }
    }

    fn name_sockets(&mut self, _: &SandboxId) -> io::Result<(UdpSocket, TcpListener)> {
        Ok((UdpSocket::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?))
    }

    fn cluster_name_sockets(&mut self, _: IpAddr) -> io::Result<(UdpSocket, TcpListener)> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn resolv_conf(&self) -> ResolvConf {
        ResolvConf::default()
    }
}

impl Daemon {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let places = Places { data_root: directory.path().join("data"), run_dir: directory.path().join("run") };
        std::fs::create_dir_all(&places.data_root).unwrap();
        std::fs::create_dir_all(&places.run_dir).unwrap();
        let (store, state) = Store::open(&places.data_root.join("state.db")).unwrap();
        let images = runtime::image::Store::open(&places.data_root).unwrap();
        let config = Config { cmd: Some(vec!["/box".to_owned()]), ..Config::default() };
        let reference = Some("box".parse().unwrap());
        images.assemble(Assembly { reference, config, ..Assembly::default() }).await.unwrap();
        let engine = Engine::open(Parts {
            store,
            state,
            kernel: Box::new(sim::Host::new()),
            world: Box::new(MadeWorld(0)),
            runtime: Arc::new(Runtime::new(RuntimeSettings::new(&places.run_dir))),
            images,
            places: places.clone(),
            settings: settings(),
        })
        .await
        .unwrap();
        let listener = UnixListener::bind(directory.path().join("sock")).unwrap();
        let api = ApiSettings {
            data_root: places.data_root,
            run_dir: places.run_dir,
            version: "0.0.0".to_owned(),
            network_options: Default::default(),
            registries: RegistrySettings::default(),
        };
        tokio::spawn(docker_api::serve(engine, listener, api, std::future::pending()));
        Self { directory }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("sock")
    }

    /// Sends bytes as they are; the whole answer.
    async fn raw(&self, request: &[u8]) -> String {
        let talk = async {
            let mut connection = UnixStream::connect(self.socket()).await.unwrap();
            // A server that refuses early closes while more is still being sent.
            let _ = connection.write_all(request).await;
            let mut answer = Vec::new();
            let _ = connection.read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).into_owned()
        };
        tokio::time::timeout(PATIENCE, talk).await.expect("an answer in time")
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        self.raw(format!("{head}{body}").as_bytes()).await
    }

    async fn check(&self, request: (&str, &str, &str), expected: (&str, &str)) {
        let (method, path, body) = request;
        let (status, words) = expected;
        let answer = self.ask(method, path, body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path} {body}: {answer}");
        assert!(answer.contains(words), "{method} {path} {body}: {answer}");
    }
}

fn settings() -> Settings {
    let mut settings =
        Settings { pools: vec![Pool { base: "172.18.0.0/15".parse().unwrap(), size: 16 }], ..Settings::default() };
    settings.default_network.ipv4 = FamilyWish::Subnet(SubnetWish {
        gateway: Some("172.17.0.1".parse().unwrap()),
        ..SubnetWish::of("172.17.0.0/16".parse().unwrap())
    });
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_and_heads() {
    let daemon = Daemon::start().await;
    let pong = daemon.ask("GET", "/_ping", "").await.to_lowercase();
    for header in ["api-version: 1.50", "docker-experimental: false", "ostype: linux", "server: linkspan/0.0.0"] {
        assert!(pong.contains(header), "{header} in {pong}");
    }
    let head = daemon.ask("HEAD", "/_ping", "").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    let too_new = "client version 1.99 is too new. Maximum supported API version is 1.50";
    let too_old = "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version";
    daemon.check(("GET", "/v1.24/version", ""), ("200", "ApiVersion")).await;
    daemon.check(("GET", "/v1.50/containers/json", ""), ("200", "[]")).await;
    daemon.check(("GET", "/v1.99/info", ""), ("400", too_new)).await;
    daemon.check(("GET", "/v1.12/info", ""), ("400", too_old)).await;
    daemon.check(("GET", "/nothing", ""), ("404", r#"{"message":"page not found"}"#)).await;
    daemon.check(("PATCH", "/containers/json", ""), ("404", "page not found")).await;
    let missing = daemon.ask("HEAD", "/containers/none/archive?path=/", "").await;
    assert!(missing.starts_with("HTTP/1.1 404 ") && missing.ends_with("\r\n\r\n"), "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input() {
    let daemon = Daemon::start().await;
    let create = "/containers/create";
    let cases = [
        (("POST", create, ""), ("400", "config cannot be empty in order to create a container")),
        (("POST", create, "{"), ("400", "invalid JSON: unexpected EOF")),
        (("POST", create, "{} x"), ("400", "unexpected content after JSON")),
        (("POST", create, "[1]"), ("400", "invalid JSON")),
        (("POST", create, r#"{"Image":"none"}"#), ("404", "No such image: none:latest")),
        (
            ("POST", create, r#"{"Image":"box","HostConfig":{"Links":["none"]}}"#),
            ("400", "could not get container for none"),
        ),
        (
            ("POST", create, r#"{"Image":"box","HostConfig":{"NetworkMode":"none-such"}}"#),
            ("400", "network none-such not found"),
        ),
        (("POST", create, r#"{"Image":"box","Tty":"yes"}"#), ("400", "invalid JSON: invalid type")),
        (("POST", "/containers/create?name=a/b", r#"{"Image":"box"}"#), ("400", "Invalid container name (a/b), only")),
        (("POST", "/containers/none/start", ""), ("404", "No such container: none")),
        (("POST", "/containers/none/exec", r#"{"Cmd":["x"]}"#), ("404", "No such container: none")),
        (("POST", "/containers/none/exec", ""), ("400", "got EOF while reading request body")),
        (("POST", "/exec/none/start", "{}"), ("404", "No such exec instance: none")),
        (("GET", "/containers/json?limit=x", ""), ("400", "a whole number is expected")),
        (("GET", "/containers/json?filters=%7B", ""), ("400", "invalid filter")),
        (("GET", "/containers/json?filters=%7B%22no%22%3A%5B%5D%7D", ""), ("400", "invalid filter 'no'")),
        (("GET", "/containers/none/logs", ""), ("404", "No such container: none")),
        (("POST", "/containers/none/wait?condition=later", ""), ("400", "invalid condition")),
    ];
    for (request, expected) in cases {
        daemon.check(request, expected).await;
    }
    let form = "POST /containers/create HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}";
    let answer = daemon.raw(form.as_bytes()).await;
    assert!(answer.contains("unsupported Content-Type header (text/plain): must be 'application/json'"), "{answer}");
    for garbage in ["\0\0\0\0", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "G\u{e9}T / HTTP/1.1\r\n\r\n"] {
        let answer = daemon.raw(format!("{garbage}\r\n\r\n").as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{garbage:?}: {answer}");
    }
    daemon.check(("GET", "/_ping", ""), ("200", "OK")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_a_hundred_megabytes_is_refused() {
    let daemon = Daemon::start().await;
    let head = "POST /containers/create HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let mut request = format!("{head}Content-Length: 100000000\r\n\r\n{{\"Image\":\"").into_bytes();
    request.resize(100_000_000, b'a');
    let answer = daemon.raw(&request).await;
    // A server that stops reading may cut the answer off with the connection.
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413 "), "{answer}");
    daemon.check(("GET", "/containers/json?all=1", ""), ("200", "[]")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_never_runs() {
    let daemon = Daemon::start().await;
    let body = r#"{"Image":"box","Labels":{"a":"b"},"Unknown":{"x":1}}"#;
    daemon.check(("POST", "/containers/create?name=web", body), ("201", r#""Warnings":[]"#)).await;
    let taken = r#"Conflict. The container name \"/web\" is already in use by container"#;
    daemon.check(("POST", "/containers/create?name=web", body), ("409", taken)).await;
    daemon.check(("GET", "/containers/web/json", ""), ("200", r#""Status":"created""#)).await;
    daemon.check(("GET", "/containers//web/json", ""), ("200", r#""Name":"/web""#)).await;
    daemon.check(("GET", "/containers/json", ""), ("200", "[]")).await;
    daemon.check(("GET", "/containers/json?all=1&size=1", ""), ("200", r#""SizeRw":0"#)).await;
    daemon.check(("POST", "/containers/web/stop", ""), ("304", "")).await;
    daemon.check(("POST", "/containers/web/kill", ""), ("409", "cannot kill container: web: container")).await;
    daemon.check(("POST", "/containers/web/kill?signal=NO", ""), ("400", "invalid signal: NO")).await;
    daemon.check(("POST", "/containers/web/pause", ""), ("409", "is not running")).await;
    daemon.check(("POST", "/containers/web/exec", r#"{"Cmd":["x"]}"#), ("409", "is not running")).await;
    daemon.check(("GET", "/containers/web/top", ""), ("409", "is not running")).await;
    daemon.check(("GET", "/containers/web/logs", ""), ("400", "you must choose at least one stream")).await;
    daemon.check(("GET", "/containers/web/logs?stdout=1", ""), ("200", "multiplexed-stream")).await;
    daemon.check(("GET", "/containers/web/stats?stream=0", ""), ("200", r#""read":"0001-01-01T00:00:00Z""#)).await;
    daemon.check(("POST", "/containers/web/wait", ""), ("200", r#""StatusCode":0"#)).await;
    daemon
        .check(("POST", "/containers/web/update", r#"{"Memory":1}"#), ("400", "Minimum memory limit allowed is 6MB"))
        .await;
    let update = r#"{"Memory":8388608,"RestartPolicy":{"Name":"always"}}"#;
    daemon.check(("POST", "/containers/web/update", update), ("200", "Warnings")).await;
    daemon.check(("GET", "/containers/web/json", ""), ("200", r#""Memory":8388608"#)).await;
    daemon.check(("POST", "/containers/web/rename?name=web", ""), ("400", "same name as its current name")).await;
    daemon.check(("POST", "/containers/web/rename?name=www", ""), ("204", "")).await;
    daemon.check(("GET", "/containers/web/json", ""), ("404", "No such container: web")).await;
    daemon.check(("DELETE", "/containers/www", ""), ("204", "")).await;
    daemon.check(("DELETE", "/containers/www", ""), ("404", "No such container: www")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_at_once() {
    // Both ends of each connection are in this one process.
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    let clients = files.maximum.map_or(2_000, |most| (most / 2).saturating_sub(100)).min(2_000);
    if clients < 2_000 {
        eprintln!("SKIPPED: only {clients} clients, for no more files may be open");
    }
    let daemon = Arc::new(Daemon::start().await);
    let asking: Vec<_> = (0..clients)
        .map(|n| {
            let daemon = Arc::clone(&daemon);
            let path = if n % 2 == 0 { "/_ping" } else { "/v1.41/containers/json?all=1" };
            tokio::spawn(async move { daemon.ask("GET", path, "").await })
        })
        .collect();
    for asked in asking {
        let answer = asked.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}
