//! Bytes in one direction, as fast as they go.

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// Sends for so long; gives gigabits a second.
pub fn run(address: SocketAddr, duration_ms: u64) -> io::Result<f64> {
    let mut stream = TcpStream::connect(address)?;
    let bytes = vec![b's'; 256 * 1024];
    let (began, duration, mut sent) = (Instant::now(), Duration::from_millis(duration_ms), 0);
    while began.elapsed() < duration {
        stream.write_all(&bytes)?;
        sent += bytes.len();
    }
    Ok(sent as f64 * 8.0 / 1e9 / began.elapsed().as_secs_f64())
}
