//! The kinds: one file each, listed in [`ALL`]. A descriptor says all that the server must know of a kind beyond its schema: names, what can
//! be asked of it, how it is printed, defaulted, validated and prepared for storing. Nothing here reads a clock or the store.

pub mod column;
pub mod error;
pub mod kept;
pub mod metadata;
pub mod selector;
pub mod strategy;
pub mod syntax;

pub mod binding;
pub mod config_map;
pub mod controller_revision;
pub mod daemon_set;
pub mod deployment;
pub mod endpoint_slice;
pub mod endpoints;
pub mod event;
pub mod ingress;
pub mod ingress_class;
pub mod lease;
pub mod local_subject_access_review;
pub mod namespace;
pub mod network_policy;
pub mod node;
pub mod pod;
pub mod replica_set;
pub mod secret;
pub mod self_subject_access_review;
pub mod self_subject_review;
pub mod self_subject_rules_review;
pub mod service;
pub mod service_account;
pub mod subject_access_review;
pub mod token_review;
pub mod workload;

#[cfg(test)]
mod cases;

use jiff::Timestamp;
use serde_json::Value;

pub use self::{
    error::{Errors, FieldError, Path, Reason},
    kept::Twin,
};
use crate::schema::{self, Type};

/// All kinds that are served.
pub static ALL: &[&Kind] = &[
    &binding::KIND,
    &config_map::KIND,
    &endpoints::KIND,
    &event::CORE,
    &namespace::KIND,
    &node::KIND,
    &pod::KIND,
    &secret::KIND,
    &service_account::KIND,
    &service::KIND,
    &controller_revision::KIND,
    &daemon_set::KIND,
    &deployment::KIND,
    &replica_set::KIND,
    &event::GROUP,
    &self_subject_review::KIND,
    &token_review::KIND,
    &local_subject_access_review::KIND,
    &self_subject_access_review::KIND,
    &self_subject_rules_review::KIND,
    &subject_access_review::KIND,
    &ingress_class::KIND,
    &ingress::KIND,
    &network_policy::KIND,
    &lease::KIND,
    &endpoint_slice::KIND,
];

/// The kind with this plural name in this group (empty: core).
pub fn by_plural(group: &str, plural: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|one| one.group == group && one.plural == plural)
}

/// The kind with this name in this group (empty: core).
pub fn by_kind(group: &str, kind: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|one| one.group == group && one.kind == kind)
}

/// What the server knows of a kind. Descriptors fill what differs from [`Kind::BASE`].
pub struct Kind {
    /// Its API group; empty: core.
    pub group: &'static str,
    /// Its version within the group.
    pub version: &'static str,
    /// `ConfigMap`.
    pub kind: &'static str,
    /// `configmaps`.
    pub plural: &'static str,
    /// `configmap`.
    pub singular: &'static str,
    /// `cm`.
    pub short: &'static [&'static str],
    /// `all`.
    pub categories: &'static [&'static str],
    /// Where its names are unique.
    pub scope: Scope,
    /// What can be asked of it.
    pub verbs: Verbs,
    /// What its objects have besides themselves.
    pub subresources: &'static [Subresource],
    /// The name of its type in the schema.
    pub schema: &'static str,
    /// How its objects' names are written.
    pub name: NameRule,
    /// The columns of its tables. Those of priority 1 are shown by `-o wide`.
    pub columns: &'static [Column],
    /// The paths of all that the columns look at (`object::part`); none: they look at anything. A kind of which there are many says it, so
    /// that its tables are made without reading the rest.
    pub seen: &'static [&'static str],
    /// Sets the defaults that the schema's constants cannot say. Runs after those.
    pub default: fn(&mut Value),
    /// Finds what is wrong with an object, apart from its metadata and what the schema finds.
    pub validate: fn(&Value, &mut Errors),
    /// Finds what may not change from `old` to `new`: (new, old, errors).
    pub validate_update: fn(&Value, &Value, &mut Errors),
    /// Makes an object ready for storing (new, old; none on create): resets what only another subresource may set, counts
    /// `metadata.generation` where the kind has one.
    pub prepare: fn(&mut Value, Option<&Value>),
    /// Finds what is wrong with a new object besides.
    pub validate_create: fn(&Value, &mut Errors),
    /// The fields besides `metadata.name` and `metadata.namespace` that a field selector can ask for.
    pub fields: &'static [Selectable],
    /// The kind whose objects these are, where they are shown under other names.
    pub twin: Option<Twin>,
}

/// A field that a field selector can ask for, and its text.
pub type Selectable = (&'static str, fn(&Value) -> String);

/// Where a kind's names are unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// In the cluster.
    Cluster,
}

/// How the names of a kind's objects are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 labels, joined by dots.
    Subdomain,
    /// An RFC 1123 label.
    Label,
    /// An RFC 1035 label.
    Label1035,
    /// Anything that can be a segment of a path.
    Segment,
}

/// What can be asked of a kind, in discovery's words and order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verbs(pub &'static [&'static str]);

impl Verbs {
    /// All that can be asked of stored objects.
    pub const ALL: Self = Self(&["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]);
    /// All but the deletion of many at once.
    pub const ONE_BY_ONE: Self = Self(&["create", "delete", "get", "list", "patch", "update", "watch"]);
    /// Asked and answered, not stored.
    pub const CREATE: Self = Self(&["create"]);
    /// Of a part of an object.
    pub const PART: Self = Self(&["get", "patch", "update"]);
    /// Of what is talked to as long as it lasts.
    pub const STREAM: Self = Self(&["create", "get"]);
    /// Of what is handed on.
    pub const PROXY: Self = Self(&["create", "delete", "get", "patch", "update"]);

    /// Whether it can be asked.
    pub fn has(self, verb: &str) -> bool {
        self.0.contains(&verb)
    }
}

/// What objects of a kind have besides themselves, such as `status` or `log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// The last segment of its path.
    pub name: &'static str,
    /// The group of what is read and written there.
    pub group: &'static str,
    /// The version of what is read and written there.
    pub version: &'static str,
    /// The kind of what is read and written there.
    pub kind: &'static str,
    /// What can be asked of it.
    pub verbs: Verbs,
}

/// A column of a table.
#[derive(Clone, Copy)]
pub struct Column {
    /// Its heading: `Ready`; kubectl prints it in capitals.
    pub name: &'static str,
    /// The JSON type of its cells: `string`, `integer`, `date`, `boolean`.
    pub kind: &'static str,
    /// `name` for the one that names the object, else empty.
    pub format: &'static str,
    /// What it shows.
    pub doc: &'static str,
    /// 0: always shown; 1: shown by `-o wide`.
    pub priority: i32,
    /// What it shows of an object.
    pub cell: fn(&Value, Timestamp) -> Value,
}

impl Kind {
    /// A namespaced, stored kind of the core group that is validated by its schema alone. A descriptor names at least kind and plural.
    pub const BASE: Self = Self {
        group: "",
        version: "v1",
        kind: "",
        plural: "",
        singular: "",
        short: &[],
        categories: &[],
        scope: Scope::Namespaced,
        verbs: Verbs::ALL,
        subresources: &[],
        schema: "",
        name: NameRule::Subdomain,
        columns: &[],
        seen: &[],
        default: |_| {},
        validate: |_, _| {},
        validate_update: |_, _, _| {},
        prepare: |_, _| {},
        validate_create: |_, _| {},
        fields: &[],
        twin: None,
    };

    /// Group and version as objects have them: `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Finds all that is wrong with an object (new; old, if it is an update), its metadata included.
    pub fn check(&self, object: &Value, old: Option<&Value>, errors: &mut Errors) {
        metadata::validate(self, object, old, errors);
        schema::check_values(self.schema(), object, errors);
        (self.validate)(object, errors);
        match old {
            Some(old) => (self.validate_update)(object, old, errors),
            None => (self.validate_create)(object, errors),
        }
    }

    /// Fills in what is left out: the schema's constants, then what only the kind knows.
    pub fn fill(&self, object: &mut Value) {
        schema::fill_defaults(self.schema(), object);
        (self.default)(object);
    }

    /// The type of its objects.
    ///
    /// # Panics
    /// If the kind has no schema, which the tests find.
    pub fn schema(&self) -> &'static Type {
        schema::lookup(self.schema).unwrap_or_else(|| panic!("the kind {} has no schema", self.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_whole() {
        for kind in ALL {
            assert_eq!(kind.singular, kind.kind.to_lowercase());
            assert!(kind.schema().fields.contains_key("metadata") || kind.verbs == Verbs::CREATE, "{}", kind.kind);
            assert!(std::ptr::eq(*kind, by_plural(kind.group, kind.plural).expect("by plural")));
            assert!(std::ptr::eq(*kind, by_kind(kind.group, kind.kind).expect("by kind")));
        }
    }
}
