//! `/exec` and `/attach`: the streams of a process, for a client that speaks WebSocket or SPDY.

use bytes::Bytes;
use hyper::{Request, body::Incoming};
use model::container::{Stdin, Terminal};
use runtime::{
    Attached, ExecWish, Runtime,
    oci::process::TerminalWish,
    shim::protocol::{AttachWish, Replay, Stream, WindowSize},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::debug;

use super::{
    Answer, Desk, Refusal, find,
    find::Named,
    query::Query,
    spdy,
    upgrade::{self, Carrier, Offer, Upgrade},
    websocket,
};

/// What is spoken, the best first.
const OFFER: Offer = Offer { websocket: &["v5.channel.k8s.io", "v4.channel.k8s.io"], spdy: &["v4.channel.k8s.io"] };

/// Which streams a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// Input.
    pub stdin: bool,
    /// Output.
    pub stdout: bool,
    /// Output of errors; a terminal has none of its own.
    pub stderr: bool,
    /// A terminal, with its sizes.
    pub terminal: bool,
}

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// Input.
    Input(Bytes),
    /// No more input.
    EndOfInput,
    /// The size of its terminal.
    Size(WindowSize),
}

/// What a client is told.
#[derive(Debug)]
pub enum Told {
    /// Output.
    Output(Stream, Bytes),
    /// How it ended: a `Status` of Kubernetes. Nothing follows.
    Status(Value),
}

/// A client whose connection was taken over.
pub struct Client {
    /// What it says; it ends when the client leaves.
    pub said: mpsc::Receiver<Said>,
    /// What it is told.
    pub told: mpsc::Sender<Told>,
}

/// Runs a program in a container.
pub async fn exec(desk: &Desk, named: Named<'_>, query: &Query, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let container = find::running(desk, named)?;
    let streams = streams(query)?;
    let args = query.all("command");
    if args.is_empty() {
        return Err(Refusal::invalid("you must specify at least one command"));
    }
    let exec_id = crate::random::hex().map_err(|error| Refusal::internal(&error))?;
    let terminal = streams.terminal.then(TerminalWish::default);
    let wish = ExecWish { args, terminal, stdin: streams.stdin, ..ExecWish::default() };
    let runtime = desk.shared.engine.runtime().clone();
    runtime.exec_create(&exec_id, container.id.as_str(), wish).map_err(|error| Refusal::internal(&error))?;
    let (upgrade, answer) = upgrade::agree(request, &OFFER)?;
    tokio::spawn(async move {
        let Some(client) = meet(upgrade, streams).await else { return };
        let told = client.told.clone();
        let status = match runtime.exec_start(&exec_id).await {
            Ok(attached) => {
                let process = Process { runtime: &runtime, exec: Some(&exec_id), container: container.id.as_str() };
                relay(client, attached, streams, &process).await;
                match runtime.exec_wait(&exec_id).await {
                    Ok(code) => exit_status(code),
                    Err(error) => failure(&error),
                }
            }
            Err(error) => failure(&error),
        };
        let _ = told.send(Told::Status(status)).await;
    });
    Ok(answer)
}

/// Shows the streams of a container's own process.
pub async fn attach(
    desk: &Desk,
    named: Named<'_>,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let container = find::running(desk, named)?;
    let mut streams = streams(query)?;
    streams.terminal = container.process.terminal != Terminal::None;
    streams.stdin &= container.process.stdin != Stdin::Closed;
    let wish = AttachWish {
        stdout: streams.stdout,
        stderr: streams.stderr || streams.terminal,
        stdin: streams.stdin,
        replay: Replay::Nothing,
    };
    let runtime = desk.shared.engine.runtime().clone();
    let attached = runtime.attach(container.id.as_str(), wish).await.map_err(|error| Refusal::internal(&error))?;
    let (upgrade, answer) = upgrade::agree(request, &OFFER)?;
    tokio::spawn(async move {
        let Some(client) = meet(upgrade, streams).await else { return };
        let told = client.told.clone();
        let process = Process { runtime: &runtime, exec: None, container: container.id.as_str() };
        relay(client, attached, streams, &process).await;
        let _ = told.send(Told::Status(success())).await;
    });
    Ok(answer)
}

/// The client, once the connection is taken over.
async fn meet(upgrade: Upgrade, streams: Streams) -> Option<Client> {
    let (carrier, protocol) = (upgrade.carrier, upgrade.protocol);
    let connection = match upgrade.connection().await {
        Ok(connection) => connection,
        Err(error) => {
            debug!(%error, "a client left before its connection was taken over");
            return None;
        }
    };
    match carrier {
        Carrier::WebSocket => Some(websocket::client(connection, protocol, streams).await),
        Carrier::Spdy => spdy::command::client(connection, streams).await,
    }
}

fn streams(query: &Query) -> Result<Streams, Refusal> {
    let terminal = query.flag(&["tty"]);
    let streams = Streams {
        stdin: query.flag(&["input", "stdin"]),
        stdout: query.flag(&["output", "stdout"]),
        stderr: query.flag(&["error", "stderr"]) && !terminal,
        terminal,
    };
    match streams.stdin || streams.stdout || streams.stderr {
        true => Ok(streams),
        false => Err(Refusal::invalid("you must specify at least 1 of stdin, stdout, stderr")),
    }
}

/// Whose streams are relayed.
struct Process<'a> {
    runtime: &'a Runtime,
    exec: Option<&'a str>,
    container: &'a str,
}

impl Process<'_> {
    async fn resize(&self, size: WindowSize) {
        let resized = match self.exec {
            Some(exec) => self.runtime.exec_resize(exec, size).await,
            None => self.runtime.resize(self.container, size).await,
        };
        if let Err(error) = resized {
            debug!(%error, "a terminal keeps its size");
        }
    }
}

/// Relays until the process ends, or its client leaves.
async fn relay(client: Client, attached: Attached, streams: Streams, process: &Process<'_>) {
    let Client { mut said, told } = client;
    let Attached { mut output, mut input } = attached;
    let outward = async {
        while let Ok(Some((stream, bytes))) = output.read().await {
            let wanted = if stream == Stream::Stdout { streams.stdout } else { streams.stderr };
            if wanted && told.send(Told::Output(stream, bytes.into())).await.is_err() {
                return;
            }
        }
    };
    let inward = async {
        while let Some(said) = said.recv().await {
            match said {
                // A process that reads no more is no reason to stop showing its output.
                Said::Input(bytes) => drop(input.write(&bytes).await),
                Said::EndOfInput => drop(input.close().await),
                Said::Size(size) => process.resize(size).await,
            }
        }
    };
    tokio::select! {
        () = outward => {}
        () = inward => {}
    }
}

fn success() -> Value {
    json!({ "metadata": {}, "status": "Success" })
}

fn exit_status(code: i32) -> Value {
    if code == 0 {
        return success();
    }
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "reason": "NonZeroExitCode",
        "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
    })
}

fn failure(error: &dyn std::fmt::Display) -> Value {
    let message = format!("Internal error occurred: error executing command in container: {error}");
    json!({ "metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500 })
}
