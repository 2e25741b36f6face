//! Label and field selectors as they stand in a query (the labels page, "API"; the field selectors page).

use std::collections::BTreeMap;

use serde_json::Value;

use super::Look;

/// What labels must be like: all requirements hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    demand: Demand,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Demand {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
    Greater(i64),
    Less(i64),
}

impl LabelSelector {
    /// Reads `a=b,c in (d,e),!f,g,h>3`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        for part in split_outside_parentheses(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            requirements.push(requirement(part).ok_or_else(|| {
                format!("unable to parse requirement: {part:?} is not of the form key, !key, key=value, key!=value, key in (value), key notin (value), key>number or key<number")
            })?);
        }
        Ok(Self(requirements))
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object's labels are so.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = object.map("metadata.labels");
        let value = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        self.0.iter().all(|requirement| requirement.demand.holds(value(&requirement.key)))
    }
}

impl Demand {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::In(values) => value.is_some_and(|value| values.iter().any(|v| v == value)),
            Self::NotIn(values) => value.is_none_or(|value| values.iter().all(|v| v != value)),
            Self::Greater(than) => number().is_some_and(|number| number > *than),
            Self::Less(than) => number().is_some_and(|number| number < *than),
        }
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (index, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(part: &str) -> Option<Requirement> {
    let of = |key: &str, demand| {
        let key = key.trim();
        super::name::is_label_key(key).then(|| Requirement { key: key.to_owned(), demand })
    };
    let one = |value: &str| {
        let value = value.trim();
        super::name::is_label_value(value).then(|| vec![value.to_owned()])
    };
    if let Some(key) = part.strip_prefix('!') {
        return of(key, Demand::Absent);
    }
    if let Some((head, values)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        let values: Vec<String> = values.split(',').map(one).collect::<Option<Vec<_>>>()?.concat();
        let (key, word) = head.trim().rsplit_once(char::is_whitespace)?;
        return match word {
            "in" => of(key, Demand::In(values)),
            "notin" => of(key, Demand::NotIn(values)),
            _ => None,
        };
    }
    if let Some((key, value)) = part.split_once("!=") {
        return of(key, Demand::NotIn(one(value)?));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return of(key, Demand::In(one(value)?));
    }
    if let Some((key, than)) = part.split_once('>') {
        return of(key, Demand::Greater(than.trim().parse().ok()?));
    }
    if let Some((key, than)) = part.split_once('<') {
        return of(key, Demand::Less(than.trim().parse().ok()?));
    }
    of(part, Demand::Exists)
}

/// What fields must be like: path to the values it must and must not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<(String, Relation, String)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Is,
    IsNot,
}

impl FieldSelector {
    /// Reads `metadata.name=web,status.phase!=Running`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut terms = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (field, relation, value) = if let Some((field, value)) = part.split_once("!=") {
                (field, Relation::IsNot, value)
            } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (field, Relation::Is, value)
            } else {
                return Err(format!("invalid selector: '{text}'; can't understand '{part}'"));
            };
            terms.push((field.trim().to_owned(), relation, value.trim().to_owned()));
        }
        Ok(Self(terms))
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Asks for one value more.
    pub fn demand(&mut self, field: &str, value: &str) {
        self.0.push((field.to_owned(), Relation::Is, value.to_owned()));
    }

    /// The fields that it names.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(field, _, _)| field.as_str())
    }

    /// Whether fields are so; `read` gives the text of a field.
    pub fn matches(&self, read: impl Fn(&str) -> String) -> bool {
        self.0.iter().all(|(field, relation, value)| (read(field) == *value) == (*relation == Relation::Is))
    }
}

/// Whether labels have all of these values (a selector of a Service, or `matchLabels`).
pub fn has_labels(object: &Value, wanted: &BTreeMap<String, String>) -> bool {
    let labels = object.map("metadata.labels");
    wanted.iter().all(|(key, value)| labels.and_then(|l| l.get(key)).and_then(Value::as_str) == Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels() {
        let pod = json!({ "metadata": { "labels": { "app": "web", "tier": "front", "weight": "7", "kubernetes.io/os": "linux" } } });
        let check = |selector: &str, expected: Option<bool>| {
            assert_eq!(LabelSelector::parse(selector).ok().map(|s| s.matches(&pod)), expected, "{selector}");
        };
        for selector in ["", "app", "app=web", "app==web", "app = web , tier=front", "app in (api,web)", "app in (web)"]
        {
            check(selector, Some(true));
        }
        for selector in ["!x", "x!=1", "x notin (a,b)", "weight>6", "weight<8", "kubernetes.io/os=linux"] {
            check(selector, Some(true));
        }
        for selector in ["app!=web", "!app", "x", "app notin (web)", "weight>7", "app in (api)", "app=", "x in (a)"] {
            check(selector, Some(false));
        }
        for selector in ["a b", "=x", "app in web", "app=we b", "app>x", "app within (x)", "a/b/c=d"] {
            check(selector, None);
        }
    }

    #[test]
    fn fields() {
        let check = |selector: &str, expected: Option<bool>| {
            let read = |field: &str| if field == "metadata.name" { "web".to_owned() } else { String::new() };
            assert_eq!(FieldSelector::parse(selector).ok().map(|s| s.matches(read)), expected, "{selector}");
        };
        check("metadata.name=web", Some(true));
        check("metadata.name==web,spec.nodeName=", Some(true));
        check("metadata.name!=web", Some(false));
        check("spec.nodeName!=", Some(false));
        check("metadata.name", None);
    }
}
