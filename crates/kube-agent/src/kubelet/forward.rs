//! `/portForward`: connections to the ports of a pod, made from within it. The client opens two streams of SPDY for each: one for
//! errors, one for data; SPDY itself may come in the messages of a WebSocket.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    net::{Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    thread,
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::{Request, body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::protocol::Message;
use tracing::debug;

use super::{
    Answer, Desk, Refusal, find,
    spdy::{self, Connection, Opened, Writer},
    upgrade::{self, Carrier, Offer},
    websocket,
};
use crate::{identity, pod::spec};

const OFFER: Offer = Offer { websocket: &["SPDY/3.1+portforward.k8s.io"], spdy: &["portforward.k8s.io"] };
/// Bytes of one piece.
const PIECE_BYTES: usize = 32 << 10;

/// Forwards connections for as long as the client stays.
pub fn forward(desk: &Desk, namespace: &str, name: &str, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let pod = find::pod(desk, namespace, name)?;
    let (_, _, uid) = spec::names(&pod);
    let of_host = spec::of(&pod).host_network == Some(true);
    let netns = (!of_host).then(|| desk.shared.places.namespace(&identity::sandbox(&uid)));
    let (upgrade, answer) = upgrade::agree(request, &OFFER)?;
    tokio::spawn(async move {
        let carrier = upgrade.carrier;
        let connection = match upgrade.connection().await {
            Ok(connection) => connection,
            Err(error) => return debug!(%error, "a client left before its connection was taken over"),
        };
        let connection = match carrier {
            Carrier::Spdy => spdy::connect(connection),
            Carrier::WebSocket => spdy::connect(tunnel(connection).await),
        };
        serve(connection, netns).await;
    });
    Ok(answer)
}

async fn serve(connection: Connection, netns: Option<PathBuf>) {
    let Connection { mut opened, writer } = connection;
    let mut errors: BTreeMap<String, Opened> = BTreeMap::new();
    let mut waiting: BTreeMap<String, Opened> = BTreeMap::new();
    while let Some(stream) = opened.recv().await {
        let header = |name: &str| stream.headers.get(name).cloned().unwrap_or_default();
        // Clients that number no pairs open one at a time.
        let pair = match header("requestid") {
            id if id.is_empty() => header("port"),
            id => id,
        };
        let is_error = header("streamtype") == "error";
        let other = if is_error { waiting.remove(&pair) } else { errors.remove(&pair) };
        match (is_error, other) {
            (true, Some(data)) => start(stream, data, &writer, &netns),
            (false, Some(error)) => start(error, stream, &writer, &netns),
            (true, None) => drop(errors.insert(pair, stream)),
            (false, None) => drop(waiting.insert(pair, stream)),
        }
    }
}

/// Joins a pair of streams with a connection.
fn start(error: Opened, data: Opened, writer: &Writer, netns: &Option<PathBuf>) {
    let (writer, netns) = (writer.clone(), netns.clone());
    tokio::spawn(async move {
        let port = data.headers.get("port").and_then(|port| port.parse().ok()).unwrap_or_default();
        let (error_id, data_id) = (error.id, data.id);
        if let Err(refused) = join(data, port, &writer, netns).await {
            let words = format!("an error occurred forwarding port {port}: {refused}");
            let _ = writer.data(error_id, words.into()).await;
        }
        writer.finish(data_id).await;
        writer.finish(error_id).await;
    });
}

async fn join(mut data: Opened, port: u16, writer: &Writer, netns: Option<PathBuf>) -> io::Result<()> {
    let (mut read, mut write) = connect(port, netns).await?.into_split();
    let inward = async {
        while let Some(bytes) = data.data.recv().await {
            write.write_all(&bytes).await?;
        }
        write.shutdown().await
    };
    let outward = async {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match read.read(&mut piece).await? {
                0 => return io::Result::Ok(()),
                length => writer.data(data.id, Bytes::copy_from_slice(&piece[..length])).await?,
            }
        }
    };
    // The server's end is the end of the connection; the client's is not.
    tokio::pin!(inward);
    tokio::select! {
        ended = outward => ended,
        // It may still be answered.
        ended = async { (&mut inward).await?; std::future::pending::<io::Result<()>>().await } => ended,
    }
}

/// A connection to a port of a pod's own loopback address, made in a thread that enters the pod's namespace and ends there.
async fn connect(port: u16, netns: Option<PathBuf>) -> io::Result<TcpStream> {
    let (done, made) = tokio::sync::oneshot::channel();
    thread::Builder::new().name("port-forward".to_owned()).spawn(move || {
        let connect = || {
            if let Some(path) = netns {
                move_into_link_name_space(File::open(path)?.as_fd(), Some(LinkNameSpaceType::Network))?;
            }
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .or_else(|error| std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port)).map_err(|_| error))
        };
        // Whoever asked may have left.
        let _ = done.send(connect());
    })?;
    let stream = made.await.map_err(|_| io::Error::other("the connecting thread died"))??;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    TcpStream::from_std(stream)
}

/// The bytes that come and go in the binary messages of a WebSocket.
async fn tunnel(connection: TokioIo<Upgraded>) -> DuplexStream {
    let (mut sink, mut messages) = websocket::accept(connection).await.split();
    let (near, far) = tokio::io::duplex(2 * PIECE_BYTES);
    let (mut read, mut write) = tokio::io::split(far);
    tokio::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            let written = match message {
                Message::Binary(bytes) => write.write_all(&bytes).await,
                Message::Close(_) => break,
                _ => Ok(()),
            };
            if written.is_err() {
                break;
            }
        }
        let _ = write.shutdown().await;
    });
    tokio::spawn(async move {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(length @ 1..) = read.read(&mut piece).await {
            if sink.send(Message::Binary(Bytes::copy_from_slice(&piece[..length]))).await.is_err() {
                break;
            }
        }
        let _ = sink.send(websocket::goodbye()).await;
    });
    near
}
