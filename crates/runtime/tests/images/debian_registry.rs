//! Debian's docker-registry on a free loopback port, ended with the test.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PROGRAM: &str = "/usr/bin/docker-registry";
/// Name `me`, password `secret`.
const HTPASSWD: &str = "me:$2b$04$P89PptVfB4ephQGbZZxNfeHUyeSQ0eLV4V58T5/r590dgKDfTLCwO\n";

pub struct DebianRegistry {
    pub address: SocketAddr,
    process: Child,
    _dir: TempDir,
}

impl DebianRegistry {
    /// Nothing, loudly, where it is not installed.
    pub fn start(with_password: bool) -> Option<DebianRegistry> {
        if !Path::new(PROGRAM).exists() {
            eprintln!("SKIPPED: {PROGRAM} is not here (apt install docker-registry)");
            return None;
        }
        let dir = TempDir::new().expect("a temporary directory");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("loopback");
        std::fs::write(path("htpasswd"), HTPASSWD).expect("writes");
        let auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", path("htpasswd"));
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n{}",
            path("data"),
            if with_password { &auth } else { "" }
        );
        std::fs::write(path("config.yml"), config).expect("writes");
        let process = Command::new(PROGRAM)
            .args(["serve", &path("config.yml")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let registry = DebianRegistry { address, process, _dir: dir };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "the registry does not listen");
            std::thread::yield_now();
        }
        Some(registry)
    }
}

impl Drop for DebianRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
