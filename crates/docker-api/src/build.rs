//! What linkspan does not do: building images. One clear sentence for each way of asking.

use std::sync::Arc;

use hyper::StatusCode;

use crate::{Api, ApiError, answer::Answer, call::Call};

const NO_BUILDER: &str = "linkspan does not build images: build with another builder (buildah, kaniko, docker buildx with a container \
                          driver) and load or pull the result";

/// Everything below `/build` but prune, and the connections of BuildKit.
pub(crate) async fn route(_api: &Arc<Api>, path: &[&str], _call: Call) -> Result<Answer, ApiError> {
    match path {
        ["build"] => Err(no_builder()),
        // Compose and buildx try these first and fall back to /build.
        ["session"] | ["grpc"] => Err(no_builder()),
        // Nothing is being built.
        ["build", "cancel"] => Ok(crate::answer::empty(StatusCode::OK)),
        _ => Err(ApiError::no_such_page()),
    }
}

fn no_builder() -> ApiError {
    ApiError::not_implemented(NO_BUILDER)
}
