//! Answers that say no: a status and Docker's words.

use engine::EngineError;
use hyper::StatusCode;
use model::Refusal;
use runtime::{
    RuntimeError,
    image::{ErrorKind, ImageError},
};
use thiserror::Error;

/// Why a request is not granted, as its client is told.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The sentence in the answer's `message`.
    pub message: String,
}

impl ApiError {
    /// An error of this status.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// 400: the request makes no sense.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 403: never allowed.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404: there is no such thing.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 409: not in this state.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 500: something broke.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// 501: not here.
    pub(crate) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// 404 for a path that is not in the table.
    pub(crate) fn no_such_page() -> Self {
        Self::not_found("page not found")
    }
}

/// The whole chain of an error in one line: `cannot write X: No space left on device`.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        // Transparent errors, and those that print their cause themselves, would say it twice.
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::NotFound { .. } => StatusCode::NOT_FOUND,
            Refusal::ContainerNameInUse { .. }
            | Refusal::NetworkNameInUse { .. }
            | Refusal::VolumeInUse { .. }
            | Refusal::Conflict(_) => StatusCode::CONFLICT,
            Refusal::Invalid(_) | Refusal::PoolsExhausted => StatusCode::BAD_REQUEST,
            Refusal::SubnetInUse { .. } | Refusal::NetworkInUse { .. } | Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
            Refusal::AddressesExhausted { .. }
            | Refusal::AddressInUse { .. }
            | Refusal::PortInUse { .. }
            | Refusal::PortsExhausted { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::Unchanged(_) => StatusCode::NOT_MODIFIED,
        };
        Self::new(status, refusal.to_string())
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused(refusal) => refusal.into(),
            // 127 and 126 are the user's words: Docker answers 400 for a program that is missing or cannot be executed.
            EngineError::Launch { code: 126 | 127, message } => Self::invalid(message),
            EngineError::Launch { message, .. } => Self::internal(message),
            EngineError::Closed => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            EngineError::Runtime(error) => error.into(),
            other => Self::internal(chain(&other)),
        }
    }
}

impl From<ImageError> for ApiError {
    fn from(error: ImageError) -> Self {
        let status = match error.kind() {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Denied => StatusCode::FORBIDDEN,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, chain(&error))
    }
}

impl From<RuntimeError> for ApiError {
    fn from(error: RuntimeError) -> Self {
        let status = match &error {
            RuntimeError::Start(failure) if matches!(failure.code, 126 | 127) => StatusCode::BAD_REQUEST,
            RuntimeError::Signal(_) => StatusCode::BAD_REQUEST,
            RuntimeError::NoExec(_) => StatusCode::NOT_FOUND,
            RuntimeError::Running(_) | RuntimeError::NotRunning(_) | RuntimeError::ExecStarted(_) => {
                StatusCode::CONFLICT
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, chain(&error))
    }
}
