//! `cargo xtask bench-gateway`: the HTTP gateway beside Debian's nginx and haproxy, in one run.
//!
//! A network namespace of its own holds one origin (nginx, one worker), the three in front of it, each with keep-alive to the origin and as
//! many threads as processors, and the client (wrk, one thread). Rounds alternate between the three and figures are medians.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    dist, packages,
    run::{Result, command, output, step},
};

/// Measure the HTTP gateway beside Debian's nginx and haproxy
#[derive(clap::Args)]
pub struct BenchGateway {
    /// Connections of the client
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Measure this build of the example `gateway` instead of making one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Set for the part that runs in the namespace
    #[arg(long, hide = true)]
    inside: bool,
}

const NAMES: [&str; 3] = ["nginx", "haproxy", "linkspan"];
const ORIGIN: &str = "127.0.0.1:8000";

impl BenchGateway {
    /// Measures and prints.
    pub fn run(self) -> Result<()> {
        if self.inside {
            return self.measure();
        }
        packages::install(
            "what the gateway is measured with and beside",
            &["nginx-light", "haproxy", "wrk", "iproute2"],
        )?;
        let binary = match &self.binary {
            Some(binary) => binary.clone(),
            None => dist::build(&["--package", "proxy", "--example", "gateway"])?.join("examples/gateway"),
        };
        let me = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
        let mut inside = command("unshare", ["-n", "--"]);
        inside.arg(me).args(["bench-gateway", "--inside", "--binary"]).arg(binary);
        for (name, value) in
            [("--connections", self.connections as u64), ("--rounds", self.rounds as u64), ("--seconds", self.seconds)]
        {
            inside.arg(name).arg(value.to_string());
        }
        step(&mut inside)
    }

    fn measure(&self) -> Result<()> {
        step(&mut command("ip", ["link", "set", "lo", "up"]))?;
        let folder = std::env::temp_dir().join(format!("linkspan-bench-gateway-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
        let result = self.all(&folder);
        // It is only in the way.
        let _ = fs::remove_dir_all(&folder);
        result
    }

    fn all(&self, folder: &Path) -> Result<()> {
        let binary = self.binary.as_ref().ok_or("no binary")?;
        let _origin = nginx(folder, "origin", &origin())?;
        let mut linkspan = Command::new(binary);
        linkspan.args(["127.0.0.1:8003", ORIGIN]);
        linkspan.stdin(Stdio::null());
        let running = [
            nginx(folder, "nginx", &front_nginx())?,
            haproxy(folder)?,
            Running(linkspan.spawn().map_err(|e| format!("cannot start {}: {e}", binary.display()))?),
        ];
        for port in 8000..=8003 {
            wait_for(port)?;
        }
        println!(
            "{} connections, {} rounds of {} s, requests a second and latency in ms",
            self.connections, self.rounds, self.seconds
        );
        println!("| | nginx | haproxy | linkspan | linkspan / nginx |\n|---|---|---|---|---|");
        for (what, close) in [("keep-alive", false), ("new connections", true)] {
            let mut figures: [Vec<Figures>; 3] = Default::default();
            for _ in 0..self.rounds {
                for (side, figures) in figures.iter_mut().enumerate() {
                    figures.push(self.load(8001 + side, close)?);
                }
            }
            let median = |of: fn(&Figures) -> f64| {
                figures.each_ref().map(|all| {
                    let mut all: Vec<_> = all.iter().map(of).collect();
                    all.sort_by(f64::total_cmp);
                    all[all.len() / 2]
                })
            };
            let (rate, p99) = (median(|f| f.rate), median(|f| f.p99_ms));
            println!(
                "| requests/s, {what} | {:.0} | {:.0} | {:.0} | {:.2} |",
                rate[0],
                rate[1],
                rate[2],
                rate[2] / rate[0]
            );
            println!("| p99 ms, {what} | {:.2} | {:.2} | {:.2} | {:.2} |", p99[0], p99[1], p99[2], p99[2] / p99[0]);
        }
        for (name, running) in NAMES.iter().zip(&running) {
            println!("RSS of {name}: {} kB", running.rss_kb());
        }
        Ok(())
    }

    fn load(&self, port: usize, close: bool) -> Result<Figures> {
        let mut wrk = command("wrk", ["-t1", "--latency", "-H", "Host: bench.local"]);
        wrk.arg(format!("-c{}", self.connections)).arg(format!("-d{}s", self.seconds));
        if close {
            wrk.args(["-H", "Connection: close"]);
        }
        let text = output(wrk.arg(format!("http://127.0.0.1:{port}/")))?;
        if text.contains("Non-2xx") {
            return Err(format!("port {port} answers otherwise than 200:\n{text}"));
        }
        let after = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
            line.map(str::trim).ok_or_else(|| format!("wrk does not say {name}:\n{text}"))
        };
        let rate = after("Requests/sec:")?.parse().map_err(|e| format!("wrk's rate: {e}"))?;
        Ok(Figures { rate, p99_ms: milliseconds(after("99%")?)? })
    }
}

struct Figures {
    rate: f64,
    p99_ms: f64,
}

/// As wrk writes: `1.23ms`, `456.00us`, `1.02s`.
fn milliseconds(text: &str) -> Result<f64> {
    let (number, factor) = match text.strip_suffix("ms") {
        Some(number) => (number, 1.0),
        None => match text.strip_suffix("us") {
            Some(number) => (number, 0.001),
            None => (text.trim_end_matches('s'), 1000.0),
        },
    };
    number.parse::<f64>().map(|number| number * factor).map_err(|e| format!("wrk's {text}: {e}"))
}

/// Ended with the bench.
struct Running(Child);

impl Running {
    /// With its children, which are the workers.
    fn rss_kb(&self) -> u64 {
        let of = |pid: u32| -> u64 {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
        };
        let pid = self.0.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        of(pid) + children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(of).sum::<u64>()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // So that masters take their workers along.
        let _ = command("kill", ["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

fn nginx(folder: &Path, name: &str, http: &str) -> Result<Running> {
    let workers = if name == "origin" { "1" } else { "auto" };
    let path = folder.join(format!("{name}.conf"));
    let text = format!(
        "daemon off; worker_processes {workers}; pid {}/{name}.pid; error_log /dev/null;\nevents {{ worker_connections 4096; }}\nhttp {{ access_log off; keepalive_requests 1000000; {http} }}\n",
        folder.display()
    );
    fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    let mut nginx = command("nginx", ["-c"]);
    nginx.arg(&path).stdin(Stdio::null()).stderr(Stdio::null());
    nginx.spawn().map(Running).map_err(|e| format!("cannot start nginx: {e}"))
}

fn origin() -> String {
    format!("server {{ listen {ORIGIN} backlog=4096; location / {{ return 200 '{}'; }} }}", "x".repeat(200))
}

fn front_nginx() -> String {
    format!(
        "upstream origin {{ server {ORIGIN}; keepalive 256; keepalive_requests 1000000; }}\n\
         server {{ listen 127.0.0.1:8001 backlog=4096; server_name bench.local; location / {{ proxy_pass http://origin; proxy_http_version 1.1; \
         proxy_set_header Connection ''; proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; \
         proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Port $server_port; }} }}"
    )
}

fn haproxy(folder: &Path) -> Result<Running> {
    let path = folder.join("haproxy.cfg");
    let text = format!(
        "global\n  maxconn 4096\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  option forwardfor\n  http-reuse always\n\
         frontend front\n  bind 127.0.0.1:8002 backlog 4096\n  acl bench hdr(host) -i bench.local\n  http-request set-header X-Forwarded-Proto http\n  \
         http-request set-header X-Forwarded-Host %[req.hdr(host)]\n  http-request set-header X-Forwarded-Port 8002\n  http-request set-header X-Real-IP %[src]\n  \
         use_backend origin if bench\nbackend origin\n  server origin {ORIGIN}\n"
    );
    fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    let mut haproxy = command("haproxy", ["-f"]);
    haproxy.arg(&path).stdin(Stdio::null()).stderr(Stdio::null());
    haproxy.spawn().map(Running).map_err(|e| format!("cannot start haproxy: {e}"))
}

fn wait_for(port: u16) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > deadline {
            return Err(format!("nobody listens at port {port}"));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
