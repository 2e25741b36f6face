//! Names of hosts in rules and certificates, and what is kept by them.

use std::{fmt, sync::Arc};

use imbl::HashMap;
use thiserror::Error;

/// What a rule or a certificate is for. Names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// Whatever no other rule is for.
    Any,
    /// `shop.example`
    Exact(Arc<str>),
    /// `*.shop.example`, kept as `shop.example`: exactly one label more.
    Wildcard(Arc<str>),
}

/// Not the name of a host.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("host {0:?} is not a DNS name, nor one behind a first label of *")]
pub struct BadHost(String);

impl Host {
    /// Reads the `host` of a rule; empty is [`Host::Any`].
    ///
    /// # Errors
    /// When it is not a DNS name (RFC 1123), with or without the first label `*`.
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        let lower = text.to_ascii_lowercase();
        let (wild, name) = match lower.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, &*lower),
        };
        if name.is_empty() && !wild {
            return Ok(Self::Any);
        }
        if !is_name(name) {
            return Err(BadHost(text.to_owned()));
        }
        Ok(if wild { Self::Wildcard(name.into()) } else { Self::Exact(name.into()) })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(name) => write!(f, "*.{name}"),
        }
    }
}

fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// What is kept by host: the exact name is found first, then the wildcard one label above, then what is for any. Cheap to clone and
/// to change, however many hosts there are.
#[derive(Debug)]
pub struct ByHost<T> {
    any: Option<Arc<T>>,
    exact: HashMap<Arc<str>, Arc<T>>,
    wildcard: HashMap<Arc<str>, Arc<T>>,
}

impl<T> ByHost<T> {
    /// Keeps or forgets what is for a host.
    pub fn set(&mut self, host: &Host, value: Option<Arc<T>>) {
        let (map, name) = match host {
            Host::Any => return self.any = value,
            Host::Exact(name) => (&mut self.exact, name),
            Host::Wildcard(name) => (&mut self.wildcard, name),
        };
        match value {
            Some(value) => drop(map.insert(name.clone(), value)),
            None => drop(map.remove(name)),
        }
    }

    /// What is for exactly this.
    pub fn get(&self, host: &Host) -> Option<&Arc<T>> {
        match host {
            Host::Any => self.any.as_ref(),
            Host::Exact(name) => self.exact.get(name),
            Host::Wildcard(name) => self.wildcard.get(name),
        }
    }

    /// What serves a name that a client asked for, in any case and with or without the dot at its end.
    pub fn find(&self, name: &str) -> Option<&Arc<T>> {
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            return self.find(&name.to_ascii_lowercase());
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        self.exact.get(name).or_else(|| self.wildcard.get(name.split_once('.')?.1)).or(self.any.as_ref())
    }

    /// Everything, in the order of the hosts.
    pub fn entries(&self) -> Vec<(Host, &Arc<T>)> {
        let any = self.any.iter().map(|value| (Host::Any, value));
        let exact = self.exact.iter().map(|(name, value)| (Host::Exact(name.clone()), value));
        let wildcard = self.wildcard.iter().map(|(name, value)| (Host::Wildcard(name.clone()), value));
        let mut all: Vec<_> = any.chain(exact).chain(wildcard).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

impl<T> Clone for ByHost<T> {
    fn clone(&self) -> Self {
        Self { any: self.any.clone(), exact: self.exact.clone(), wildcard: self.wildcard.clone() }
    }
}

impl<T> Default for ByHost<T> {
    fn default() -> Self {
        Self { any: None, exact: HashMap::new(), wildcard: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for text in ["", "shop.local", "*.shop.local", "a", "1.2", "x-y.z"] {
            let host = Host::parse(text).expect(text);
            assert_eq!(host.to_string(), if text.is_empty() { "*" } else { text });
        }
        assert_eq!(Host::parse("Shop.LOCAL").expect("a name").to_string(), "shop.local");
        for text in
            ["*", "*.", "a..b", "-a", "a-", "*.*.a", "a.*", "a_b", "a b", "ä.example", &"a".repeat(64), ".a", "a."]
        {
            assert!(Host::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_exact_name_is_found_first_then_one_label_then_any() {
        let mut by_host = ByHost::default();
        for host in ["shop.local", "*.shop.local", "*.local", ""] {
            by_host.set(&Host::parse(host).expect("a host"), Some(Arc::new(host)));
        }
        for (name, expected) in [
            ("shop.local", "shop.local"),
            ("SHOP.local.", "shop.local"),
            ("a.shop.local", "*.shop.local"),
            ("a.b.shop.local", ""),
            ("other.local", "*.local"),
            ("local", ""),
            ("", ""),
        ] {
            assert_eq!(by_host.find(name).map(|found| **found), Some(expected), "{name}");
        }
        by_host.set(&Host::Any, None);
        assert_eq!(by_host.find("local"), None);
    }
}
