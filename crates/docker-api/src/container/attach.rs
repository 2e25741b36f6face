//! `POST /containers/{id}/attach` and `/resize`.

use std::sync::Arc;

use hyper::StatusCode;
use model::container::{Phase, Stdin, Terminal};
use runtime::shim::protocol::{AttachWish, Replay, WindowSize};

use super::logs;
use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
    detach::DetachKeys,
    find, hijack,
    query::Query,
    stream::{Framing, Terms, relay},
};

/// Takes over the connection for the streams of a container's process. One that does not run yet is waited for.
pub(super) async fn attach(api: &Arc<Api>, name: &str, call: Call) -> Result<Answer, ApiError> {
    let state = api.engine.state();
    let container = Arc::clone(find::container(&state, name)?);
    let id = &container.id;
    match container.phase {
        Phase::Paused(_) => {
            let words = format!("container {id} is paused, unpause the container before attach");
            return Err(ApiError::conflict(words));
        }
        Phase::Restarting { .. } => {
            let words = format!("container {id} is restarting, wait until the container is running");
            return Err(ApiError::conflict(words));
        }
        _ => {}
    }
    let query = &call.query;
    let terminal = matches!(container.process.terminal, Terminal::Pty { .. });
    let framing = Framing::of_terminal(terminal);
    let detach = query.get("detachKeys").map(DetachKeys::parse).transpose()?;
    let live = query.flag("stream");
    let terms = Terms {
        framing,
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        stdin: query.flag("stdin") && live && container.process.stdin != Stdin::Closed,
        close_stdin: container.process.stdin == Stdin::Once && !terminal,
        detach: terminal.then(|| detach.unwrap_or_else(DetachKeys::usual)),
    };
    let wish = AttachWish {
        stdout: terms.stdout,
        stderr: terms.stderr || terminal,
        stdin: terms.stdin,
        replay: if query.flag("logs") { Replay::Backlog } else { Replay::Nothing },
    };
    let content_type = framing.content_type(call.version);
    if !live {
        let logs = query.flag("logs");
        let api = Arc::clone(api);
        return Ok(hijack::answer(call, content_type, move |_, output| async move {
            if logs {
                logs::replay(&api, &container, &terms, output).await;
            }
        }));
    }
    // Attached before the answer goes out: a start right after it must not be missed.
    let attached = api.engine.runtime().attach(id.as_str(), wish).await?;
    super::tell(api, &container, "attach", []);
    Ok(hijack::answer(call, content_type, move |input, output| relay((input, output), attached, terms)))
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
