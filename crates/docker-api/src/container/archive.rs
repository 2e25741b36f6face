//! x
use crate::{Api, ApiError, answer::Answer, call::Call, query::Query};
use std::sync::Arc;
pub(super) async fn stat(_: &Arc<Api>, _: &str, _: &Query) -> Result<Answer, ApiError> {
    Err(ApiError::no_such_page())
}
pub(super) async fn get(_: &Arc<Api>, _: &str, _: &Query) -> Result<Answer, ApiError> {
    Err(ApiError::no_such_page())
}
pub(super) async fn put(_: &Arc<Api>, _: &str, _: Call) -> Result<Answer, ApiError> {
    Err(ApiError::no_such_page())
}
pub(super) async fn export(_: &Arc<Api>, _: &str) -> Result<Answer, ApiError> {
    Err(ApiError::no_such_page())
}
pub(super) async fn changes(_: &Arc<Api>, _: &str) -> Result<Answer, ApiError> {
    Err(ApiError::no_such_page())
}
