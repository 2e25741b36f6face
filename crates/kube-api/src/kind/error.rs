//! What is wrong with an object, field by field, in Kubernetes' words.

use std::fmt;

use serde_json::Value;

/// The way to a field: `spec.ports[0].port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// A field of the object itself.
    pub fn new(field: &str) -> Self {
        Self(field.to_owned())
    }

    /// A field of what this leads to. It may have several steps: `securityContext.runAsUser`.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        if self.0.is_empty() { Self::new(name) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// An element of the list that this leads to.
    #[must_use]
    pub fn index(&self, at: usize) -> Self {
        Self(format!("{}[{at}]", self.0))
    }

    /// An entry of the map that this leads to.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a field is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is not there, or empty.
    Required,
    /// Its value is not a possible one.
    Invalid,
    /// Its value is not one of those listed.
    NotSupported,
    /// It may not be given here.
    Forbidden,
    /// Its value is there already.
    Duplicate,
    /// Its text is too long.
    TooLong,
    /// It has too many elements.
    TooMany,
    /// What it names is not there.
    NotFound,
}

impl Reason {
    /// The word in `Status.details.causes[].reason`.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
        }
    }
}

/// One refused field. Displays as `spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive`.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// Which field.
    pub path: Path,
    /// Why.
    pub reason: Reason,
    /// What it is, where that is told.
    pub value: Option<Value>,
    /// More words; may be empty.
    pub detail: String,
}

impl FieldError {
    /// What `Status.details.causes[].message` says: all but the path.
    pub fn body(&self) -> String {
        let mut body = self.reason.title().to_owned();
        if let Some(value) = &self.value {
            body.push_str(": ");
            body.push_str(&shown(value));
        }
        if !self.detail.is_empty() {
            body.push_str(": ");
            body.push_str(&self.detail);
        }
        body
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

/// All that is wrong with an object. Displays as one error, or as `[one, another]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Errors(pub Vec<FieldError>);

impl Errors {
    /// Nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The field is not there.
    pub fn required(&mut self, path: &Path, detail: impl Into<String>) {
        self.push(path, Reason::Required, None, detail);
    }

    /// Its value is not a possible one.
    pub fn invalid(&mut self, path: &Path, value: impl Into<Value>, detail: impl Into<String>) {
        self.push(path, Reason::Invalid, Some(value.into()), detail);
    }

    /// Its value is none of `supported`.
    pub fn not_supported(&mut self, path: &Path, value: impl Into<Value>, supported: &[&str]) {
        let mut supported: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
        supported.sort_unstable();
        self.push(
            path,
            Reason::NotSupported,
            Some(value.into()),
            format!("supported values: {}", supported.join(", ")),
        );
    }

    /// It may not be given.
    pub fn forbidden(&mut self, path: &Path, detail: impl Into<String>) {
        self.push(path, Reason::Forbidden, None, detail);
    }

    /// Its value is there already.
    pub fn duplicate(&mut self, path: &Path, value: impl Into<Value>) {
        self.push(path, Reason::Duplicate, Some(value.into()), "");
    }

    /// Its text has more than `most` bytes.
    pub fn too_long(&mut self, path: &Path, most: usize) {
        self.push(path, Reason::TooLong, None, format!("may not be more than {most} bytes"));
    }

    /// It has more than `most` elements.
    pub fn too_many(&mut self, path: &Path, count: usize, most: usize) {
        self.push(path, Reason::TooMany, Some(count.into()), format!("must have at most {most} items"));
    }

    /// What it names is not there.
    pub fn not_found(&mut self, path: &Path, value: impl Into<Value>) {
        self.push(path, Reason::NotFound, Some(value.into()), "");
    }

    fn push(&mut self, path: &Path, reason: Reason, value: Option<Value>, detail: impl Into<String>) {
        self.0.push(FieldError { path: path.clone(), reason, value, detail: detail.into() });
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut texts: Vec<String> = Vec::new();
        for text in self.0.iter().map(FieldError::to_string) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        match texts.as_slice() {
            [one] => f.write_str(one),
            many => write!(f, "[{}]", many.join(", ")),
        }
    }
}

/// A value as messages show it. JSON, with what is very long cut.
fn shown(value: &Value) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_kubernetes_writes_them() {
        let port = Path::new("spec").field("ports").index(0).field("port");
        let mut errors = Errors::default();
        errors.invalid(&port, 70000, "must be between 1 and 65535, inclusive");
        assert_eq!(
            errors.to_string(),
            "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive"
        );
        errors.not_supported(&Path::new("spec.type"), "Foo", &["NodePort", "ClusterIP"]);
        errors.required(&Path::new("data").key("a"), "");
        errors.required(&Path::new("data").key("a"), "");
        assert_eq!(
            errors.to_string(),
            "[spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive, \
             spec.type: Unsupported value: \"Foo\": supported values: \"ClusterIP\", \"NodePort\", \
             data[a]: Required value]"
        );
    }
}
