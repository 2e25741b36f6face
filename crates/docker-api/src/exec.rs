//! Execs: further processes in a running container.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use hyper::{Method, StatusCode};
use model::{Container, container::Phase};
use runtime::{Attached, ExecState, ExecWish, oci::process::TerminalWish, shim::protocol::Stream};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
    container::{self, window_size},
    detach::DetachKeys,
    error, find,
    hijack::{self, Output},
    random,
    stream::{Framing, Terms, relay},
    wire::{null_default, words},
};

/// What was asked of each exec, by its id. They are lost with the daemon, as with Docker.
#[derive(Default)]
pub(crate) struct Execs(Mutex<BTreeMap<String, ExecConfig>>);

/// What a client asks of a new exec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ExecConfig {
    #[serde(deserialize_with = "null_default")]
    user: String,
    #[serde(deserialize_with = "null_default")]
    privileged: bool,
    #[serde(deserialize_with = "null_default")]
    tty: bool,
    console_size: Option<[u16; 2]>,
    #[serde(deserialize_with = "null_default")]
    attach_stdin: bool,
    #[serde(deserialize_with = "null_default")]
    attach_stderr: bool,
    #[serde(deserialize_with = "null_default")]
    attach_stdout: bool,
    // docker-py spells it so, and Docker does not mind.
    #[serde(deserialize_with = "null_default", alias = "detachKeys")]
    detach_keys: String,
    #[serde(deserialize_with = "null_default")]
    env: Vec<String>,
    #[serde(deserialize_with = "null_default")]
    working_dir: String,
    #[serde(deserialize_with = "words")]
    cmd: Option<Vec<String>>,
}

/// How an exec is to be started.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Start {
    #[serde(deserialize_with = "null_default")]
    detach: bool,
    #[serde(deserialize_with = "null_default")]
    tty: bool,
}

/// Answers `POST /containers/{id}/exec` and `/exec/{id}/...`.
pub(crate) async fn route(api: &Arc<Api>, path: &[&str], call: Call) -> Result<Answer, ApiError> {
    match (&call.method.clone(), path) {
        (&Method::POST, ["containers", name, "exec"]) => create(api, name, call).await,
        (&Method::POST, ["exec", id, "start"]) => start(api, id, call).await,
        (&Method::POST, ["exec", id, "resize"]) => {
            config_of(api, id)?;
            api.engine.runtime().exec_resize(id, window_size(&call.query)?).await?;
            Ok(answer::empty(StatusCode::OK))
        }
        (&Method::GET, ["exec", id, "json"]) => {
            let config = config_of(api, id)?;
            answer::ok(&inspect(id, &config, &api.engine.runtime().exec_inspect(id)?))
        }
        _ => Err(ApiError::no_such_page()),
    }
}

async fn create(api: &Arc<Api>, name: &str, mut call: Call) -> Result<Answer, ApiError> {
    let config: ExecConfig = call.json_required().await?;
    let state = api.engine.state();
    let container = find::container(&state, name)?;
    let wish = wish(container, &config)?;
    let id = random::text(random::bytes()?);
    let runtime = api.engine.runtime();
    runtime.exec_create(&id, container.id.as_str(), wish)?;
    {
        let mut execs = api.execs.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The runtime forgets the execs of a container that has gone.
        execs.retain(|id, _| runtime.exec_inspect(id).is_ok());
        execs.insert(id.clone(), config.clone());
    }
    let command = config.cmd.unwrap_or_default().join(" ");
    container::tell(api, container, &format!("exec_create: {command}"), [("execID", id.clone())]);
    answer::json(StatusCode::CREATED, &json!({ "Id": id }))
}

fn wish(container: &Container, config: &ExecConfig) -> Result<ExecWish, ApiError> {
    let id = &container.id;
    match container.phase {
        Phase::Running(_) => {}
        Phase::Paused(_) => {
            let words = format!("container {id} is paused, unpause the container before exec");
            return Err(ApiError::conflict(words));
        }
        Phase::Restarting { .. } => {
            let words = format!("container {id} is restarting, wait until the container is running");
            return Err(ApiError::conflict(words));
        }
        _ => return Err(ApiError::conflict(format!("container {id} is not running"))),
    }
    let args = config.cmd.clone().unwrap_or_default();
    if args.is_empty() {
        return Err(ApiError::invalid("No exec command specified"));
    }
    if !config.detach_keys.is_empty() {
        DetachKeys::parse(&config.detach_keys)?;
    }
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        let words =
            format!("the working directory '{}' is invalid, it needs to be an absolute path", config.working_dir);
        return Err(ApiError::invalid(words));
    }
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let [rows, columns] = config.console_size.unwrap_or_default();
    Ok(ExecWish {
        args,
        env: config.env.clone(),
        cwd: text(&config.working_dir),
        user: text(&config.user),
        terminal: config.tty.then_some(TerminalWish { rows, columns }),
        stdin: config.attach_stdin,
        privileged: config.privileged,
    })
}

async fn start(api: &Arc<Api>, id: &str, mut call: Call) -> Result<Answer, ApiError> {
    let start: Start = call.json().await?.unwrap_or_default();
    let config = config_of(api, id)?;
    let known = api.engine.runtime().exec_inspect(id)?;
    if known.running {
        return Err(ApiError::conflict(format!("exec instance {id} is already running")));
    }
    if known.exit_code.is_some() {
        return Err(ApiError::conflict(format!("exec instance {id} has already run")));
    }
    let state = api.engine.state();
    let container = Arc::clone(find::container(&state, &known.container)?);
    if matches!(container.phase, Phase::Paused(_)) {
        return Err(ApiError::conflict(format!(
            "container {} is paused, unpause the container before exec",
            container.id
        )));
    }
    let command = config.cmd.clone().unwrap_or_default().join(" ");
    container::tell(api, &container, &format!("exec_start: {command}"), [("execID", id.to_owned())]);
    if start.detach {
        // The input ends at once, and nobody reads the output: the process goes on.
        let Attached { mut input, .. } = api.engine.runtime().exec_start(id).await?;
        let _ = input.close().await;
        tokio::spawn(tell_end(Arc::clone(api), container, id.to_owned()));
        return Ok(answer::empty(StatusCode::OK));
    }
    let framing = Framing::of_terminal(start.tty);
    let content_type = framing.content_type(call.version);
    let (api, id) = (Arc::clone(api), id.to_owned());
    Ok(hijack::answer(call, content_type, move |input, mut output| async move {
        match api.engine.runtime().exec_start(&id).await {
            Ok(attached) => {
                // The client may leave before the process ends.
                tokio::spawn(tell_end(Arc::clone(&api), container, id));
                relay((input, output), attached, terms(&config, framing)).await;
            }
            // The answer is out already; the words go where the output would have gone.
            Err(error) => complain(&mut output, framing, &error).await,
        }
    }))
}

fn terms(config: &ExecConfig, framing: Framing) -> Terms {
    let given = DetachKeys::parse(&config.detach_keys).ok();
    Terms {
        framing,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr,
        stdin: config.attach_stdin,
        close_stdin: true,
        detach: config.tty.then(|| given.unwrap_or_else(DetachKeys::usual)),
    }
}

async fn complain(output: &mut Output, framing: Framing, error: &runtime::RuntimeError) {
    let words = format!("{}\r\n", error::chain(error));
    let framed: Bytes = framing.frame(Stream::Stdout, words.into_bytes());
    // Nobody else is there to be told.
    let _ = output.write(framed).await;
}

/// Tells how the process ended, when it has.
async fn tell_end(api: Arc<Api>, container: Arc<Container>, id: String) {
    // An exec is forgotten with its container, and nobody asks then.
    if let Ok(code) = api.engine.runtime().exec_wait(&id).await {
        container::tell(&api, &container, "exec_die", [("execID", id), ("exitCode", code.to_string())]);
    }
}

fn config_of(api: &Arc<Api>, id: &str) -> Result<ExecConfig, ApiError> {
    let execs = api.execs.0.lock().unwrap_or_else(PoisonError::into_inner);
    execs.get(id).cloned().ok_or_else(|| ApiError::not_found(format!("No such exec instance: {id}")))
}

fn inspect(id: &str, config: &ExecConfig, state: &ExecState) -> Value {
    let mut words = state.wish.args.iter();
    let mut process = json!({
        "entrypoint": words.next(),
        "arguments": words.collect::<Vec<_>>(),
        "privileged": config.privileged,
        "tty": config.tty,
    });
    if !config.user.is_empty() {
        process["user"] = json!(config.user);
    }
    json!({
        "ID": id,
        "Running": state.running,
        "ExitCode": state.exit_code,
        "ProcessConfig": process,
        "OpenStdin": config.attach_stdin,
        "OpenStderr": config.attach_stderr,
        "OpenStdout": config.attach_stdout,
        "CanRemove": !state.running && state.exit_code.is_some(),
        "ContainerID": state.container,
        "DetachKeys": config.detach_keys,
        "Pid": state.pid.unwrap_or(0),
    })
}
