//! A server: one byte `r` is a request that is answered at once, anything else begins a stream that is swallowed.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

/// As many wait for connections at each address.
const THREADS: usize = 4;

/// What is answered.
const ANSWER: &[u8; 64] = &[b'a'; 64];

/// Serves until standard input ends.
pub fn run(addresses: &[SocketAddr]) -> io::Result<()> {
    for address in addresses {
        let listener = TcpListener::bind(address)?;
        for _ in 0..THREADS {
            let listener = listener.try_clone()?;
            thread::spawn(move || accept(&listener));
        }
    }
    println!("ready");
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}

fn accept(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        // A client that goes away is its own loss.
        let _ = serve(stream);
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut first = [0];
    stream.read_exact(&mut first)?;
    if first == *b"r" {
        stream.write_all(ANSWER)?;
        return stream.shutdown(Shutdown::Write);
    }
    thread::spawn(move || {
        let mut bytes = vec![0; 256 * 1024];
        while stream.read(&mut bytes).is_ok_and(|size| size > 0) {}
    });
    Ok(())
}
