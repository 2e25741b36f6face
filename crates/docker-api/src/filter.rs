//! Filters: which values a list, a prune or a watch lets through. Clients write them as `{"key":["value"]}` or, newer, as
//! `{"key":{"value":true}}`; both are one thing here. What a key means is said by the noun that is filtered.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::ApiError;

/// Filters as a client gave them. No filter lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

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
            None => Ok(Self(values.into_iter().map(|(key, values)| (key, list_of(values))).collect())),
        }
    }

    /// What was given for a key.
    pub(crate) fn get(&self, key: &str) -> &[String] {
        self.0.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// Adds a value, as an older API implied it.
    pub(crate) fn add(&mut self, key: &str, value: &str) {
        self.0.entry(key.to_owned()).or_default().push(value.to_owned());
    }

    /// Whether one of those given will do; nothing given always does.
    pub(crate) fn any(&self, key: &str, will_do: impl Fn(&str) -> bool) -> bool {
        let given = self.get(key);
        given.is_empty() || given.iter().any(|given| will_do(given))
    }

    /// Whether the value is one of those given.
    pub(crate) fn is(&self, key: &str, value: &str) -> bool {
        self.any(key, |given| given == value)
    }

    /// Whether the value starts with one of those given.
    pub(crate) fn prefix(&self, key: &str, value: &str) -> bool {
        self.any(key, |given| value.starts_with(given))
    }

    /// Whether one of those given is found in the value; they are regular expressions, as in `^web-`.
    pub(crate) fn pattern(&self, key: &str, value: &str) -> bool {
        // A text that is no expression matches nothing but itself.
        let matches = |given: &str| regex_lite::Regex::new(given).is_ok_and(|pattern| pattern.is_match(value));
        self.any(key, |given| given == value || matches(given))
    }

    /// Whether the labels have all those given as `name` or `name=value` under `label`, and not all those under `label!`.
    pub(crate) fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let has_all = |given: &[String]| given.iter().all(|given| has_label(labels, given));
        let forbidden = self.get("label!");
        has_all(self.get("label")) && (forbidden.is_empty() || !has_all(forbidden))
    }

    /// Yes or no, if given, as `true`, `1`, `false` or `0`; and once.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, ApiError> {
        let Some(values) = self.0.get(key) else { return Ok(None) };
        let given = |texts: [&str; 2]| values.iter().any(|value| texts.contains(&value.as_str()));
        match (given(["1", "true"]), given(["0", "false"])) {
            (true, false) => Ok(Some(true)),
            (false, true) => Ok(Some(false)),
            _ => Err(ApiError::invalid(format!("invalid filter '{key}={:?}'", values))),
        }
    }

    /// The one value of a key that takes no more.
    pub(crate) fn single(&self, key: &str) -> Result<Option<&str>, ApiError> {
        match self.get(key) {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(ApiError::invalid(format!("more than one {key} filter specified"))),
        }
    }
}

fn list_of(values: Option<Values>) -> Vec<String> {
    match values {
        None => Vec::new(),
        Some(Values::List(list)) => list,
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
            assert_eq!(filters(text).get("name"), ["a", "b"], "{text}");
        }
        for text in ["", "{}", "null", r#"{"name":[]}"#, r#"{"name":null}"#] {
            assert!(filters(text).get("name").is_empty(), "{text}");
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
        assert!(given.is("driver", "bridge") && !given.is("driver", "host") && given.is("none", "x"));
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
