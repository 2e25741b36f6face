//! Images as files: save, load, import.

use std::{io, sync::Arc};

use futures_util::{StreamExt, stream};
use runtime::image::{ImportRequest, Source};
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    event,
    progress::{Manner, or_last_line, tell},
    registry,
};
use crate::{
    Api, ApiError,
    answer::{self, Answer},
    blocking::{Writer, reader},
    call::Call,
};

/// How many pieces of an archive wait for a slow client.
const PIECES_WAITING: usize = 8;

/// `GET /images/get` and `GET /images/NAME/get`. What fails before the first byte is an error with its own status.
pub(super) async fn save(api: &Arc<Api>, names: Vec<String>) -> Result<Answer, ApiError> {
    let (sender, mut receiver) = mpsc::channel(PIECES_WAITING);
    let api = Arc::clone(api);
    tokio::spawn(async move {
        let writer = Writer::new(sender.clone());
        match api.engine.images().save(&names, writer).await {
            Ok(()) => {
                // A name without a tag may be that of a repository without the tag `latest`.
                let saved = names.iter().filter_map(|name| api.engine.images().resolve(name).ok());
                saved.for_each(|image| event::tell(&api, "save", image.id.as_str(), image.id.as_str()));
            }
            // An error here: the client has left.
            Err(error) => drop(sender.send(Err(io::Error::other(ApiError::from(error)))).await),
        }
    });
    match receiver.recv().await.transpose() {
        Ok(first) => {
            let first = stream::iter(first.map(Ok));
            let rest = stream::poll_fn(move |context| receiver.poll_recv(context));
            // An error in the middle cuts the connection, so that a part is not taken for the whole.
            Ok(answer::stream("application/x-tar", first.chain(rest)))
        }
        Err(error) => Err(error.downcast::<ApiError>().unwrap_or_else(|error| ApiError::internal(error.to_string()))),
    }
}

/// `POST /images/load`.
pub(super) async fn load(api: &Arc<Api>, call: Call) -> Result<Answer, ApiError> {
    let manner = if call.query.flag_or("quiet", true) { Manner::QuietStream } else { Manner::Stream };
    let source: Source = Box::new(reader(call.into_pieces()));
    let api = Arc::clone(api);
    tell(move |lines| async move {
        let outcome = api.engine.images().load(source, lines.sink(manner)).await;
        if let Ok(loaded) = &outcome {
            loaded.iter().for_each(|image| event::tell(&api, "load", image.id.as_str(), image.id.as_str()));
        }
        or_last_line(&lines, outcome.map(drop).map_err(ApiError::from))
    })
    .await
}

/// `POST /images/create` without `fromImage`.
pub(super) async fn import(api: &Arc<Api>, call: Call) -> Result<Answer, ApiError> {
    let text = |name: &str| call.query.get(name).unwrap_or_default().to_owned();
    let from = text("fromSrc");
    if from != "-" {
        return Err(ApiError::not_implemented(
            "linkspan does not fetch archives itself: fetch it (curl) and import it from standard input",
        ));
    }
    let reference = match call.query.get("repo") {
        Some(repository) => Some(registry::reference(repository, &text("tag"))?.or_latest()),
        None => None,
    };
    let message = Some(text("message")).filter(|message| !message.is_empty());
    let request = ImportRequest {
        reference,
        changes: call.query.all("changes").map(str::to_owned).collect(),
        message: message.unwrap_or_else(|| format!("Imported from {from}")),
        platform: call.query.get("platform").map(str::parse).transpose()?,
        source: Box::new(reader(call.into_pieces())),
    };
    let api = Arc::clone(api);
    tell(move |lines| async move {
        let id = api.engine.images().import(request).await?;
        event::tell(&api, "import", id.as_str(), id.as_str());
        lines.say(json!({ "status": id }));
        Ok(())
    })
    .await
}
