//! Connections: connect, one request, its answer, close.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::bench::sides::median;

/// Clients at once.
const THREADS: usize = 8;

/// The longest that one may take for anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes so many; gives connections a second and the median of their microseconds.
pub fn run(address: SocketAddr, connections: usize) -> io::Result<[f64; 2]> {
    let began = Instant::now();
    let walls = thread::scope(|scope| {
        let clients: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| client(address, connections / THREADS))).collect();
        let walls =
            clients.into_iter().map(|c| c.join().unwrap_or_else(|_| Err(io::Error::other("a client panicked"))));
        walls.collect::<io::Result<Vec<_>>>()
    })?;
    let walls = walls.concat();
    Ok([walls.len() as f64 / began.elapsed().as_secs_f64(), median(walls.into_iter())])
}

fn client(address: SocketAddr, connections: usize) -> io::Result<Vec<f64>> {
    let one = |_| {
        let began = Instant::now();
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"r")?;
        let mut answer = [0; 128];
        while stream.read(&mut answer)? > 0 {}
        drop(stream);
        Ok(began.elapsed().as_secs_f64() * 1e6)
    };
    (0..connections).map(one).collect()
}
