//! Requests without pause, as a client of good manners sends them, and what became of each.
//!
//! A kept connection that ends before any octet of an answer came was about to close when the request was sent; the request is sent
//! again on a new one, as every client does with one that only asks (RFC 9112, 9.3.1). Whatever else goes wrong is a request lost.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{From, Host};

/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is asked, and how.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Where.
    pub address: SocketAddr,
    /// For whom: the field Host.
    pub host: String,
    /// Whether connections are kept.
    pub kept: bool,
    /// Between two requests of one client.
    pub pause: Duration,
}

/// What became of requests.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answered with status 200 and a whole body.
    pub answered: usize,
    /// Of those, sent a second time.
    pub again: usize,
    /// Why the others were not, with the time since the beginning.
    pub lost: Vec<String>,
}

/// Clients at work.
#[must_use]
pub struct Load {
    end: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Tally>>,
}

impl Host {
    /// Begins to ask, from the host or from the neighbour outside, as so many clients.
    ///
    /// # Panics
    /// When somebody else is to ask, or the host is gone.
    pub fn load(&self, from: From<'_>, clients: usize, ask: &Ask) -> Load {
        let space = match from {
            From::Host => format!("/proc/{}/ns/net", self.pid()),
            From::Outside => format!("/proc/{}/root/run/netns/outside", self.pid()),
            From::Container(name) => panic!("{name} cannot be who asks"),
        };
        let (end, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |_| {
            let client =
                Client { space: space.clone().into(), ask: ask.clone(), end: end.clone(), answered: answered.clone() };
            thread::spawn(move || client.run())
        };
        Load { clients: (0..clients).map(client).collect(), end, answered }
    }
}

impl Load {
    /// How many requests were answered so far.
    pub fn answered(&self) -> usize {
        self.answered.load(Relaxed)
    }

    /// Ends, and says what became of all.
    ///
    /// # Panics
    /// When a client does.
    pub fn ends(self) -> Tally {
        self.end.store(true, Relaxed);
        let mut all = Tally::default();
        for client in self.clients {
            let tally = client.join().expect("a client does not fail");
            all.answered += tally.answered;
            all.again += tally.again;
            all.lost.extend(tally.lost);
        }
        all
    }
}

/// One client.
struct Client {
    space: PathBuf,
    ask: Ask,
    end: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl Client {
    fn run(self) -> Tally {
        let space = File::open(&self.space).expect("the host is there");
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).expect("this thread may move");
        let (began, mut tally, mut connection) = (Instant::now(), Tally::default(), None);
        while !self.end.load(Relaxed) {
            match self.request(&mut connection) {
                Ok(again) => {
                    tally.answered += 1;
                    tally.again += usize::from(again);
                    self.answered.fetch_add(1, Relaxed);
                }
                Err(why) => {
                    connection = None;
                    tally.lost.push(format!("after {:?}: {why}", began.elapsed()));
                }
            }
            thread::sleep(self.ask.pause);
        }
        tally
    }

    /// Whether it had to be sent a second time.
    fn request(&self, kept: &mut Option<BufReader<TcpStream>>) -> Result<bool, String> {
        let again = match kept.take() {
            None => false,
            Some(mut connection) => match self.exchange(&mut connection) {
                Ok(stays) => {
                    *kept = Some(connection).filter(|_| stays);
                    return Ok(false);
                }
                Err(Failed::Closed) => true,
                Err(Failed::Broken(why)) => return Err(why),
            },
        };
        let stream = TcpStream::connect_timeout(&self.ask.address, PATIENCE).map_err(|e| format!("connect: {e}"))?;
        let set = || {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))
        };
        set().map_err(|e| format!("set: {e}"))?;
        let mut connection = BufReader::new(stream);
        match self.exchange(&mut connection) {
            Ok(stays) => *kept = Some(connection).filter(|_| stays),
            Err(Failed::Closed) => return Err("a new connection was closed without an answer".to_owned()),
            Err(Failed::Broken(why)) => return Err(why),
        }
        Ok(again)
    }

    /// Whether the connection can be used again.
    fn exchange(&self, connection: &mut BufReader<TcpStream>) -> Result<bool, Failed> {
        let closed = |error: io::Error| match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => Failed::Closed,
            _ => Failed::Broken(error.to_string()),
        };
        let broken = |error: io::Error| Failed::Broken(format!("in the answer: {error}"));
        let close = if self.ask.kept { "" } else { "connection: close\r\n" };
        let request = format!("GET / HTTP/1.1\r\nhost: {}\r\n{close}\r\n", self.ask.host);
        connection.get_mut().write_all(request.as_bytes()).map_err(closed)?;
        if connection.fill_buf().map_err(closed)?.is_empty() {
            return Err(Failed::Closed);
        }
        let (mut head, mut length, mut stays) = (String::new(), None, self.ask.kept);
        loop {
            let mut line = String::new();
            connection.read_line(&mut line).map_err(broken)?;
            if line.trim_end().is_empty() {
                break;
            }
            let line = line.to_ascii_lowercase();
            length = line.strip_prefix("content-length:").map_or(length, |number| number.trim().parse().ok());
            stays &= !(line.starts_with("connection:") && line.contains("close"));
            head.push_str(&line);
        }
        let mut body = vec![0; length.ok_or_else(|| Failed::Broken(format!("an answer without a length: {head:?}")))?];
        connection.read_exact(&mut body).map_err(broken)?;
        if !head.starts_with("http/1.1 200") {
            return Err(Failed::Broken(format!("{head:?} {:?}", String::from_utf8_lossy(&body))));
        }
        Ok(stays)
    }
}

/// Why there is no answer.
enum Failed {
    /// The connection ended before any octet of one came.
    Closed,
    Broken(String),
}
