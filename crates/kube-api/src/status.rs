//! Refusals in Kubernetes' words: each is the `Status` object that clients match on by code and reason (the API concepts page and
//! `metav1.StatusReason`). What is wrong with an object's fields is said by `kind`; how an answer is sent, by `answer`.

use serde_json::{Value, json};

use crate::kind::{Errors, FieldError, Kind};

/// A refusal: an HTTP status code and the `Status` object that goes with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// HTTP status code.
    pub code: u16,
    /// `metav1.StatusReason`.
    pub reason: &'static str,
    /// What a human reads.
    pub message: String,
    /// What a program reads besides: name, group, kind, causes; `null` for none.
    pub details: Value,
    /// Where the client of a list may go on all the same.
    pub resume: Option<String>,
}

impl Failure {
    /// The `Status` object.
    pub fn body(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        if let Some(token) = &self.resume {
            status["metadata"]["continue"] = token.as_str().into();
        }
        status
    }

    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null, resume: None }
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        self.details = json!({ "name": name, "kind": kind.plural });
        if !kind.group.is_empty() {
            self.details["group"] = kind.group.into();
        }
        self
    }

    /// There is no such object.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", resource(kind))).about(kind, name)
    }

    /// There is no such kind.
    pub fn no_such_kind(group: &str, version: &str, plural: &str) -> Self {
        let place = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let mut failure = Self::no_such_path();
        failure.message = format!("{}: there are no {plural} of {place} here", failure.message);
        failure
    }

    /// There is no such path.
    pub fn no_such_path() -> Self {
        let mut failure = Self::new(404, "NotFound", "the server could not find the requested resource");
        failure.details = json!({});
        failure
    }

    /// The name is taken.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", resource(kind))).about(kind, name)
    }

    /// A name that the server made is taken, again and again.
    pub fn name_taken(kind: &Kind, name: &str) -> Self {
        let message =
            format!("{} {name:?} already exists, the server was not able to generate a unique name", resource(kind));
        Self::new(409, "AlreadyExists", message).about(kind, name)
    }

    /// The object was changed since it was read.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource(kind));
        Self::new(409, "Conflict", message).about(kind, name)
    }

    /// The object was changed since it was read, as an update finds it.
    pub fn modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// Others own fields that were applied (server-side apply): their message and causes.
    pub fn apply_conflict(message: String, causes: Value) -> Self {
        let mut failure = Self::new(409, "Conflict", message);
        failure.details = json!({ "causes": causes });
        failure
    }

    /// Fields of the object are not as they must be.
    pub fn invalid(kind: &Kind, name: &str, errors: &Errors) -> Self {
        let message = format!("{} {name:?} is invalid: {errors}", qualified(kind));
        let mut failure = Self::new(422, "Invalid", message);
        let cause = |error: &FieldError| json!({ "reason": error.reason.cause(), "message": error.body(), "field": error.path.to_string() });
        let causes: Vec<Value> = errors.0.iter().map(cause).collect();
        failure.details = json!({ "name": name, "kind": kind.kind, "causes": causes });
        if !kind.group.is_empty() {
            failure.details["group"] = kind.group.into();
        }
        failure
    }

    /// A patch that is well-formed but cannot be applied.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(422, "Invalid", message)
    }

    /// The request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// Nobody knows who asks.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// Who asks may not have it.
    pub fn forbidden(kind: Option<&Kind>, name: &str, message: impl Into<String>) -> Self {
        let failure = Self::new(403, "Forbidden", message);
        match kind {
            Some(kind) => failure.about(kind, name),
            None => failure,
        }
    }

    /// An object may not be made or changed thus, whoever asks.
    pub fn not_allowed(kind: &Kind, name: &str, why: &str) -> Self {
        Self::new(403, "Forbidden", format!("{} {name:?} is forbidden: {why}", resource(kind))).about(kind, name)
    }

    /// The verb does not exist for the resource.
    pub fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    }

    /// The client takes nothing that there is.
    pub fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json, application/yaml";
        Self::new(406, "NotAcceptable", message)
    }

    /// The body is written in a way that is not known here.
    pub fn unsupported_media(accepted: &str) -> Self {
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// The history asked for is gone.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// What a page of a list belongs to is no longer known. With `token` the client gets the rest as it is now.
    pub fn page_expired(token: String) -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list without \
                       the continue parameter, or use the continue token in this response to retrieve the remainder of the results. \
                       Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted \
                       between the time the first chunk was returned and now may show up in the list.";
        Self { resume: Some(token), ..Self::expired(message) }
    }

    /// The body is too large.
    pub fn too_large(limit_bytes: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit_bytes}"))
    }

    /// The asked revision is not there yet.
    pub fn revision_in_the_future(asked: u64, now: u64) -> Self {
        let mut failure = Self::new(504, "Timeout", format!("Too large resource version: {asked}, current: {now}"));
        failure.details = json!({
            "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
            "retryAfterSeconds": 1,
        });
        failure
    }

    /// It took too long.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(504, "Timeout", message)
    }

    /// It may not be done now, but later.
    pub fn too_many_requests(message: impl Into<String>, causes: Value) -> Self {
        let mut failure = Self::new(429, "TooManyRequests", message);
        failure.details = json!({ "causes": causes });
        failure
    }

    /// It went wrong here.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
    }

    /// What is asked of another (a node) cannot be had from it.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }
}

/// The resource as messages name it: `pods`, `deployments.apps`.
pub fn resource(kind: &Kind) -> String {
    match kind.group {
        "" => kind.plural.to_owned(),
        group => format!("{}.{group}", kind.plural),
    }
}

/// The kind as messages name it: `Pod`, `Deployment.apps`.
pub fn qualified(kind: &Kind) -> String {
    match kind.group {
        "" => kind.kind.to_owned(),
        group => format!("{}.{group}", kind.kind),
    }
}
