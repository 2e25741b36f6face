//! Filters: which values a list, a prune or a watch lets through. Clients write them as `{"key":["value"]}` or, newer, as
//! `{"key":{"value":true}}`; both are one thing here. What a key means is said by the noun that is filtered.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::ApiError;

/// Filters as a client gave them. No filter lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters(BTreeMap<String, BTreeSet<String>>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    List(Vec<String>),
    Set(BTreeMap<String, bool>),
}

impl Filters {
    /// Reads the `filters` of a query, of which only these keys are known; an empty text is no filter.
    pub(crate) fn parse(text: &str, known: &[&str]) -> Result<Self, ApiError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let values: Option<BTreeMap<String, Option<Values>>> =
            serde_json::from_str(text).map_err(|_| ApiError::invalid("invalid filter"))?;
        let values = values.unwrap_or_default();
        match values.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(ApiError::invalid(format!("invalid filter '{key}'"))),
            None => Ok(Self(values.into_iter().map(|(key, values)| (key, set_of(values))).collect())),
        }
    }

    /// Whether anything was given for a key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.values(key).next().is_some()
    }

    /// What was given for a key.
    pub(crate) fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Adds a value, as an older API implied it.
    pub(crate) fn add(&mut self, key: &str, value: &str) {
        self.0.entry(key.to_owned()).or_default().insert(value.to_owned());
    }

    /// Whether the value is one of those given.
    pub(crate) fn exact(&self, key: &str, value: &str) -> bool {
        !self.has(key) || self.values(key).any(|given| given == value)
    }

    /// Whether the value starts with one of those given.
    pub(crate) fn prefix(&self, key: &str, value: &str) -> bool {
        !self.has(key) || self.values(key).any(|given| value.starts_with(given))
    }

    /// Whether one of those given is found in the value; they are regular expressions, as in `^web-`.
    pub(crate) fn pattern(&self, key: &str, value: &str) -> bool {
        let matches = |given: &str| {
            // A text that is no expression matches nothing but itself.
            given == value || regex_lite::Regex::new(given).is_ok_and(|pattern| pattern.is_match(value))
        };
        !self.has(key) || self.values(key).any(matches)
    }

    /// Whether the labels have all those given as `name` or `name=value` under `label`, and not all those under `label!`.
    pub(crate) fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let has_all = |key| self.values(key).all(|given| has_label(labels, given));
        has_all("label") && !(self.has("label!") && has_all("label!"))
    }

    /// Yes or no, if given, as `true`, `1`, `false` or `0`; and once.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, ApiError> {
        let Some(values) = self.0.get(key) else { return Ok(None) };
        let given = |texts: [&str; 2]| texts.iter().any(|text| values.contains(*text));
        match (given(["1", "true"]), given(["0", "false"])) {
            (true, false) => Ok(Some(true)),
            (false, true) => Ok(Some(false)),
            _ => Err(ApiError::invalid(format!("invalid filter '{key}={:?}'", values.iter().collect::<Vec<_>>()))),
        }
    }

    /// The one value of a key that takes no more.
    pub(crate) fn single(&self, key: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.values(key);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(ApiError::invalid(format!("more than one {key} filter specified"))),
        }
    }
}

fn set_of(values: Option<Values>) -> BTreeSet<String> {
    match values {
        None => BTreeSet::new(),
        Some(Values::List(list)) => list.into_iter().collect(),
        Some(Values::Set(set)) => set.into_iter().filter(|(_, given)| *given).map(|(value, _)| value).collect(),
    }
}

fn has_label(labels: &BTreeMap<String, String>, given: &str) -> bool {
    match given.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|found| found == value),
        None => labels.contains_key(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(text: &str) -> Filters {
        Filters::parse(text, &["name", "id", "driver", "label", "label!", "dangling", "until"]).unwrap()
    }

    #[test]
    fn both_forms_are_read() {
        for text in [r#"{"name":["a","b"]}"#, r#"{"name":{"a":true,"b":true,"c":false}}"#] {
            assert_eq!(filters(text).values("name").collect::<Vec<_>>(), ["a", "b"], "{text}");
        }
        for text in ["", "{}", "null", r#"{"name":[]}"#, r#"{"name":null}"#] {
            assert!(!filters(text).has("name"), "{text}");
        }
        for text in ["[", "[]", "7", r#"{"name":"a"}"#, r#"{"name":[1]}"#] {
            let error = Filters::parse(text, &["name"]).unwrap_err();
            assert_eq!(error.to_string(), "invalid filter", "{text}");
        }
    }

    #[test]
    fn values_are_matched() {
        let given = filters(r#"{"name":["web","^db$","("],"id":["a1"],"driver":["bridge"]}"#);
        let patterns = [("web", true), ("my-web-1", true), ("db", true), ("db1", false), ("(", true), ("x", false)];
        for (name, expected) in patterns {
            assert_eq!(given.pattern("name", name), expected, "{name}");
        }
        assert!(given.prefix("id", "a1b2") && !given.prefix("id", "ba1") && given.prefix("none", "x"));
        assert!(given.exact("driver", "bridge") && !given.exact("driver", "host") && given.exact("none", "x"));
    }

    #[test]
    fn labels_are_matched() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())]);
        for (text, expected) in [
            ("{}", true),
            (r#"{"label":["a"]}"#, true),
            (r#"{"label":["a=1","b"]}"#, true),
            (r#"{"label":["a=2"]}"#, false),
            (r#"{"label":["b="]}"#, true),
            (r#"{"label":["c"]}"#, false),
            (r#"{"label!":["a"]}"#, false),
            (r#"{"label!":["c"]}"#, true),
            (r#"{"label":["a"],"label!":["b=x"]}"#, true),
        ] {
            assert_eq!(filters(text).labels(&labels), expected, "{text}");
        }
    }

    #[test]
    fn flags_and_keys_are_checked() {
        assert_eq!(filters(r#"{"dangling":["1"]}"#).flag("dangling").unwrap(), Some(true));
        assert_eq!(filters(r#"{"dangling":{"false":true}}"#).flag("dangling").unwrap(), Some(false));
        assert_eq!(filters("{}").flag("dangling").unwrap(), None);
        let error = |text| filters(text).flag("dangling").unwrap_err().to_string();
        assert_eq!(error(r#"{"dangling":["maybe"]}"#), r#"invalid filter 'dangling=["maybe"]'"#);
        assert_eq!(error(r#"{"dangling":["0","1"]}"#), r#"invalid filter 'dangling=["0", "1"]'"#);
        assert_eq!(Filters::parse(r#"{"x":["y"]}"#, &["name"]).unwrap_err().to_string(), "invalid filter 'x'");
        let twice = filters(r#"{"until":["1","2"]}"#);
        assert_eq!(twice.single("until").unwrap_err().to_string(), "more than one until filter specified");
    }
}
