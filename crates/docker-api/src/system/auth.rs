//! `POST /auth`: whether a registry takes these credentials.

use std::sync::Arc;

use hyper::StatusCode;
use runtime::image::{ImageError, RegistryError, login};
use serde_json::json;

use crate::{
    Api, ApiError,
    answer::{self, Answer},
    call::Call,
    image::Credential,
};

pub(super) async fn log_in(api: &Arc<Api>, mut call: Call) -> Result<Answer, ApiError> {
    let credential = call.json_required::<Credential>().await?.with_auth();
    let server = credential.server_address.clone();
    match login(&server, &credential.into_credentials(), &api.settings.registries).await {
        Ok(()) => answer::ok(&json!({ "Status": "Login Succeeded", "IdentityToken": "" })),
        Err(error @ (RegistryError::Unauthorized { .. } | RegistryError::Denied { .. })) => {
            Err(ApiError::new(StatusCode::UNAUTHORIZED, error.to_string()))
        }
        Err(error) => Err(ImageError::from(error).into()),
    }
}
