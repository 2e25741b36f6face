//! Debian's docker-registry on a free loopback port, ended with the test.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpSocket;

const PROGRAM: &str = "/usr/bin/docker-registry";
/// Name `me`, password `secret`.
const HTPASSWD: &str = "me:$2b$04$P89PptVfB4ephQGbZZxNfeHUyeSQ0eLV4V58T5/r590dgKDfTLCwO\n";

/// How it is to be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Open,
    Password,
    /// With a certificate that nobody signed.
    Tls,
}

pub struct DebianRegistry {
    pub address: SocketAddr,
    process: Child,
    /// Keeps the port from being given to others; the registry may listen at it all the same (SO_REUSEADDR in socket(7)).
    _port: TcpSocket,
    _dir: TempDir,
}

impl DebianRegistry {
    /// Nothing, loudly, where it is not installed.
    pub fn start(door: Door) -> Option<DebianRegistry> {
        if !Path::new(PROGRAM).exists() {
            eprintln!("SKIPPED: {PROGRAM} is not here (apt install docker-registry)");
            return None;
        }
        let dir = TempDir::new().expect("a temporary directory");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let port = TcpSocket::new_v4().expect("a socket");
        port.set_reuseaddr(true).expect("an option");
        port.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback");
        let address = port.local_addr().expect("bound");
        let extra = match door {
            Door::Open => String::new(),
            Door::Password => {
                std::fs::write(path("htpasswd"), HTPASSWD).expect("writes");
                format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", path("htpasswd"))
            }
            Door::Tls => {
                let (key, certificate) = (path("key.pem"), path("certificate.pem"));
                let arguments = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
                let made = Command::new("openssl")
                    .args(arguments)
                    .args(["-subj", "/CN=registry", "-keyout", &key, "-out", &certificate])
                    .output();
                if !made.is_ok_and(|made| made.status.success()) {
                    eprintln!("SKIPPED: openssl cannot make a certificate");
                    return None;
                }
                format!("  tls:\n    certificate: {certificate}\n    key: {key}\n")
            }
        };
        let data = path("data");
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {data}\nhttp:\n  addr: {address}\n{extra}"
        );
        std::fs::write(path("config.yml"), config).expect("writes");
        let process = Command::new(PROGRAM)
            .args(["serve", &path("config.yml")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let registry = DebianRegistry { address, process, _port: port, _dir: dir };
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
