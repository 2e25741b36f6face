//! The query of a URL, and the options that verbs take from it (`metav1.ListOptions`, `CreateOptions` and the like).

use crate::{
    kind::{Errors, Path},
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

    /// Whether a name is there, with whatever value.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
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

    /// Whether what is asked of a list or a watch goes together.
    pub fn check_list(&self) -> Result<(), Failure> {
        let mut errors = Errors::default();
        let (how, initial) = (self.text("resourceVersionMatch"), self.has("sendInitialEvents"));
        let (path, possible) = (Path::new("resourceVersionMatch"), ["Exact", "NotOlderThan"]);
        let mut forbid = |because: &str| errors.forbidden(&path, because);
        let watch = self.is("watch");
        match (watch, how) {
            (true, "") if initial => forbid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
            (_, "") => {}
            (true, _) if !initial => {
                forbid("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
            }
            (false, _) if self.text("resourceVersion").is_empty() => {
                forbid("resourceVersionMatch is forbidden unless resourceVersion is provided");
            }
            (false, _) if !self.text("continue").is_empty() => {
                forbid("resourceVersionMatch is forbidden when continue is provided");
            }
            (false, "Exact") if self.text("resourceVersion") == "0" => {
                forbid("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
            }
            (false, known) if possible.contains(&known) => {}
            (true, "NotOlderThan") => {}
            (_, other) => errors.not_supported(&path, other, if watch { &possible[1..] } else { &possible }),
        }
        if initial && !watch {
            errors.forbidden(&Path::new("sendInitialEvents"), "sendInitialEvents is forbidden for list");
        }
        if !errors.is_empty() {
            return Err(Failure::unprocessable(format!("ListOptions.meta.k8s.io \"\" is invalid: {errors}")));
        }
        let versioned = !matches!(self.text("resourceVersion"), "" | "0");
        if versioned && !watch && !self.text("continue").is_empty() {
            return Err(Failure::bad_request("specifying resource version is not allowed when using continue"));
        }
        Ok(())
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
    /// What the text of the object or patch says twice.
    pub twice: Vec<String>,
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
            twice: Vec::new(),
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
            twice: Vec::new(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_together_in_a_list() {
        let check = |query: &str, wrong: Option<&str>| {
            let told = Query::parse(Some(query)).check_list().map_err(|failure| failure.message);
            match wrong {
                None => assert_eq!(told, Ok(()), "{query}"),
                Some(wrong) => assert!(told.as_ref().is_err_and(|told| told.contains(wrong)), "{query}: {told:?}"),
            }
        };
        check("limit=500", None);
        check("resourceVersion=7&resourceVersionMatch=Exact", None);
        check("resourceVersion=0&resourceVersionMatch=NotOlderThan", None);
        check("watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", None);
        check("watch=1&resourceVersion=7", None);
        check(
            "resourceVersionMatch=Exact",
            Some("resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless"),
        );
        check("resourceVersion=0&resourceVersionMatch=Exact", Some("is forbidden for resourceVersion \"0\""));
        check(
            "resourceVersion=7&resourceVersionMatch=Some",
            Some("Unsupported value: \"Some\": supported values: \"Exact\", \"NotOlderThan\""),
        );
        check(
            "watch=1&sendInitialEvents=true",
            Some("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
        );
        check("watch=1&resourceVersionMatch=NotOlderThan", Some("is forbidden for watch unless sendInitialEvents"));
        check("sendInitialEvents=true", Some("sendInitialEvents: Forbidden"));
        check("resourceVersion=7&continue=x", Some("specifying resource version is not allowed when using continue"));
    }
}
