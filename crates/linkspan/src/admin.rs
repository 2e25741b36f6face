//! What the verbs ask the running daemon: one line of JSON over `RUN/linkspan.sock`, answered by text until the end.
//!
//! The socket is root's alone. The answers themselves are made in `view`.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixListener,
    sync::mpsc,
};
use tracing::debug;

/// What can be asked.
#[derive(Debug, Serialize, Deserialize)]
pub enum Ask {
    /// A drawing.
    Map {
        /// How.
        format: Format,
    },
    /// What must be against what is.
    Diff,
    /// Why something is there.
    Explain {
        /// The thing.
        object: String,
    },
    /// Where a packet ends.
    Trace {
        /// A container, `host`, or an address.
        source: String,
        /// A container or an address, and a port.
        destination: String,
        /// The packet's protocol.
        protocol: Protocol,
    },
    /// Leave the host.
    Down,
}

/// How a map is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Format {
    /// A tree for the terminal
    Text,
    /// For programs
    Json,
    /// For Graphviz
    Dot,
    /// For Markdown pages
    Mermaid,
    /// A picture
    Svg,
}

/// Protocols of virtual packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Protocol {
    /// RFC 9293
    Tcp,
    /// RFC 768
    Udp,
    /// RFC 792, RFC 4443
    Icmp,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// Nobody is there.
    #[error("no linkspan daemon answers at {path}: start one with `linkspan up`, or name its --run-dir ({source})")]
    Absent {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the daemon went away while answering: {0}")]
    Broken(#[from] std::io::Error),
    /// The daemon says no; the words are complete.
    #[error("{0}")]
    Refused(String),
}

/// The socket's path.
pub fn socket(run_dir: &Path) -> PathBuf {
    run_dir.join("linkspan.sock")
}

/// What a running daemon holds, so that the run directory is its alone.
pub fn lock(run_dir: &Path) -> PathBuf {
    run_dir.join("lock")
}

/// Asks the daemon and waits for the answer.
pub fn ask(run_dir: &Path, ask: &Ask) -> Result<String, AskError> {
    let path = socket(run_dir);
    let mut stream = UnixStream::connect(&path).map_err(|source| AskError::Absent { path, source })?;
    let mut line = serde_json::to_string(ask).map_err(std::io::Error::from)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_at_checked(1) {
        Some(("+", text)) => Ok(text.to_owned()),
        Some(("-", text)) => Err(AskError::Refused(text.to_owned())),
        _ => Err(AskError::Refused("the daemon gave no answer; see its log".to_owned())),
    }
}

/// One question, and where its answer goes.
pub struct Question {
    /// What is asked.
    pub ask: Ask,
    /// Where the answer goes.
    pub answer: tokio::sync::oneshot::Sender<Result<String, String>>,
}

/// The longest question, bytes.
const LONGEST: u64 = 64 * 1024;

/// Takes questions until the receiver is gone.
pub async fn serve(listener: UnixListener, questions: mpsc::Sender<Question>) {
    while let Ok((stream, _)) = listener.accept().await {
        let questions = questions.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(stream, questions).await {
                debug!(%error, "a question was not finished");
            }
        });
    }
}

async fn converse(mut stream: tokio::net::UnixStream, questions: mpsc::Sender<Question>) -> std::io::Result<()> {
    let mut line = String::new();
    let (reader, mut writer) = stream.split();
    BufReader::new(tokio::io::AsyncReadExt::take(reader, LONGEST)).read_line(&mut line).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(ask) => {
            let (answer, answered) = tokio::sync::oneshot::channel();
            // A closed receiver shows as a dropped answer.
            let _ = questions.send(Question { ask, answer }).await;
            answered.await.unwrap_or_else(|_| Err("the daemon is shutting down".to_owned()))
        }
        Err(error) => Err(format!("not a question: {error}")),
    };
    let (sign, text) = match &answer {
        Ok(text) => ("+", text),
        Err(text) => ("-", text),
    };
    writer.write_all(sign.as_bytes()).await?;
    writer.write_all(text.as_bytes()).await?;
    writer.shutdown().await
}
