//! Queries for addresses to a name server (RFC 1035): as many as are answered, or at a rate.

use std::{
    io,
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Clients at once, each with a socket of its own.
const CLIENTS: usize = 4;

/// Queries of one client that may wait for answers when there is no rate.
const WINDOW: usize = 16;

/// The longest to wait for an answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// What clients saw.
#[derive(Default)]
struct Seen {
    answers: usize,
    lost: usize,
    /// Microseconds, when there was a rate.
    walls_us: Vec<f64>,
}

/// What is asked, and how.
pub struct Asked {
    /// The name server, with its port.
    pub server: String,
    /// Names that it knows.
    pub names: Vec<String>,
    /// For how long.
    pub duration_ms: u64,
    /// Queries a second; as many as are answered without it.
    pub rate: Option<f64>,
}

/// Asks; gives answers, milliseconds, lost queries, and the 99th percentile of microseconds (not a number
/// without a rate).
pub fn run(asked: &Asked) -> io::Result<[f64; 4]> {
    let (rate, server) = (asked.rate, asked.server.as_str());
    let queries: Vec<_> = asked.names.iter().map(|name| query(name)).collect();
    let (began, duration) = (Instant::now(), Duration::from_millis(asked.duration_ms));
    let seen = thread::scope(|scope| {
        let client = |n: usize| {
            let queries = &queries;
            scope.spawn(move || match rate {
                Some(rate) => at_rate(
                    &socket(server)?,
                    queries,
                    n,
                    began + duration,
                    Duration::from_secs_f64(CLIENTS as f64 / rate),
                ),
                None => flat_out(&socket(server)?, queries, n, began + duration),
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        let seen = clients.into_iter().map(|c| c.join().unwrap_or_else(|_| Err(io::Error::other("a client panicked"))));
        seen.collect::<io::Result<Vec<_>>>()
    })?;
    let wall_ms = began.elapsed().as_secs_f64() * 1e3;
    let sum = |part: fn(&Seen) -> usize| seen.iter().map(part).sum::<usize>() as f64;
    let mut walls_us: Vec<_> = seen.iter().flat_map(|seen| seen.walls_us.iter().copied()).collect();
    walls_us.sort_unstable_by(f64::total_cmp);
    let p99_us = walls_us.get(walls_us.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    Ok([sum(|seen| seen.answers), wall_ms, sum(|seen| seen.lost), p99_us])
}

/// Keeps the window full.
fn flat_out(socket: &UdpSocket, queries: &[Vec<u8>], client: usize, end: Instant) -> io::Result<Seen> {
    let (mut seen, mut next, mut waiting) = (Seen::default(), client, 0);
    while Instant::now() < end {
        while waiting < WINDOW {
            socket.send(&queries[next % queries.len()])?;
            (next, waiting) = (next + CLIENTS, waiting + 1);
        }
        if answer(socket)?.is_some() {
            (seen.answers, waiting) = (seen.answers + 1, waiting - 1);
        } else {
            (seen.lost, waiting) = (seen.lost + waiting, 0);
        }
    }
    Ok(seen)
}

/// Asks at fixed times, whatever is still to be answered, so that nothing a slow answer holds up is hidden. Time counts from when a
/// query was sent: nothing but the client's own turn on the processor makes it late.
fn at_rate(socket: &UdpSocket, queries: &[Vec<u8>], client: usize, end: Instant, pause: Duration) -> io::Result<Seen> {
    let first = Instant::now() + pause * u32::try_from(client).unwrap_or(0) / CLIENTS as u32;
    // When each was sent; its id is its place.
    let (mut seen, mut sent) = (Seen::default(), Vec::<Instant>::new());
    loop {
        let now = Instant::now();
        let next = u16::try_from(sent.len()).ok().map(|id| (id, first + pause * u32::from(id)));
        let next = next.filter(|(_, due)| *due < end);
        if let Some((id, due)) = next
            && now >= due
        {
            let mut query = queries[(client + usize::from(id) * CLIENTS) % queries.len()].clone();
            query[..2].copy_from_slice(&id.to_be_bytes());
            socket.send(&query)?;
            sent.push(now);
            continue;
        }
        let until = next.map_or(end + PATIENCE, |(_, due)| due);
        if next.is_none() && (seen.answers == sent.len() || now >= until) {
            break;
        }
        let wait = Timespec::try_from(until.saturating_duration_since(now)).map_err(io::Error::other)?;
        if poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&wait))? > 0
            && let Some(id) = answer(socket)?
        {
            let asked = sent.get(usize::from(id)).ok_or_else(|| io::Error::other("an answer to no query"))?;
            seen.answers += 1;
            seen.walls_us.push(asked.elapsed().as_secs_f64() * 1e6);
        }
    }
    seen.lost = sent.len() - seen.answers;
    seen.walls_us.extend((0..seen.lost).map(|_| PATIENCE.as_secs_f64() * 1e6));
    Ok(seen)
}

/// The id of an answer with an address; none in time is none, a bad one is an error.
fn answer(socket: &UdpSocket) -> io::Result<Option<u16>> {
    let mut answer = [0; 512];
    let size = match socket.recv(&mut answer) {
        Ok(size) => size,
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => return Ok(None),
        Err(e) => return Err(e),
    };
    // The code of the answer is in the fourth byte, the number of records in the seventh and eighth.
    if size > 12 && answer[3] & 0x0f == 0 && (answer[6], answer[7]) != (0, 0) {
        return Ok(Some(u16::from_be_bytes([answer[0], answer[1]])));
    }
    Err(io::Error::other(format!("an answer without an address: {:x?}", &answer[..size])))
}

fn socket(server: &str) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// A query for the addresses of a name.
fn query(name: &str) -> Vec<u8> {
    let header = [0x2a, 0x2a, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    // Labels are shorter than 64 bytes.
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    [&header[..], &labels.collect::<Vec<_>>(), &[0, 0, 1, 0, 1]].concat()
}

#[cfg(test)]
mod tests {
    #[test]
    fn queries() {
        let expected = b"\x2a\x2a\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02n7\x01a\x00\x00\x01\x00\x01";
        assert_eq!(super::query("n7.a"), expected);
    }
}
