//! (to be written)

use std::sync::Arc;

use crate::{Api, ApiError, answer::Answer, call::Call};

pub(crate) async fn route(api: &Arc<Api>, path: &[&str], call: Call) -> Result<Answer, ApiError> {
    let _ = (api, path, call);
    Err(ApiError::no_such_page())
}
