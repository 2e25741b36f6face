//! Images from and to registries.

use std::sync::Arc;

use runtime::image::{Credentials, ImageError, PullRequest, PushRequest, Reference, inspect_distribution};
use serde_json::json;

use super::{
    credential::Credential,
    event,
    progress::{Manner, tell},
};
use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
};

/// `POST /images/create?fromImage=...`. Without a tag or digest it means all tags of the repository.
pub(super) async fn pull(api: &Arc<Api>, call: &Call) -> Result<Answer, ApiError> {
    let text = |name: &str| call.query.get(name).unwrap_or_default();
    // `docker pull -a` sends a colon without a tag.
    let reference = reference(text("fromImage").trim_end_matches(':'), text("tag"))?;
    if reference.familiar_name() == "scratch" {
        return Err(ApiError::forbidden("'scratch' is a reserved name"));
    }
    let platform = call.query.get("platform").map(str::parse).transpose()?;
    let credentials = credentials(call);
    let api = Arc::clone(api);
    tell(move |lines| async move {
        let (store, settings) = (api.engine.images(), &api.settings.registries);
        let progress = lines.sink(Manner::Status);
        let references = if reference.tag().is_none() && reference.digest().is_none() {
            let tags = store.remote_tags(&reference, credentials.as_ref(), settings).await?;
            tags.iter().map(|tag| reference.with_tag(tag)).collect::<Result<_, _>>().map_err(ImageError::from)?
        } else {
            vec![reference]
        };
        for reference in references {
            let request = PullRequest {
                reference: reference.clone(),
                platform: platform.clone(),
                credentials: credentials.clone(),
                progress: progress.clone(),
            };
            store.pull(request, settings).await?;
            event::tell(&api, "pull", &reference.familiar(), &reference.familiar_name());
        }
        Ok(())
    })
    .await
}

/// `POST /images/NAME/push?tag=...`. Without a tag it means all tags of the repository.
pub(super) async fn push(api: &Arc<Api>, name: &str, call: &Call) -> Result<Answer, ApiError> {
    let reference = reference(name, call.query.get("tag").unwrap_or_default())?;
    let credentials = credentials(call);
    let api = Arc::clone(api);
    tell(move |lines| async move {
        let request = PushRequest { reference: reference.clone(), credentials, progress: lines.sink(Manner::Status) };
        for pushed in api.engine.images().push(request, &api.settings.registries).await? {
            // What clients that sign need to know.
            lines.say(json!({
                "progressDetail": {},
                "aux": { "Tag": pushed.tag, "Digest": pushed.digest, "Size": pushed.size },
            }));
            let name = reference.familiar_name();
            event::tell(&api, "push", &format!("{name}:{}", pushed.tag), &name);
        }
        Ok(())
    })
    .await
}

/// `GET /distribution/NAME/json`.
pub(super) async fn distribution(api: &Api, name: &str, call: &Call) -> Result<Answer, ApiError> {
    let reference = reference(name, "")?;
    let found = inspect_distribution(&reference, credentials(call).as_ref(), &api.settings.registries).await?;
    answer::ok(&json!({
        "Descriptor": { "mediaType": found.media_type, "digest": found.digest, "size": found.size },
        "Platforms": found.platforms,
    }))
}

/// A reference from the two parameters it is sent in; the tag may be a digest.
pub(super) fn reference(name: &str, tag: &str) -> Result<Reference, ApiError> {
    let whole = match tag {
        "" => name.to_owned(),
        digest if digest.contains(':') => format!("{}@{digest}", repository(name)),
        tag => format!("{}:{tag}", repository(name)),
    };
    Reference::parse(&whole).map_err(|error| ApiError::invalid(error.to_string()))
}

/// The name without the tag or digest that it may carry: the parameter goes before.
fn repository(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or_default();
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

fn credentials(call: &Call) -> Option<Credentials> {
    Credential::from_header(call.header("x-registry-auth")).map(Credential::into_credentials)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_come_in_two_parts() {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let check = |name: &str, tag: &str, expected: Result<&str, &str>| {
            let found = reference(name, tag).map(|reference| reference.familiar()).map_err(|error| error.message);
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{name} {tag}");
        };
        check("docker.io/library/busybox", "latest", Ok("busybox:latest"));
        check("busybox", "", Ok("busybox"));
        check("busybox:1", "", Ok("busybox:1"));
        check("busybox:1", "2", Ok("busybox:2"));
        check("127.0.0.1:5000/a", "2", Ok("127.0.0.1:5000/a:2"));
        check("127.0.0.1:5000/a:1", "2", Ok("127.0.0.1:5000/a:2"));
        check("busybox", digest, Ok(&format!("busybox@{digest}")));
        check(&format!("busybox@{digest}"), "", Ok(&format!("busybox@{digest}")));
        check("busybox", "a b", Err("invalid reference format"));
        check("", "latest", Err("invalid reference format"));
    }
}
