//! Work that takes long, told as JSON lines while it is done.
//!
//! Nothing is answered before the work has something to say: what fails at once is an error with its own status, as clients expect.
//! What fails later is the last line. A client that leaves stops the work.

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::stream;
use runtime::image::{Progress, ProgressSink};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    ApiError,
    answer::{self, Answer},
};

/// When so many lines wait for a slow client, it is not told of every step of a bar any more.
const WAITING_MAX: usize = 1024;

/// How the lines that are not about a layer are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// As `status`: pulls, pushes, imports.
    Status,
    /// As `stream`, with the end of the line: loads.
    Stream,
    /// The same, and nothing of layers.
    QuietStream,
}

/// Where work tells what it does. Clones tell the same client.
#[derive(Clone)]
pub(super) struct Lines {
    sender: mpsc::UnboundedSender<Value>,
    waiting: Arc<AtomicUsize>,
}

impl Lines {
    /// Tells this.
    pub(super) fn say(&self, line: Value) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // A client that has left stops the work soon.
        let _ = self.sender.send(line);
    }

    /// Tells what the image store has to say.
    pub(super) fn sink(&self, manner: Manner) -> ProgressSink {
        let lines = self.clone();
        ProgressSink::new(move |progress| {
            let is_step = matches!(&progress, Progress::Layer { phase, .. } if phase.amount().is_some());
            if !(is_step && lines.waiting.load(Ordering::Relaxed) > WAITING_MAX)
                && let Some(line) = line(&progress, manner)
            {
                lines.say(line);
            }
        })
    }
}

/// Does the work and answers with what it tells.
pub(super) async fn tell<W>(work: impl FnOnce(Lines) -> W) -> Result<Answer, ApiError>
where
    W: Future<Output = Result<(), ApiError>> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let lines = Lines { sender, waiting: Arc::clone(&waiting) };
    let last = lines.clone();
    let mut work = Box::pin(work(lines));
    let first = tokio::select! {
        biased;
        line = receiver.recv() => line,
        outcome = &mut work => {
            outcome?;
            // All has been said; what is still on its way follows.
            drop(last);
            receiver.close();
            return Ok(rest(None, receiver, waiting));
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            outcome = work => {
                if let Err(error) = outcome {
                    last.say(failure(&error.message));
                }
            }
            () = last.sender.closed() => {}
        }
    });
    Ok(rest(first, receiver, waiting))
}

/// Whatever the outcome, as the last line: clients of loads read errors nowhere else.
pub(super) fn or_last_line(lines: &Lines, outcome: Result<(), ApiError>) -> Result<(), ApiError> {
    if let Err(error) = outcome {
        lines.say(failure(&error.message));
    }
    Ok(())
}

fn rest(first: Option<Value>, mut receiver: mpsc::UnboundedReceiver<Value>, waiting: Arc<AtomicUsize>) -> Answer {
    let mut first = first;
    let lines = stream::poll_fn(move |context| match first.take() {
        Some(line) => std::task::Poll::Ready(Some(line)),
        None => receiver.poll_recv(context),
    });
    let bytes = futures_util::StreamExt::map(lines, move |line| {
        waiting.fetch_sub(1, Ordering::Relaxed);
        Ok::<_, io::Error>(Bytes::from(format!("{line}\r\n")))
    });
    answer::stream("application/json", bytes)
}

fn failure(message: &str) -> Value {
    json!({ "errorDetail": { "message": message }, "error": message })
}

fn line(progress: &Progress, manner: Manner) -> Option<Value> {
    match progress {
        Progress::Line(text) if manner == Manner::Status => Some(json!({ "status": text })),
        Progress::Line(text) => Some(json!({ "stream": format!("{text}\n") })),
        Progress::Layer { .. } if manner == Manner::QuietStream => None,
        Progress::Named { id, text } => Some(json!({ "status": text, "id": id })),
        Progress::Layer { id, phase } => {
            let detail = match phase.amount() {
                Some(amount) if amount.total > 0 => json!({ "current": amount.current, "total": amount.total }),
                Some(amount) => json!({ "current": amount.current }),
                None => json!({}),
            };
            Some(json!({ "status": phase.to_string(), "progressDetail": detail, "id": id }))
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use hyper::StatusCode;
    use runtime::image::{Amount, Phase};

    use super::*;

    async fn text(answer: Answer) -> String {
        String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn early_errors_have_their_status() {
        let outcome = tell(|_| async { Err(ApiError::not_found("no such manifest")) }).await;
        assert_eq!(outcome.unwrap_err(), ApiError::new(StatusCode::NOT_FOUND, "no such manifest"));
    }

    #[tokio::test]
    async fn late_errors_are_the_last_line() {
        let outcome = tell(|lines| async move {
            lines.say(json!({ "status": "a" }));
            tokio::task::yield_now().await;
            Err(ApiError::internal("cut"))
        });
        let expected = "{\"status\":\"a\"}\r\n{\"error\":\"cut\",\"errorDetail\":{\"message\":\"cut\"}}\r\n";
        assert_eq!(text(outcome.await.unwrap()).await, expected);
    }

    #[tokio::test]
    async fn work_that_says_all_at_once_is_heard() {
        let outcome = tell(|lines| async move {
            lines.say(json!({ "status": "a" }));
            lines.say(json!({ "status": "b" }));
            Ok(())
        });
        assert_eq!(text(outcome.await.unwrap()).await, "{\"status\":\"a\"}\r\n{\"status\":\"b\"}\r\n");
        let silent = tell(|_| async { Ok(()) }).await.unwrap();
        assert_eq!(text(silent).await, "");
    }

    #[tokio::test]
    async fn a_client_that_leaves_stops_the_work() {
        let (held, mut gone) = mpsc::channel::<()>(1);
        let answer = tell(|lines| async move {
            lines.say(json!({ "status": "a" }));
            let forever = std::future::pending::<()>();
            forever.await;
            drop(held);
            Ok(())
        });
        drop(answer.await.unwrap());
        assert_eq!(gone.recv().await, None);
    }

    #[test]
    fn progress_is_told_in_dockers_words() {
        let check = |progress: Progress, manner, expected: Option<Value>| assert_eq!(line(&progress, manner), expected);
        let layer = |phase| Progress::Layer { id: "a1".to_owned(), phase };
        let amount = |total| Phase::Downloading(Amount { current: 5, total });
        check(Progress::Line("Status: done".to_owned()), Manner::Status, Some(json!({"status": "Status: done"})));
        check(
            Progress::Line("Loaded image: a:1".to_owned()),
            Manner::QuietStream,
            Some(json!({"stream": "Loaded image: a:1\n"})),
        );
        check(
            Progress::Named { id: "1".to_owned(), text: "Pulling from a".to_owned() },
            Manner::Status,
            Some(json!({"status": "Pulling from a", "id": "1"})),
        );
        check(
            layer(amount(9)),
            Manner::Status,
            Some(json!({"status": "Downloading", "progressDetail": {"current": 5, "total": 9}, "id": "a1"})),
        );
        check(
            layer(amount(0)),
            Manner::Stream,
            Some(json!({"status": "Downloading", "progressDetail": {"current": 5}, "id": "a1"})),
        );
        check(
            layer(Phase::PullComplete),
            Manner::Status,
            Some(json!({"status": "Pull complete", "progressDetail": {}, "id": "a1"})),
        );
        check(layer(Phase::PullComplete), Manner::QuietStream, None);
    }
}
