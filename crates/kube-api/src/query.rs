//! The query of a URL, and the options that verbs take from it (`metav1.ListOptions`, `CreateOptions` and the like).

use crate::{
    object::selector::{FieldSelector, LabelSelector},
    status::Failure,
};

/// The query of a URL, decoded, in order.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what follows the question mark.
    pub fn parse(text: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(text.unwrap_or_default().as_bytes());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The first value of a name; empty if there is none.
    pub fn text(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// All values of a name.
    pub fn all<'q>(&'q self, name: &str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on: Go's words for it.
    pub fn is(&self, name: &str) -> bool {
        matches!(self.text(name), "1" | "t" | "T" | "true" | "TRUE" | "True")
    }

    /// A whole number.
    pub fn int(&self, name: &str) -> Result<Option<i64>, Failure> {
        match self.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Failure::bad_request(format!(
                    "strconv.ParseInt: parsing {text:?}: invalid syntax, in the query parameter {name}"
                ))
            }),
        }
    }

    /// The label selector.
    pub fn labels(&self) -> Result<LabelSelector, Failure> {
        let wrong = |why| Failure::bad_request(format!("unable to parse labelSelector: {why}"));
        LabelSelector::parse(self.text("labelSelector")).map_err(wrong)
    }

    /// The field selector.
    pub fn fields(&self) -> Result<FieldSelector, Failure> {
        let wrong = |why| Failure::bad_request(format!("unable to parse fieldSelector: {why}"));
        FieldSelector::parse(self.text("fieldSelector")).map_err(wrong)
    }
}

/// What a client asks of a write besides the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    /// Whether all is done but the writing.
    pub dry_run: bool,
    /// Who the writer says it is, for managed fields.
    pub manager: String,
    /// What becomes of fields that the schema does not know.
    pub validation: FieldValidation,
    /// Whether fields of others are taken over (server-side apply).
    pub force: bool,
    /// Whether the object already says who owns its fields.
    pub owners: Owners,
}

/// Who notes the owners of an object's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// The write does.
    Noted,
    /// Server-side apply has done it.
    Known,
}

/// What becomes of fields that the schema does not know, or that stand twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValidation {
    /// Nothing is said.
    Ignore,
    /// The client is warned.
    Warn,
    /// The object is refused.
    Strict,
}

impl WriteOptions {
    /// Those of a query; a client that does not say who it is goes by the beginning of its user agent.
    pub fn read(query: &Query, user_agent: &str) -> Result<Self, Failure> {
        for value in query.all("dryRun") {
            dry_run(value)?;
        }
        let validation = match query.text("fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                let message = format!(
                    "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Warn\", \"Strict\""
                );
                return Err(Failure::unprocessable(message));
            }
        };
        let manager = match query.text("fieldManager") {
            "" => user_agent.split(['/', ' ']).next().unwrap_or_default(),
            named if named.len() > 128 => {
                return Err(Failure::unprocessable(format!(
                    "fieldManager: Too long: may not be more than 128 bytes: {named:?}"
                )));
            }
            named => named,
        };
        let manager = if manager.is_empty() { "unknown" } else { manager };
        Ok(Self {
            dry_run: !query.text("dryRun").is_empty(),
            manager: manager.to_owned(),
            validation,
            force: query.is("force"),
            owners: Owners::Noted,
        })
    }

    /// Those of the server's own parts.
    pub fn internal(manager: &str) -> Self {
        Self {
            dry_run: false,
            manager: manager.to_owned(),
            validation: FieldValidation::Ignore,
            force: false,
            owners: Owners::Noted,
        }
    }
}

/// Checks a value of `dryRun`.
pub fn dry_run(value: &str) -> Result<(), Failure> {
    if value == "All" {
        return Ok(());
    }
    Err(Failure::unprocessable(format!("dryRun: Unsupported value: {value:?}: supported values: \"All\"")))
}
