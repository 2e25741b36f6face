//! Where requests go: hosts, paths, backends and certificates. Plain data that never changes once it is in use, but for whose turn it
//! is; a change makes another table and swaps it, and what is under way keeps what it has.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{certificate::Certificate, host::ByHost, proxy_protocol};

/// All that the gateway knows. Cheap to clone and to change.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// The rules of each host.
    pub routes: ByHost<Routes>,
    /// Where a request goes that no rule is for.
    pub default: Option<Arc<Backend>>,
    /// By the name that a TLS client asks for; `Any` serves what has none.
    pub certificates: ByHost<Certificate>,
}

impl Table {
    /// Where a request goes. The host is without its port, the path normal and without its query.
    ///
    /// The most specific host that has rules answers; a path it has no rule for goes to its default, then to everybody's.
    pub fn route(&self, host: &str, path: &str) -> Option<&Arc<Backend>> {
        self.routes.find(host).and_then(|routes| routes.find(path)).or(self.default.as_ref())
    }
}

/// How the path of a rule is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// Every octet.
    Exact(String),
    /// Its elements are the first of the request's; a slash at the end means nothing.
    Prefix(String),
}

/// The rules of one host.
#[derive(Debug, Default)]
pub struct Routes {
    exact: HashMap<Box<str>, Arc<Backend>>,
    /// Without the slash at the end.
    prefixes: HashMap<Box<str>, Arc<Backend>>,
    /// Elements of the longest prefix: nobody is made to compare more, however long their path.
    deepest: usize,
    default: Option<Arc<Backend>>,
}

impl Routes {
    /// Of rules, of which the first counts where two are alike.
    pub fn new(rules: impl IntoIterator<Item = (Path, Arc<Backend>)>, default: Option<Arc<Backend>>) -> Self {
        let mut routes = Self { default, ..Self::default() };
        for (path, backend) in rules {
            match path {
                Path::Exact(path) => drop(routes.exact.entry(path.into()).or_insert(backend)),
                Path::Prefix(path) => {
                    let path = path.trim_end_matches('/');
                    routes.deepest = routes.deepest.max(path.matches('/').count());
                    routes.prefixes.entry(path.into()).or_insert(backend);
                }
            }
        }
        routes
    }

    /// The exact rule, else the longest prefix, else the default of the host.
    pub fn find(&self, path: &str) -> Option<&Arc<Backend>> {
        let exact = || if self.exact.is_empty() { None } else { self.exact.get(path) };
        exact().or_else(|| self.prefix(path)).or(self.default.as_ref())
    }

    fn prefix(&self, path: &str) -> Option<&Arc<Backend>> {
        // As many elements as the longest prefix has, and from there upwards.
        let end = path.match_indices('/').nth(self.deepest + 1).map_or(path.len(), |(at, _)| at);
        let mut path = &path[..end];
        if let Some(found) = self.prefixes.get(path) {
            return Some(found);
        }
        while let Some(at) = path.rfind('/') {
            path = &path[..at];
            if let Some(found) = self.prefixes.get(path) {
                return Some(found);
            }
        }
        None
    }

    /// The rules as people write them, in order: for tests and for looking.
    pub fn entries(&self) -> Vec<(String, &Arc<Backend>)> {
        let exact = self.exact.iter().map(|(path, backend)| (format!("= {path}"), backend));
        let prefixes = self.prefixes.iter().map(|(path, backend)| (format!("{path}/"), backend));
        let mut all: Vec<_> = exact.chain(prefixes).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.extend(self.default.iter().map(|backend| ("default".to_owned(), backend)));
        all
    }
}

/// What endpoints speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// HTTP/1.1, and whatever a connection is upgraded to.
    #[default]
    Http1,
    /// The same in TLS.
    Https1,
    /// HTTP/2 without TLS, from the first octet (RFC 9113, 3.3).
    H2c,
    /// HTTP/2 in TLS (RFC 9113, 3.2).
    H2,
}

impl Protocol {
    /// Requests share a connection.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::H2c | Self::H2)
    }

    /// Connections begin with a handshake.
    pub fn has_tls(self) -> bool {
        matches!(self, Self::Https1 | Self::H2)
    }
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way from this thread of the gateway; in turn among equals.
    LeastRequests,
}

/// A port of a service.
#[derive(Debug, Default)]
pub struct Backend {
    /// For people: `shop/web:80`.
    pub name: String,
    /// What its endpoints speak.
    pub protocol: Protocol,
    /// How one is chosen.
    pub balance: Balance,
    /// Whether endpoints are told the client's address below HTTP, and how. Their connections serve one client each then.
    pub send_proxy: Option<proxy_protocol::Version>,
    /// Those that take requests.
    pub endpoints: Vec<SocketAddr>,
    /// Why there is none, when more is known than that.
    pub trouble: Option<String>,
    /// Whose turn it is.
    pub turn: AtomicUsize,
}

impl Backend {
    /// Chooses an endpoint; `cost` tells how bad each is, `None` not to be used. Every one is asked once at most.
    pub fn choose(&self, mut cost: impl FnMut(SocketAddr) -> Option<usize>) -> Option<SocketAddr> {
        let count = self.endpoints.len();
        if count == 0 {
            return None;
        }
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..count).map(|n| self.endpoints[first.wrapping_add(n) % count]);
        match self.balance {
            Balance::RoundRobin => in_turn.into_iter().find(|&endpoint| cost(endpoint).is_some()),
            Balance::LeastRequests => {
                // The first of equals, so those take turns.
                in_turn
                    .filter_map(|endpoint| Some((cost(endpoint)?, endpoint)))
                    .min_by_key(|(cost, _)| *cost)
                    .map(|(_, e)| e)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::host::Host, *};

    fn backend(name: &str) -> Arc<Backend> {
        Arc::new(Backend { name: name.to_owned(), ..Backend::default() })
    }

    /// Rules are written `/prefix` and `=/exact`; each leads to a backend of the same name.
    fn check(rules: &[&str], requests: &[(&str, &str)]) {
        let rules = rules.iter().map(|rule| match rule.strip_prefix('=') {
            Some(path) => (Path::Exact(path.to_owned()), backend(rule)),
            None => (Path::Prefix((*rule).to_owned()), backend(rule)),
        });
        let routes = Routes::new(rules, None);
        for (path, expected) in requests {
            let found = routes.find(path).map_or("-", |backend| &backend.name);
            assert_eq!(found, *expected, "{path}");
        }
    }

    /// The table of examples in Kubernetes' documentation of Ingress, and what it leaves open.
    #[test]
    fn paths() {
        check(&["/"], &[("/", "/"), ("/any/thing", "/"), ("/a//b", "/")]);
        check(&["=/foo"], &[("/foo", "=/foo"), ("/bar", "-"), ("/foo/", "-"), ("/foo/bar", "-")]);
        check(&["=/foo/"], &[("/foo", "-"), ("/foo/", "=/foo/")]);
        check(&["/foo"], &[("/foo", "/foo"), ("/foo/", "/foo"), ("/foobar", "-"), ("/foo/bar", "/foo"), ("/", "-")]);
        check(&["/foo/"], &[("/foo", "/foo/"), ("/foo/", "/foo/"), ("/foo/x/y", "/foo/")]);
        check(&["/aaa/bb"], &[("/aaa/bbb", "-"), ("/aaa/bb", "/aaa/bb")]);
        check(&["/aaa/bbb/"], &[("/aaa/bbb", "/aaa/bbb/"), ("/aaa/bbb/ccc", "/aaa/bbb/")]);
        check(&["/", "/aaa", "/aaa/bbb"], &[("/ccc", "/"), ("/aaa/ccc", "/aaa"), ("/aaa/bbb/c/d/e/f", "/aaa/bbb")]);
        check(&["/foo", "=/foo"], &[("/foo", "=/foo"), ("/foo/", "/foo"), ("/foo/b", "/foo")]);
        check(&["/a/b", "=/a"], &[("/a", "=/a"), ("/a/c", "-"), (&"/a/b".repeat(2000), "/a/b")]);
        check(&[], &[("/", "-")]);
    }

    #[test]
    fn hosts_come_before_paths_and_defaults_last() {
        let mut table = Table::default();
        let rules = [(Path::Prefix("/a".into()), backend("one"))];
        table.routes.set(&Host::parse("shop.local").expect("a host"), Some(Arc::new(Routes::new(rules, None))));
        let rules = [(Path::Prefix("/".into()), backend("wild"))];
        table
            .routes
            .set(&Host::parse("*.local").expect("a host"), Some(Arc::new(Routes::new(rules, Some(backend("own"))))));
        let name = |table: &Table, host, path| table.route(host, path).map(|backend| backend.name.clone());
        assert_eq!(name(&table, "shop.local", "/a"), Some("one".into()));
        assert_eq!(name(&table, "shop.local", "/b"), None, "the wildcard is another host");
        assert_eq!(name(&table, "x.local", "/b"), Some("wild".into()));
        assert_eq!(name(&table, "elsewhere", "/b"), None);
        table.default = Some(backend("default"));
        assert_eq!(name(&table, "shop.local", "/b"), Some("default".into()));
        assert_eq!(name(&table, "elsewhere", "/"), Some("default".into()));
    }

    #[test]
    fn endpoints_in_turn_or_by_requests() {
        let endpoints: Vec<SocketAddr> = (1..=3).map(|n| ([10, 0, 0, n], 80).into()).collect();
        let mut backend = Backend { endpoints: endpoints.clone(), ..Backend::default() };
        let chosen: Vec<_> = (0..6).filter_map(|_| backend.choose(|_| Some(0))).collect();
        assert_eq!(chosen, [endpoints.clone(), endpoints.clone()].concat());
        assert_eq!(backend.choose(|_| None), None);
        assert_eq!(backend.choose(|endpoint| (endpoint == endpoints[2]).then_some(0)), Some(endpoints[2]));
        backend.balance = Balance::LeastRequests;
        let mut busy = HashMap::from([(endpoints[0], 5)]);
        for _ in 0..20 {
            let chosen = backend.choose(|endpoint| busy.get(&endpoint).copied().or(Some(0))).expect("one");
            *busy.entry(chosen).or_default() += 1;
        }
        let mut counts: Vec<_> = busy.into_values().collect();
        counts.sort_unstable();
        assert!(counts[2] - counts[0] <= 1, "{counts:?}");
    }
}
