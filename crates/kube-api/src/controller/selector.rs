//! Label selectors over typed labels, and the requirements of node selectors, which read alike.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

type Labels = BTreeMap<String, String>;

/// What a set of labels must satisfy, all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// One requirement: the key, how it is compared, with what.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
    /// An operator that nobody knows: it is satisfied by nothing.
    Never,
}

impl Selector {
    /// Of a `LabelSelector`; an empty one selects everything.
    pub fn of(selector: &LabelSelector) -> Self {
        let pairs = selector.match_labels.iter().flatten();
        let expressions = selector.match_expressions.iter().flatten();
        let requirements = pairs
            .map(|(key, value)| Requirement::new(key, "In", std::slice::from_ref(value)))
            .chain(expressions.map(|e| Requirement::new(&e.key, &e.operator, e.values.as_deref().unwrap_or_default())))
            .collect();
        Selector { requirements }
    }

    /// Of plain pairs, as Services and `nodeSelector` have them.
    pub fn pairs(pairs: &Labels) -> Self {
        let requirements =
            pairs.iter().map(|(key, value)| Requirement::new(key, "In", std::slice::from_ref(value))).collect();
        Selector { requirements }
    }

    /// The same selector that asks for one more thing.
    pub fn and(mut self, requirement: Requirement) -> Self {
        self.requirements.push(requirement);
        self
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether the labels satisfy all of it.
    pub fn matches(&self, labels: Option<&Labels>) -> bool {
        self.requirements.iter().all(|requirement| {
            requirement.holds(labels.and_then(|labels| labels.get(&requirement.key)).map(String::as_str))
        })
    }

    /// A pair that everything selected has, to look it up by.
    pub fn first_pair(&self) -> Option<(&str, &str)> {
        self.requirements.iter().find_map(|requirement| match (requirement.operator, requirement.values.as_slice()) {
            (Operator::In, [value]) => Some((requirement.key.as_str(), value.as_str())),
            _ => None,
        })
    }
}

impl Requirement {
    /// `operator` is one of In, NotIn, Exists, DoesNotExist, Gt and Lt.
    pub fn new(key: &str, operator: &str, values: &[String]) -> Self {
        let operator = match operator {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            "Gt" => Operator::Gt,
            "Lt" => Operator::Lt,
            _ => Operator::Never,
        };
        Requirement { key: key.into(), operator, values: values.to_vec() }
    }

    /// Whether a value (or its absence) satisfies it.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let listed = value.is_some_and(|value| self.values.iter().any(|candidate| candidate == value));
        let compared = || Some((value?.parse::<i64>().ok()?, self.values.first()?.parse::<i64>().ok()?));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => compared().is_some_and(|(value, bound)| value > bound),
            Operator::Lt => compared().is_some_and(|(value, bound)| value < bound),
            Operator::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements() {
        let check = |operator: &str, values: &[&str], value: Option<&str>, expected: bool| {
            let values: Vec<_> = values.iter().map(ToString::to_string).collect();
            assert_eq!(
                Requirement::new("key", operator, &values).holds(value),
                expected,
                "{operator} {values:?} {value:?}"
            );
        };
        check("In", &["a", "b"], Some("b"), true);
        check("In", &["a"], None, false);
        check("NotIn", &["a"], None, true);
        check("NotIn", &["a"], Some("a"), false);
        check("Exists", &[], Some(""), true);
        check("DoesNotExist", &[], None, true);
        check("Gt", &["3"], Some("4"), true);
        check("Gt", &["3"], Some("x"), false);
        check("Lt", &["3"], Some("3"), false);
        check("Like", &["a"], Some("a"), false);
    }
}
