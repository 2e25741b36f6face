//! Sets of fields, and their JSON form `FieldsV1`: `f:NAME` a field, `k:{..}` an element told apart by keys, `v:..` an element that is
//! a plain value, `i:N` an element by its place, `.` the parent itself.
//! Source: the documentation of structured-merge-diff.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use serde_json::{Map, Value};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// A field of an object, a key of a map.
    Field(String),
    /// An element of a list of objects: the JSON object of its keys, in order.
    Key(String),
    /// An element of a set: its JSON.
    Value(String),
    /// An element of a list by its place.
    Index(usize),
}

/// A set of fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet(BTreeMap<Element, Node>);

/// What of a field is in the set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// The field itself.
    pub itself: bool,
    /// What is below it.
    pub below: FieldSet,
}

impl Node {
    fn is_empty(&self) -> bool {
        !self.itself && self.below.is_empty()
    }
}

impl FieldSet {
    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What of this step is in the set.
    #[must_use]
    pub fn get(&self, element: &Element) -> Option<&Node> {
        self.0.get(element)
    }

    pub(super) fn insert(&mut self, element: Element, node: Node) {
        if !node.is_empty() {
            let old = self.0.remove(&element).unwrap_or_default();
            self.0.insert(element, Node { itself: old.itself || node.itself, below: old.below.union(node.below) });
        }
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = (&Element, &Node)> {
        self.0.iter()
    }

    /// What is in either.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        for (element, node) in other.0 {
            self.insert(element, node);
        }
        self
    }

    /// What is in this and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine && !theirs)
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine && theirs)
    }

    /// What is in this and neither in the other nor below what is.
    #[must_use]
    pub fn without(&self, roots: &Self) -> Self {
        let mut kept = Self::default();
        for (element, node) in &self.0 {
            match roots.get(element) {
                Some(Node { itself: true, .. }) => {}
                Some(root) => {
                    kept.insert(element.clone(), Node { itself: node.itself, below: node.below.without(&root.below) });
                }
                None => kept.insert(element.clone(), node.clone()),
            }
        }
        kept
    }

    fn combine(&self, other: &Self, both: fn(bool, bool) -> bool) -> Self {
        let nothing = Node::default();
        let mut result = Self::default();
        for (element, mine) in &self.0 {
            let theirs = other.get(element).unwrap_or(&nothing);
            let below = mine.below.combine(&theirs.below, both);
            result.insert(element.clone(), Node { itself: both(mine.itself, theirs.itself), below });
        }
        result
    }

    /// All fields of the set as they are told to people, as in `.spec.replicas`.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.each_path(&mut Vec::new(), &mut |path| paths.push(path_text(path)));
        paths
    }

    fn each_path<'a>(&'a self, path: &mut Vec<&'a Element>, tell: &mut dyn FnMut(&[&Element])) {
        for (element, node) in &self.0 {
            path.push(element);
            if node.itself {
                tell(path);
            }
            node.below.each_path(path, tell);
            path.pop();
        }
    }

    /// A set of the fields at these paths, such as `["status"]`.
    #[must_use]
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let mut node = Node { itself: true, below: Self::default() };
            for (depth, name) in path.iter().enumerate().rev() {
                let mut below = Self::default();
                below.insert(Element::Field((*name).to_owned()), node);
                if depth == 0 {
                    set = set.union(below);
                    break;
                }
                node = Node { itself: false, below };
            }
        }
        set
    }

    /// Its JSON form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut members = Map::new();
        for (element, node) in &self.0 {
            let mut below = match node.below.to_json() {
                Value::Object(below) => below,
                _ => Map::new(),
            };
            if node.itself && !below.is_empty() {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            members.insert(element.to_string(), Value::Object(below));
        }
        Value::Object(members)
    }

    /// The set of a JSON form; nothing if it is not one.
    #[must_use]
    pub fn from_json(json: &Value) -> Option<Self> {
        let mut set = Self::default();
        for (name, below) in json.as_object()? {
            if name == "." {
                continue;
            }
            let (itself, set_below) = (below.get(".").is_some(), Self::from_json(below)?);
            let node = Node { itself: itself || set_below.is_empty(), below: set_below };
            set.insert(Element::parse(name)?, node);
        }
        Some(set)
    }
}

impl Element {
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        Some(match kind {
            "f" => Self::Field(rest.to_owned()),
            // Read and written again, so that equal ones are equal texts.
            "k" => Self::Key(Value::Object(serde_json::from_str(rest).ok()?).to_string()),
            "v" => Self::Value(serde_json::from_str::<Value>(rest).ok()?.to_string()),
            "i" => Self::Index(rest.parse().ok()?),
            _ => return None,
        })
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, "f:{name}"),
            Self::Key(keys) => write!(f, "k:{keys}"),
            Self::Value(value) => write!(f, "v:{value}"),
            Self::Index(place) => write!(f, "i:{place}"),
        }
    }
}

/// A path as people are told it: `.spec.containers[name="web"].image`.
#[must_use]
pub fn path_text(path: &[&Element]) -> String {
    let mut text = String::new();
    for element in path {
        // Writing to a string does not fail.
        let _ = match element {
            Element::Field(name) => write!(text, ".{name}"),
            Element::Key(keys) => write!(text, "[{}]", key_text(keys)),
            Element::Value(value) => write!(text, "[={value}]"),
            Element::Index(place) => write!(text, "[{place}]"),
        };
    }
    text
}

fn key_text(keys: &str) -> String {
    let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
    keys.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}
