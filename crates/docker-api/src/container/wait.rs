//! `POST /containers/{id}/wait`: the head of the answer goes out at once, its body when the container ends.

use std::sync::Arc;

use bytes::Bytes;
use engine::{EngineError, WaitFor};
use futures_util::stream;
use model::container::Exit;
use serde_json::{Value, json};

use crate::{
    Api, ApiError,
    answer::{self, Answer},
    find,
    query::Query,
};

pub(super) fn wait(api: &Arc<Api>, name: &str, query: &Query) -> Result<Answer, ApiError> {
    let what = match query.get("condition") {
        None | Some("not-running") => WaitFor::NotRunning,
        Some("next-exit") => WaitFor::NextExit,
        Some("removed") => WaitFor::Removed,
        Some(other) => return Err(ApiError::invalid(format!("invalid condition: \"{other}\""))),
    };
    let state = api.engine.state();
    let container = find::container(&state, name)?;
    // Subscribed now: clients start the container as soon as they have the head of this answer.
    let ended = api.engine.wait(&container.id, what);
    let body = stream::once(async move { Ok(Bytes::from(format!("{}\n", document(what, ended.await)))) });
    Ok(answer::stream("application/json", body))
}

/// A start that failed is told to whoever asked for the start: only who waits for a standstill learns the cause here.
fn document(what: WaitFor, ended: Result<Exit, EngineError>) -> Value {
    match ended {
        Ok(Exit { code, error: Some(error), .. }) if what == WaitFor::NotRunning => {
            json!({ "StatusCode": code, "Error": { "Message": error } })
        }
        Ok(Exit { code, .. }) => json!({ "StatusCode": code }),
        Err(error) => json!({ "StatusCode": -1, "Error": { "Message": ApiError::from(error).message } }),
    }
}
