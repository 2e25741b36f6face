//! Clients that open connections and say nothing, or no end of it, or too much at once.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use crate::front::{Front, Version, answer, eventually, many, request, rss_mib};

/// Whether the other end has closed, whatever it said before.
async fn is_closed(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match tokio::time::timeout(Duration::from_millis(1), stream.read(&mut bytes)).await {
            Ok(Ok(0) | Err(_)) => return true,
            Ok(Ok(_)) => {}
            Err(_) => return false,
        }
    }
}

/// Writes until the other end takes no more, in pieces; what it said.
async fn pour(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    begin: &str,
    piece: &str,
    times: usize,
) -> (usize, String) {
    let mut taken = 0;
    let (mut read, mut write) = tokio::io::split(stream);
    let pouring = async {
        write.write_all(begin.as_bytes()).await?;
        for _ in 0..times {
            write.write_all(piece.as_bytes()).await?;
            taken += 1;
        }
        write.flush().await
    };
    let mut said = Vec::new();
    let listening = async {
        // It ends with the connection, however that comes.
        let _ = read.read_to_end(&mut said).await;
    };
    let both = async { tokio::join!(pouring, listening) };
    let _ = tokio::time::timeout(Duration::from_secs(120), both).await.expect("the connection ends");
    (taken, String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_or_no_end_of_it_is_let_go() {
    let front = Front::start().await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(front.address).await.unwrap());
        let mut half = TcpStream::connect(front.address).await.unwrap();
        // The beginning of a greeting (RFC 8446, 5.1).
        half.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        silent.push(half);
    }
    let mut greeted = Vec::new();
    for begun in ["", "G", "GET /version HTTP/1.1\r\nHost: l\r\nX-Slow: ", "GET /version HTTP/1.1\r\nHost: l\r\n\r\n"] {
        for version in [Version::Http1, Version::Http2] {
            let mut stream = front.connect(front.nobody(version)).await.unwrap();
            stream.write_all(begun.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            greeted.push((begun, version, stream));
        }
    }
    let mut watching = front.watch_at_once("/api/v1/namespaces/default/configmaps?watch=1").await;
    front.serves_others().await;
    eventually("all silent connections are closed", async || {
        for stream in &mut silent {
            if !is_closed(stream).await {
                return false;
            }
        }
        true
    })
    .await;
    for (begun, version, mut stream) in greeted {
        eventually(&format!("{version:?} that begins with {begun:?} is closed"), async || {
            // A byte now and then is no sign of life.
            let _ = stream.write_all(b"a").await;
            let _ = stream.flush().await;
            is_closed(&mut stream).await
        })
        .await;
    }
    // Who has asked for something that is long in coming need not say anything.
    let map = serde_json::json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "late" } });
    front.must("POST", "/api/v1/namespaces/default/configmaps", &map).await;
    let mut said = Vec::new();
    let heard = async {
        while !String::from_utf8_lossy(&said).contains("\"late\"") {
            assert_ne!(watching.read_buf(&mut said).await.unwrap(), 0, "{}", String::from_utf8_lossy(&said));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), heard).await.expect("the watch goes on");
    front.serves_others().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_keep_nobody_out() {
    let front = Front::start().await;
    let before = rss_mib();
    // Both ends are in this process, and descriptors are few.
    let limit = std::fs::read_to_string("/proc/self/limits").unwrap();
    let limit = limit.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let room: usize = limit.split_whitespace().next().unwrap().parse().unwrap_or(1 << 20);
    let times = many(10_000).min(room / 2 - 1500);
    let mut crowd = Vec::new();
    for number in 0..times {
        // Who finds the queue full comes again.
        if let Ok(mut stream) = TcpStream::connect(front.address).await {
            let _ = stream.write_all(&[22, 3, 1, 2, 0, 1][..number % 7]).await;
            crowd.push(stream);
        }
        if number % 1000 == 0 {
            front.serves_others().await;
        }
    }
    front.serves_others().await;
    let held = rss_mib() - before;
    println!("{} strangers: {held} MiB", crowd.len());
    assert!(held < 300, "{held} MiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_and_bodies_without_end_are_refused() {
    let front = Front::start().await;
    let before = rss_mib();
    let piece = "x".repeat(1 << 16);
    let head = "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: l\r\nContent-Type: application/json\r\n";
    let chunk = format!("10000\r\n{piece}\r\n");
    for (what, begin, piece, status) in [
        ("a field", "GET /version HTTP/1.1\r\nHost: l\r\nX-Long: ".to_owned(), piece.as_str(), "431"),
        ("fields", "GET /version HTTP/1.1\r\nHost: l\r\n".to_owned(), "X-Many: x\r\n", "431"),
        ("a path", "GET /".to_owned(), piece.as_str(), "431"),
        ("a body", format!("{head}Transfer-Encoding: chunked\r\n\r\n"), chunk.as_str(), "413"),
        ("a body of known length", format!("{head}Content-Length: 99999999\r\n\r\n"), piece.as_str(), "413"),
    ] {
        let mut stream = front.connect(front.admin(Version::Http1)).await.unwrap();
        let (taken, said) = pour(&mut stream, &begin, piece, 1 << 14).await;
        // Who goes on sending may find the connection cut before it has read why.
        assert!(taken < 1 << 14, "{what}: all of it was taken");
        assert!(
            said.is_empty() || said.starts_with(&format!("HTTP/1.1 {status}")) || said.starts_with("HTTP/1.1 414"),
            "{what}: {said:.200}"
        );
        front.serves_others().await;
    }
    // One who stops at the limit reads it, in Kubernetes' words.
    let (status, said) = front.ask("POST", "/api/v1/namespaces/default/configmaps", vec![b' '; (3 << 20) + 1]).await;
    assert_eq!((status, said["reason"].as_str()), (413, Some("RequestEntityTooLarge")), "{said:.300}");
    assert!(rss_mib() < before + 200);
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_http2_harm_nobody_else() {
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;
    const CONTINUATION: u8 = 9;
    // `GET https localhost /version`, without indexing (RFC 7541).
    let get = [&[0x82, 0x87, 0x04, 8][..], b"/version", &[0x01, 9], b"localhost"].concat();
    let front = Front::start().await;
    let before = rss_mib();
    let times = u32::try_from(many(50_000)).unwrap();
    type Flood<'f> = Box<dyn Fn(u32) -> Vec<u8> + Send + 'f>;
    let floods: Vec<(&str, Flood<'_>)> = vec![
        (
            "rapid reset (CVE-2023-44487)",
            Box::new(|n| [frame(HEADERS, 5, 2 * n + 1, &get), frame(RESET, 0, 2 * n + 1, &[0, 0, 0, 8])].concat()),
        ),
        ("settings (CVE-2019-9515)", Box::new(|n| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, (n >> 8) as u8, n as u8]))),
        ("pings (CVE-2019-9512)", Box::new(|_| frame(PING, 0, 0, &[0; 8]))),
        (
            "continuations without end (CVE-2024-27316)",
            Box::new(|n| {
                if n == 0 { frame(HEADERS, 1, 1, &get) } else { frame(CONTINUATION, 0, 1, &[0x00, 1, b'x', 1, b'y']) }
            }),
        ),
        (
            "empty frames (CVE-2019-9518)",
            Box::new(|n| if n == 0 { frame(HEADERS, 4, 1, &get) } else { frame(0, 0, 1, &[]) }),
        ),
        ("windows", Box::new(|n| frame(WINDOW_UPDATE, 0, 0, &(n % 7 + 1).to_be_bytes()))),
        ("streams that never end", Box::new(|n| frame(HEADERS, 4, 2 * n + 1, &get))),
        ("odd frames", Box::new(|n| frame((n % 256) as u8, (n >> 3) as u8, n % 9, &[1, 2, 3, 4, 5]))),
    ];
    for identity in ["admin", "nobody"] {
        for (what, flood) in &floods {
            let tls = if identity == "admin" { front.admin(Version::Http2) } else { front.nobody(Version::Http2) };
            let mut stream = front.connect(tls).await.unwrap();
            let flooding = async {
                stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await?;
                for n in 0..times {
                    // Nothing is read: what the server would answer must not pile up either.
                    stream.write_all(&flood(n)).await?;
                }
                stream.flush().await
            };
            // It is cut, or takes no more, or has taken all of it.
            let outcome = tokio::time::timeout(Duration::from_secs(20), flooding).await;
            println!("{identity}: {what}: {outcome:?}, {} MiB more", rss_mib().saturating_sub(before));
            front.serves_others().await;
            let mut sender = front.sender(front.admin(Version::Http2)).await;
            assert_eq!(answer(&mut sender, request("GET", "/version", Bytes::new())).await.0, 200, "{what}");
            assert!(rss_mib() < before + 200, "{what}: {} MiB", rss_mib());
        }
    }
}
