//! The streams of a process over SPDY (`v4.channel.k8s.io`): the client opens one for each, and says in a header which it is.

use std::{collections::BTreeMap, time::Duration};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use runtime::shim::protocol::Stream;
use tokio::sync::mpsc;

use super::{Connection, Opened};
use crate::kubelet::{
    command::{Client, Said, Streams, Told},
    websocket::Size,
};

/// How long a client may take to open its streams.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many messages may wait for a slow reader.
const WAITING: usize = 16;

/// The client at the other end, once it has opened all streams that it asked for.
pub async fn client(connection: TokioIo<Upgraded>, streams: Streams) -> Option<Client> {
    let Connection { mut opened, writer } = super::connect(connection);
    let wanted = [("error", true), ("stdin", streams.stdin), ("stdout", streams.stdout), ("stderr", streams.stderr)];
    let wanted = wanted.iter().filter(|(_, wanted)| *wanted).count() + usize::from(streams.terminal);
    let mut found: BTreeMap<String, Opened> = BTreeMap::new();
    let all = async {
        while found.len() < wanted {
            let stream = opened.recv().await?;
            found.insert(stream.headers.get("streamtype").cloned().unwrap_or_default(), stream);
        }
        Some(())
    };
    tokio::time::timeout(PATIENCE, all).await.ok()??;
    let (say, said) = mpsc::channel(WAITING);
    let (told, mut tell) = mpsc::channel(WAITING);
    if let Some(mut stdin) = found.remove("stdin") {
        let say = say.clone();
        tokio::spawn(async move {
            while let Some(bytes) = stdin.data.recv().await {
                if say.send(Said::Input(bytes)).await.is_err() {
                    return;
                }
            }
            let _ = say.send(Said::EndOfInput).await;
        });
    }
    if let Some(mut sizes) = found.remove("resize") {
        let say = say.clone();
        tokio::spawn(async move {
            while let Some(bytes) = sizes.data.recv().await {
                // Several may come in one piece.
                let sizes: Vec<Size> = serde_json::Deserializer::from_slice(&bytes).into_iter().flatten().collect();
                for size in sizes {
                    let _ = say.send(Said::Size(size.into())).await;
                }
            }
        });
    }
    let id = |name: &str| found.get(name).map(|stream| stream.id);
    let (stdout, stderr, error) = (id("stdout"), id("stderr"), id("error"));
    tokio::spawn(async move {
        // The client has left when no stream can come any more; what it says ends with that.
        let _until_it_leaves = say;
        loop {
            tokio::select! {
                told = tell.recv() => {
                    let Some(told) = told else { return };
                    let (stream, bytes, over) = match told {
                        Told::Output(Stream::Stdout, bytes) => (stdout, bytes, false),
                        Told::Output(_, bytes) => (stderr, bytes, false),
                        Told::Status(status) => (error, status.to_string().into(), true),
                    };
                    if let Some(stream) = stream
                        && writer.data(stream, bytes).await.is_err()
                    {
                        return;
                    }
                    if over {
                        for stream in [stdout, stderr, error].into_iter().flatten() {
                            writer.finish(stream).await;
                        }
                        return;
                    }
                }
                // Nothing else is opened: this is the end of the connection.
                none = opened.recv() => if none.is_none() { return },
            }
        }
    });
    Some(Client { said, told })
}
