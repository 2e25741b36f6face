//! x
use crate::{Api, ApiError, answer::Answer, call::Call};
use std::sync::Arc;
pub(super) async fn logs(_: &Arc<Api>, _: &str, _: &Call) -> Result<Answer, ApiError> {
    Err(ApiError::no_such_page())
}
