//! `POST /containers/{id}/attach`, `GET /containers/{id}/attach/ws` and `POST /containers/{id}/resize`.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use hyper::StatusCode;
use model::{
    Container,
    container::{Phase, Stdin, Terminal},
};
use runtime::shim::protocol::{AttachWish, Replay, WindowSize};

use super::logs;
use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
    detach::DetachKeys,
    find,
    hijack::{self, Input, Output},
    query::Query,
    stream::{Framing, Terms, relay},
    version::Version,
    websocket::Handshake,
};

/// From this version on a WebSocket has the streams that the query names; before, all.
const CHOSEN_STREAMS: Version = Version::new(1, 42);

/// Takes over the connection for the streams of a container's process. One that does not run yet is waited for.
pub(super) async fn attach(api: &Arc<Api>, name: &str, call: Call) -> Result<Answer, ApiError> {
    let container = attachable(api, name)?;
    let framing = Framing::of_terminal(has_terminal(&container));
    let query = &call.query;
    let terms = Terms {
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        stdin: query.flag("stdin"),
        ..terms(&container, query, framing)?
    };
    let content_type = framing.content_type(call.version);
    let session = session(api, container, query, terms).await?;
    Ok(hijack::answer(call, content_type, session))
}

/// The same over a WebSocket, whose messages are the output as it comes.
pub(super) async fn attach_websocket(api: &Arc<Api>, name: &str, call: Call) -> Result<Answer, ApiError> {
    let container = attachable(api, name)?;
    let handshake = Handshake::of(&call)?;
    let query = &call.query;
    let wants = |stream: &str| call.version < CHOSEN_STREAMS || query.flag(stream);
    let terms = Terms {
        stdout: wants("stdout"),
        stderr: wants("stderr"),
        stdin: wants("stdin"),
        ..terms(&container, query, Framing::Raw)?
    };
    let session = session(api, container, query, terms).await?;
    Ok(hijack::answer_websocket(call, handshake, session))
}

fn attachable(api: &Api, name: &str) -> Result<Arc<Container>, ApiError> {
    let state = api.engine.state();
    let container = Arc::clone(find::container(&state, name)?);
    let id = &container.id;
    match container.phase {
        Phase::Paused(_) => {
            Err(ApiError::conflict(format!("container {id} is paused, unpause the container before attach")))
        }
        Phase::Restarting { .. } => {
            Err(ApiError::conflict(format!("container {id} is restarting, wait until the container is running")))
        }
        _ => Ok(container),
    }
}

/// What follows from the container, without the streams.
fn terms(container: &Container, query: &Query, framing: Framing) -> Result<Terms, ApiError> {
    let terminal = has_terminal(container);
    let detach = query.get("detachKeys").map(DetachKeys::parse).transpose()?;
    Ok(Terms {
        framing,
        stdout: false,
        stderr: false,
        stdin: false,
        close_stdin: container.process.stdin == Stdin::Once && !terminal,
        detach: terminal.then(|| detach.unwrap_or_else(DetachKeys::usual)),
    })
}

/// Attaches, before the answer goes out: a start right after it must not be missed. What is returned relays.
async fn session(
    api: &Arc<Api>,
    container: Arc<Container>,
    query: &Query,
    mut terms: Terms,
) -> Result<impl FnOnce(Input, Output) -> BoxFuture<'static, ()> + Send + 'static, ApiError> {
    let (live, logs) = (query.flag("stream"), query.flag("logs"));
    terms.stdin &= live && container.process.stdin != Stdin::Closed;
    let attached = if live {
        let wish = AttachWish {
            stdout: terms.stdout,
            stderr: terms.stderr || has_terminal(&container),
            stdin: terms.stdin,
            replay: if logs { Replay::Backlog } else { Replay::Nothing },
        };
        let attached = api.engine.runtime().attach(container.id.as_str(), wish).await?;
        super::tell(api, &container, "attach", []);
        Some(attached)
    } else {
        None
    };
    let api = Arc::clone(api);
    Ok(move |input, output| {
        async move {
            match attached {
                Some(attached) => relay((input, output), attached, terms).await,
                None if logs => logs::replay(&api, &container, &terms, output).await,
                None => {}
            }
        }
        .boxed()
    })
}

fn has_terminal(container: &Container) -> bool {
    matches!(container.process.terminal, Terminal::Pty { .. })
}

/// Gives the terminal a new size.
pub(super) async fn resize(api: &Arc<Api>, name: &str, call: &Call) -> Result<Answer, ApiError> {
    let size = window_size(&call.query)?;
    let state = api.engine.state();
    let container = find::container(&state, name)?;
    api.engine.runtime().resize(container.id.as_str(), size).await?;
    Ok(answer::empty(StatusCode::OK))
}

/// Reads `h` and `w`.
pub(crate) fn window_size(query: &Query) -> Result<WindowSize, ApiError> {
    let side = |name: &str| {
        let number =
            query.number(name)?.ok_or_else(|| ApiError::invalid(format!("invalid resize {name}: it is missing")))?;
        u16::try_from(number)
            .map_err(|_| ApiError::invalid(format!("invalid resize {name}: {number} is not in 0 to 65535")))
    };
    Ok(WindowSize { rows: side("h")?, columns: side("w")? })
}
