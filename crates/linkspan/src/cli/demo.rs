//! `linkspan demo`: what the built-in image `linkspan/demo` runs. A server that says who it is and who asked, and a client.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    process::{self, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
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
/// How long a connection is kept between two requests.
const IDLE: Duration = Duration::from_secs(60);
/// The same once the server was told to end.
const LAST: Duration = Duration::from_secs(1);
/// How often is looked whether it was.
const LOOK: Duration = Duration::from_millis(100);

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
    let leaving = leave_when_told()?;
    // A host without IPv6 has no [::].
    let listener = TcpListener::bind(address).or_else(|e| match address.strip_prefix("[::]") {
        Some(port) => TcpListener::bind(format!("0.0.0.0{port}")),
        None => Err(e),
    })?;
    println!("listening at {}", listener.local_addr()?);
    for stream in listener.incoming().flatten() {
        let leaving = leaving.clone();
        leaving.come.fetch_add(1, SeqCst);
        thread::spawn(move || {
            // A client that goes away is its own loss.
            let _ = converse(&stream, &leaving);
            drop(stream);
            leaving.gone.fetch_add(1, SeqCst);
        });
    }
    Ok(())
}

/// How the server ends: whoever comes until then is answered.
#[derive(Default)]
struct Leaving {
    told: AtomicBool,
    /// Connections so far.
    come: AtomicUsize,
    /// Of those, the ones that are over.
    gone: AtomicUsize,
}

/// The server is process 1 of its container, to which nothing is sent that it does not ask for (pid_namespaces(7)).
fn leave_when_told() -> io::Result<Arc<Leaving>> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block()?;
    let leaving = Arc::new(Leaving::default());
    let of_thread = leaving.clone();
    thread::spawn(move || {
        // It fails only for a set without signals.
        let _ = signals.wait();
        of_thread.told.store(true, SeqCst);
        let end = Instant::now() + PATIENCE;
        let mut before = None;
        // Two looks at least: somebody may be on the way through the kernel's queue.
        while Instant::now() < end {
            let (come, gone) = (of_thread.come.load(SeqCst), of_thread.gone.load(SeqCst));
            if come == gone && before == Some(come) {
                break;
            }
            before = Some(come);
            thread::sleep(LOOK);
        }
        process::exit(0);
    });
    Ok(leaving)
}

/// Answers one request after the other.
fn converse(stream: &TcpStream, leaving: &Leaving) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = BufReader::new(stream);
    loop {
        if !comes(&mut requests, leaving)? {
            return Ok(());
        }
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut lines = requests.by_ref().take(64 * 1024).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        let (mut stays, mut length) = (request.ends_with("HTTP/1.1"), 0);
        while let Some(line) = lines.next().transpose()?.filter(|line| !line.is_empty()) {
            let line = line.to_ascii_lowercase();
            stays &= !(line.starts_with("connection:") && line.contains("close"));
            // What it does not understand it does not go on from.
            stays &= !line.starts_with("transfer-encoding:");
            if let Some(number) = line.strip_prefix("content-length:") {
                length = number.trim().parse().map_err(io::Error::other)?;
            }
        }
        io::copy(&mut requests.by_ref().take(length), &mut io::sink())?;
        stays &= !leaving.told.load(SeqCst);
        answer(stream, request.split(' ').nth(1).unwrap_or("/"), stays)?;
        if !stays {
            return Ok(());
        }
    }
}

/// Waits for the next request. Who leaves waits a little: a client may be about to send it, and is then told to come no more.
fn comes(requests: &mut BufReader<&TcpStream>, leaving: &Leaving) -> io::Result<bool> {
    requests.get_ref().set_read_timeout(Some(LOOK))?;
    let mut end = Instant::now() + IDLE;
    let mut told = false;
    while Instant::now() < end {
        match requests.fill_buf() {
            Ok(octets) => return Ok(!octets.is_empty()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        if leaving.told.load(SeqCst) && !told {
            told = true;
            end = Instant::now() + LAST;
        }
    }
    Ok(false)
}

fn answer(mut stream: &TcpStream, path: &str, stays: bool) -> io::Result<()> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (me, you) = (plain(stream.local_addr()?), plain(stream.peer_addr()?));
    // What it is told by its environment comes first: a greeting, and the version of its image.
    let said: String =
        ["GREETING", "VERSION"].iter().filter_map(|told| env::var(told).ok()).map(|told| told + " ").collect();
    let body = format!("{said}I am {name} at {me}. You are {you} and asked for {path}.\n");
    let (length, connection) = (body.len(), if stays { "keep-alive" } else { "close" });
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: {connection}\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes())
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
