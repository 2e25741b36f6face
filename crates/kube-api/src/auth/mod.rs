//! Who asks, and what they may: certificates and tokens give a `User`, `role` says what it may do. There are three fixed roles.

pub mod authority;
pub mod certificate;
pub mod role;
pub mod token;

use std::collections::BTreeMap;

/// Everybody who has shown who they are.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Everybody else.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Cluster administrators.
pub const MASTERS: &str = "system:masters";
/// Nodes.
pub const NODES: &str = "system:nodes";
/// Service accounts.
pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its identity, if it has one.
    pub uid: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// More that is known of it.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Nobody known.
    pub fn anonymous() -> Self {
        Self { name: "system:anonymous".to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Self::default() }
    }

    /// One of the server's own parts.
    pub fn internal(name: &str) -> Self {
        Self { name: name.to_owned(), groups: vec![MASTERS.to_owned(), AUTHENTICATED.to_owned()], ..Self::default() }
    }

    /// The holder of a client certificate: its common name, and its organizations as groups.
    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let mut groups: Vec<String> =
            subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
        groups.push(AUTHENTICATED.to_owned());
        Some(Self { name, groups, ..Self::default() })
    }

    /// Whether it is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// Namespace and name of a service account.
    pub fn service_account(&self) -> Option<(&str, &str)> {
        self.name.strip_prefix("system:serviceaccount:")?.split_once(':')
    }

    /// The node that it is.
    pub fn node(&self) -> Option<&str> {
        self.is_in(NODES).then(|| self.name.strip_prefix("system:node:"))?
    }
}
