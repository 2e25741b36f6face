//! `linkspan demo`: what the built-in image `linkspan/demo` runs. A server that says who it is and who asked, and a client.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    process::{self, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use nix::sys::signal::{SigSet, Signal};

use super::Outcome;

/// Serve or ask over HTTP, to show a network (this is what the image linkspan/demo runs)
#[derive(Args)]
pub struct Demo {
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// Answer every HTTP request with who answers and who asked
    Serve {
        /// Where to listen
        #[arg(default_value = "[::]:80")]
        address: String,
    },
    /// Ask once and print the answer
    Ask {
        /// HOST[:PORT]
        host: String,
    },
}

/// The longest a peer may take for anything.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nobody may have come for it to end.
const QUIET: Duration = Duration::from_millis(100);

impl Demo {
    pub fn run(self) -> Outcome {
        match self.part {
            Some(Part::Ask { host }) => ask(&host)?,
            Some(Part::Serve { address }) => serve(&address)?,
            None => serve("[::]:80")?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn serve(address: &str) -> io::Result<()> {
    let told = told_to_end()?;
    // A host without IPv6 has no [::].
    let listener = TcpListener::bind(address).or_else(|e| match address.strip_prefix("[::]") {
        Some(port) => TcpListener::bind(format!("0.0.0.0{port}")),
        None => Err(e),
    })?;
    println!("listening at {}", listener.local_addr()?);
    let served = Arc::new(Served::default());
    end_when_told(told, Arc::clone(&served));
    for stream in listener.incoming().flatten() {
        let serving = Serving::of(&served);
        thread::spawn(move || {
            // A client that goes away is its own loss.
            let _ = answer(stream);
            drop(serving);
        });
    }
    Ok(())
}

/// The server is process 1 of its container, to which nothing is sent that it does not ask for (pid_namespaces(7)).
fn told_to_end() -> io::Result<SigSet> {
    let told = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    told.thread_block()?;
    Ok(told)
}

/// Who was on the way when it was told to end is still answered.
fn end_when_told(told: SigSet, served: Arc<Served>) {
    thread::spawn(move || {
        // It fails only for a set without signals.
        let _ = told.wait();
        let deadline = Instant::now() + PATIENCE;
        let mut before = None;
        while Instant::now() < deadline {
            let (begun, ended) = (served.begun.load(Ordering::SeqCst), served.ended.load(Ordering::SeqCst));
            if begun == ended && before == Some(begun) {
                break;
            }
            before = Some(begun);
            thread::sleep(QUIET);
        }
        process::exit(0);
    });
}

/// How many requests there were.
#[derive(Default)]
struct Served {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

/// One of them.
struct Serving(Arc<Served>);

impl Serving {
    fn of(served: &Arc<Served>) -> Self {
        served.begun.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(served))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

fn answer(stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new((&stream).take(64 * 1024)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or("/");
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (me, you) = (plain(stream.local_addr()?), plain(stream.peer_addr()?));
    // What it is told by its environment comes first: a greeting, and the version of its image.
    let said: String =
        ["GREETING", "VERSION"].iter().filter_map(|told| env::var(told).ok()).map(|told| told + " ").collect();
    let body = format!("{said}I am {name} at {me}. You are {you} and asked for {path}.\n");
    let length = body.len();
    write!(
        &stream,
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

/// IPv4 as such, and not as the socket for both families has it.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn ask(host: &str) -> io::Result<()> {
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    // The first address: a name of a container's has no others.
    let first = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&first, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.take(1024 * 1024).read_to_string(&mut text)?;
    print!("{}", text.split_once("\r\n\r\n").map_or(text.as_str(), |(_, body)| body));
    Ok(())
}
