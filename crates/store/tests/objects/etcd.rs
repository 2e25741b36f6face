//! The home in an etcd: a real one, on loopback, for each test.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::test_runner::{Config, TestRunner};
use store::objects::{Credentials, CutOff, Etcd, Expect, Keep, Objects, ObjectsError, Options, WriteError};
use tokio::task::JoinHandle;

use crate::{
    history,
    suite::{self, CASES, next, put, text},
};

/// A server that ends with the test.
struct Server {
    process: Child,
    port: u16,
    data: tempfile::TempDir,
    flags: Vec<String>,
}

impl Server {
    /// None, and loudly so, where etcd is not installed.
    fn start(scheme: &str, flags: &[String]) -> Option<Self> {
        let installed = env::split_paths(&env::var_os("PATH")?).any(|folder| folder.join("etcd").is_file());
        if !installed {
            eprintln!("SKIPPED: there is no etcd here; Debian's package is etcd-server");
            return None;
        }
        let data = tempfile::tempdir().unwrap();
        let port = free_port();
        let own = |port| format!("{scheme}://{}:{port}", host());
        let peers = format!("http://{}:{}", host(), free_port());
        let mut all = vec![
            format!("--listen-client-urls={}", own(port)),
            format!("--advertise-client-urls={}", own(port)),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
            format!("--data-dir={}", data.path().display()),
        ];
        all.extend_from_slice(flags);
        Some(Self { process: run(&all), port, data, flags: all })
    }

    fn plain() -> Option<Self> {
        Self::start("http", &[])
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn start_again(&mut self) {
        assert!(self.data.path().join("member").is_dir());
        self.process = run(&self.flags);
    }

    async fn open(&self, prefix: &str, options: Options) -> Objects {
        open(&format!("etcd://{}:{}{prefix}", host(), self.port), None, options).await
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

/// A loopback address of this process alone, so that nobody else takes its ports.
fn host() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 + high % 250, middle, low)
}

fn free_port() -> u16 {
    TcpListener::bind((host(), 0)).unwrap().local_addr().unwrap().port()
}

/// Waits until it answers.
async fn open(address: &str, credentials: Option<Credentials>, options: Options) -> Objects {
    let etcd = Etcd::parse(address, credentials).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match Objects::open_etcd(etcd.clone(), options.clone()).await {
            Ok(objects) => return objects,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the suite needs, but patient: etcd is another process.
fn patient() -> Options {
    Options { patience: Duration::from_secs(20), ..suite::options() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suite() {
    let Some(server) = Server::plain() else { return };
    for (number, (name, case)) in CASES.iter().enumerate() {
        println!("{name}");
        case(server.open(&format!("/case{number}"), suite::options()).await).await;
    }
}

#[test]
fn the_past_is_as_it_was_also_for_who_comes_later() {
    let Some(server) = Server::plain() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let number = AtomicUsize::new(0);
    let config = Config { cases: 8, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&(history::writes(), history::writes()), |(early, late)| {
            let prefix = format!("/history{}", number.fetch_add(1, Ordering::SeqCst));
            runtime.block_on(async {
                let objects = server.open(&prefix, Options::default()).await;
                let mut past = history::write_all(&objects, &early).await;
                history::check(&objects, &past).await;
                let later = server.open(&prefix, Options::default()).await;
                history::check(&later, &past).await;
                past.extend(history::write_all(&later, &late).await);
                history::check(&later, &past).await;
                history::check(&objects, &past).await;
            });
            Ok(())
        })
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_agree() {
    let Some(server) = Server::plain() else { return };
    let pair = [server.open("", patient()).await, server.open("", patient()).await];
    let start = put(&pair[0], "/counter", "0").await.revision;
    let watches = pair.each_ref().map(|objects| objects.snapshot_since(start));
    let [one, two] = watches;
    assert_eq!(one.await.unwrap().objects, two.await.unwrap().objects);
    let mut watches = pair.each_ref().map(|objects| objects.watch("/", start).unwrap());
    let count = |objects: Objects| async move {
        for _ in 0..30 {
            loop {
                let current = objects.snapshot().await.unwrap().get("/counter").unwrap().clone();
                let number: u64 = std::str::from_utf8(&current.value).unwrap().parse().unwrap();
                let value = text(&(number + 1).to_string());
                match objects.write("/counter", Expect::At(current.modified), value).await {
                    Ok(_) => break,
                    Err(WriteError::Conflict { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    let tasks = pair.each_ref().map(|objects| tokio::spawn(count(objects.clone())));
    for task in tasks {
        task.await.unwrap();
    }
    // What one wrote, the other reads at once.
    put(&pair[0], "/last", "1").await;
    for objects in &pair {
        let snapshot = objects.snapshot().await.unwrap();
        assert_eq!(snapshot.get("/counter").unwrap().value, "60");
        assert!(snapshot.get("/last").is_some());
    }
    for expected in 1..=60 {
        for watch in &mut watches {
            let event = next(watch).await.unwrap();
            assert_eq!(event.object().unwrap().value, expected.to_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_in_the_same_etcd_do_not_delay_a_read() {
    let Some(server) = Server::plain() else { return };
    let ours = server.open("/ours", patient()).await;
    let theirs = server.open("/theirs", patient()).await;
    put(&ours, "/a", "1").await;
    let late = put(&theirs, "/b", "1").await.revision;
    let snapshot = ours.snapshot().await.unwrap();
    assert!(snapshot.revision >= late);
    assert_eq!(snapshot.objects.len(), 1);
    assert!(ours.snapshot_since(late).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_outlives_the_server() {
    let Some(mut server) = Server::plain() else { return };
    let objects = server.open("", patient()).await;
    let start = put(&objects, "/a", "1").await.revision;
    let mut watch = objects.watch("/", start).unwrap();
    server.kill();
    let error = objects.write("/a", Expect::Any, text("2")).await.unwrap_err();
    let lost = matches!(error, WriteError::Failed(ObjectsError::Unreachable { .. } | ObjectsError::Unanswered { .. }));
    assert!(lost, "{error}");
    assert!(objects.snapshot().await.is_err(), "nobody knows what is newest");
    assert_eq!(objects.cached().get("/a").unwrap().value, "1");
    server.start_again();
    let other = server.open("", patient()).await;
    let written = put(&other, "/a", "3").await.revision;
    assert_eq!(next(&mut watch).await.unwrap().revision(), written);
    assert_eq!(objects.snapshot().await.unwrap().get("/a").unwrap().value, "3");
}

/// A way to the server that can be cut.
async fn bridge(port: u16, to: u16) -> JoinHandle<()> {
    let listener = tokio::net::TcpListener::bind((host(), port)).await.unwrap();
    tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            connections.spawn(async move {
                if let Ok(mut server) = tokio::net::TcpStream::connect((host(), to)).await {
                    // Either may go away.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_way_is_made_good_or_told() {
    let Some(server) = Server::plain() else { return };
    let direct = server.open("", patient()).await;
    let port = free_port();
    let way = bridge(port, server.port).await;
    let address = format!("etcd://{0}:{1},{0}:{port}", host(), free_port());
    let objects = open(&address, None, patient()).await;
    let start = put(&objects, "/a", "0").await.revision;
    let mut watch = objects.watch("/", start).unwrap();

    // Nothing is lost over a short break.
    way.abort();
    let _ = way.await;
    for number in 1..=10 {
        put(&direct, "/a", &number.to_string()).await;
    }
    let way = bridge(port, server.port).await;
    for number in 1..=10 {
        assert_eq!(next(&mut watch).await.unwrap().object().unwrap().value, number.to_string());
    }

    // After one that etcd does not remember, all is listed anew, and who watched is told.
    way.abort();
    let _ = way.await;
    put(&direct, "/b", "1").await;
    let written = direct.write("/a", Expect::Any, None).await.unwrap().revision;
    compact(server.port, written.0);
    let _way = bridge(port, server.port).await;
    assert_eq!(next(&mut watch).await, Err(CutOff::Relisted));
    let snapshot = objects.snapshot().await.unwrap();
    assert_eq!(snapshot.objects, direct.snapshot().await.unwrap().objects);
    assert!(snapshot.get("/a").is_none());
    let mut watch = objects.watch("/", snapshot.revision).unwrap();
    let written = put(&direct, "/a", "2").await.revision;
    assert_eq!(next(&mut watch).await.unwrap().revision(), written);
}

fn compact(port: u16, revision: u64) {
    let body = format!("{{\"revision\":\"{revision}\"}}");
    let answer = post(port, "/v3/kv/compaction", &body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

fn post(port: u16, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect((host(), port)).unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    write!(stream, "{head}\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_forgets_what_is_forgotten_here() {
    let Some(server) = Server::plain() else { return };
    let keep = Keep { events: 16, age_ms: 1000, ..Keep::default() };
    let objects = server.open("", Options { keep, ..patient() }).await;
    let first = put(&objects, "/a", "0").await.revision;
    for number in 0..40 {
        put(&objects, "/a", &number.to_string()).await;
    }
    let key = STANDARD.encode("/linkspan/a");
    let body = format!("{{\"key\":\"{key}\",\"revision\":\"{first}\"}}");
    let until = Instant::now() + Duration::from_secs(60);
    while !post(server.port, "/v3/kv/range", &body).contains("compacted") {
        assert!(Instant::now() < until, "etcd still knows revision {first}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let Issued { authority, server, client } = issue();
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let flags = [
        format!("--cert-file={}", file("server.crt", &server.0)),
        format!("--key-file={}", file("server.key", &server.1)),
        format!("--trusted-ca-file={}", file("ca.crt", &authority)),
        "--client-cert-auth".to_owned(),
    ];
    let Some(server) = Server::start("https", &flags) else { return };
    let address = format!("etcds://{}:{}/tls", host(), server.port);
    let known =
        Credentials { authorities_pem: authority.clone().into(), client_pem: Some((client.0.into(), client.1.into())) };
    let objects = open(&address, Some(known), patient()).await;
    put(&objects, "/a", "1").await;
    assert_eq!(objects.snapshot().await.unwrap().objects.len(), 1);
    let unknown = Credentials { authorities_pem: authority.into(), client_pem: None };
    let refused = Objects::open_etcd(Etcd::parse(&address, Some(unknown)).unwrap(), patient()).await;
    assert!(refused.is_err());
}

/// Certificates and keys, in PEM.
struct Issued {
    authority: String,
    server: (String, String),
    client: (String, String),
}

fn issue() -> Issued {
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let signed = |purposes: &[ExtendedKeyUsagePurpose]| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([host().to_string()]).unwrap();
        params.extended_key_usages = purposes.to_vec();
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    };
    // Etcd's gateway is a client of itself.
    let server = signed(&[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]);
    Issued { authority: certificate, server, client: signed(&[ExtendedKeyUsagePurpose::ClientAuth]) }
}

#[test]
fn addresses() {
    let credentials = || Some(Credentials { authorities_pem: Vec::new(), client_pem: None });
    let read = |given: &str, credentials| {
        Etcd::parse(given, credentials).map(|etcd| (etcd.endpoints.join(" "), etcd.prefix)).map_err(|e| e.to_string())
    };
    let table = [
        ("etcd://a:2379", Ok(("http://a:2379", "/linkspan"))),
        ("etcd://a:1,b:2/x/y/", Ok(("http://a:1 http://b:2", "/x/y"))),
        ("etcd://a:1/", Err("the prefix of its keys is empty")),
        ("etcd://", Err("it must name HOST:PORT")),
        ("etcds://a:1", Err("the certificate of its authority is not given")),
        ("http://a:1", Err("it must begin with etcd:// or etcds://")),
        ("a:1", Err("it must begin with etcd:// or etcds://")),
    ];
    for (given, expected) in table {
        let expected = expected
            .map(|(endpoints, prefix): (&str, &str)| (endpoints.to_owned(), prefix.to_owned()))
            .map_err(|what: &str| format!("cannot use the etcd {given:?}: {what}"));
        assert_eq!(read(given, None), expected);
    }
    assert_eq!(read("etcds://a:1", credentials()).unwrap().0, "https://a:1");
}
