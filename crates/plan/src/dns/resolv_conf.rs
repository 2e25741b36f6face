//! `/etc/resolv.conf` (resolv.conf(5)): reading the host's, and writing a sandbox's in Docker's layout, comments included, since
//! people and their scripts read `ExtServers` from there.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::sandbox::{DnsWish, Namespace};
use model::{SandboxId, State};

use super::view::{Unqualified, has_embedded_server, places, wanted};

/// The file of a sandbox, given the host's; none if there is no such sandbox.
pub fn resolv_conf(state: &State, sandbox: &SandboxId, host: &HostFiles) -> Option<String> {
    let sandbox = state.sandboxes.get(sandbox)?;
    let places = places(state, sandbox);
    let resolver = if sandbox.namespace == Namespace::Host {
        Resolver::Host
    } else if has_embedded_server(&places) {
        Resolver::Embedded
    } else if places.iter().any(|place| place.bridge.ipv6.is_some()) {
        Resolver::OutsideDual
    } else {
        Resolver::OutsideIpv4
    };
    let (file, path) = match (&host.behind_stub, resolver) {
        (Some(file), Resolver::OutsideIpv4 | Resolver::OutsideDual) => (file, BEHIND_STUB),
        _ => (&host.file, PATH),
    };
    Some(wanted(state, sandbox, file).text(resolver, path))
}

/// The host's file.
pub const PATH: &str = "/etc/resolv.conf";
/// Where systemd-resolved(8) keeps the servers that its stub asks.
pub const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";

/// The embedded server, as a sandbox sees it.
pub const EMBEDDED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));

/// What a resolv.conf says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResolvConf {
    /// `nameserver` lines, in order.
    pub servers: Vec<IpAddr>,
    /// `nameserver` lines that are no address, for the comment.
    pub invalid_servers: Vec<String>,
    /// The last `search` or `domain` line.
    pub search: Vec<String>,
    /// All `options` lines.
    pub options: Vec<String>,
    /// Lines with other keywords, as they are.
    pub other: Vec<String>,
}

/// What the host asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostFiles {
    /// Its file.
    pub file: ResolvConf,
    /// Where that names only the stub of systemd-resolved, which nobody else reaches: whom the stub asks.
    pub behind_stub: Option<ResolvConf>,
}

/// Who answers a sandbox's queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resolver {
    /// The embedded server, on networks with names.
    Embedded,
    /// The outside servers directly, from a namespace without IPv6.
    OutsideIpv4,
    /// The outside servers directly, from a namespace with both families.
    OutsideDual,
    /// The outside servers directly, from the host's own namespace.
    Host,
}

/// The host's file with a sandbox's wishes laid over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Outside servers.
    pub servers: Vec<IpAddr>,
    /// Who named them.
    pub servers_from: Source,
    search: Vec<String>,
    search_from: Source,
    options: Vec<String>,
    options_from: Source,
    other: Vec<String>,
    invalid_servers: Vec<String>,
}

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The host's file.
    Host,
    /// The daemon's settings or the sandbox's wish.
    Override,
}

impl HostFiles {
    /// Takes them from the texts of files, empty for those that are not there.
    pub fn read(text_of: impl Fn(&str) -> String) -> Self {
        let file = ResolvConf::parse(&text_of(PATH));
        let behind_stub = (file.servers == [STUB]).then(|| ResolvConf::parse(&text_of(BEHIND_STUB)));
        Self { file, behind_stub: behind_stub.filter(|behind| !behind.servers.is_empty()) }
    }
}

impl ResolvConf {
    /// Reads a file. Nothing in it is an error: what is not understood is kept or noted.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let Some(keyword) = words.next() else { continue };
            let values = words.map(str::to_owned);
            match keyword {
                _ if keyword.starts_with(['#', ';']) => {}
                "nameserver" => values.take(1).for_each(|server| match server.parse() {
                    Ok(address) => conf.servers.push(address),
                    Err(_) => conf.invalid_servers.push(server),
                }),
                "search" | "domain" => {
                    let values: Vec<_> = values.collect();
                    if !values.is_empty() {
                        conf.search = values;
                    }
                }
                "options" => conf.options.extend(values),
                _ => conf.other.push(line.trim_end().to_owned()),
            }
        }
        conf
    }
}

impl Wanted {
    /// Lays the wish over the host's file; `daemon` is for sandboxes that do not say theirs.
    pub fn new(host: &ResolvConf, daemon: &DnsWish, wish: &DnsWish) -> Self {
        let (servers, servers_from) = laid_over([&wish.servers, &daemon.servers], &host.servers);
        let (search, search_from) = laid_over([&wish.search, &daemon.search], &host.search);
        let (options, options_from) = laid_over([&wish.options, &daemon.options], &host.options);
        Self {
            servers,
            servers_from,
            search: search.into_iter().filter(|domain| search_from == Source::Host || domain != ".").collect(),
            search_from,
            options,
            options_from,
            other: host.other.clone(),
            invalid_servers: host.invalid_servers.clone(),
        }
    }

    /// How the embedded server treats unknown names without a dot.
    pub fn unqualified(&self) -> Unqualified {
        if self.options.iter().any(|option| ndots(option).is_some()) { Unqualified::Keep } else { Unqualified::Forward }
    }

    /// The text of the file.
    pub fn text(&self, resolver: Resolver, path: &str) -> String {
        let mut text = String::from(HEADER);
        let (servers, fell_back) = self.servers_for(resolver);
        for server in servers {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(text, "nameserver {server}");
        }
        let (options, ndots_from) = self.options_for(resolver);
        words(&mut text, "search", &self.search);
        words(&mut text, "options", &options);
        self.other.iter().for_each(|line| text.extend([line, "\n"]));

        let transform = match resolver {
            Resolver::Embedded => " (internal resolver)",
            Resolver::OutsideIpv4 | Resolver::OutsideDual => " (legacy)",
            Resolver::Host => "",
        };
        let _ = writeln!(text, "\n# Based on host file: '{path}'{transform}");
        if fell_back == FellBack::ToDefaults {
            text.push_str("# Used default nameservers.\n");
        }
        if resolver == Resolver::Embedded {
            self.outside_comment(&mut text);
        }
        if !self.invalid_servers.is_empty() {
            let _ = writeln!(text, "# Invalid nameservers: [{}]", self.invalid_servers.join(" "));
        }
        let _ = writeln!(text, "# Overrides: [{}]", self.overrides().join(" "));
        if let Some(source) = ndots_from {
            let _ = writeln!(text, "# Option ndots from: {source}");
        }
        text
    }

    fn servers_for(&self, resolver: Resolver) -> (Vec<IpAddr>, FellBack) {
        let dual = match resolver {
            Resolver::Embedded => return (vec![EMBEDDED], FellBack::Not),
            Resolver::Host => return (self.servers.clone(), FellBack::Not),
            _ if self.servers_from == Source::Override => return (self.servers.clone(), FellBack::Not),
            Resolver::OutsideIpv4 => false,
            Resolver::OutsideDual => true,
        };
        // The host's loopback is not the sandbox's.
        let reachable = |server: &&IpAddr| !server.is_loopback() && (dual || server.is_ipv4());
        let servers: Vec<_> = self.servers.iter().filter(reachable).copied().collect();
        match servers.is_empty() {
            false => (servers, FellBack::Not),
            true => (DEFAULT_SERVERS[..if dual { 4 } else { 2 }].to_vec(), FellBack::ToDefaults),
        }
    }

    /// The embedded server needs some `ndots`, since it wants single labels as they are.
    fn options_for(&self, resolver: Resolver) -> (Vec<String>, Option<&'static str>) {
        let mut options = self.options.clone();
        let mut source = options.iter().any(|option| ndots(option).is_some()).then_some(match self.options_from {
            Source::Host => "host",
            Source::Override => "override",
        });
        if resolver == Resolver::Embedded {
            options.retain(|option| ndots(option).is_none_or(|value| value.parse::<u32>().is_ok()));
            if !options.iter().any(|option| ndots(option).is_some()) {
                options.push("ndots:0".into());
                source = Some("internal");
            }
        }
        (options, source)
    }

    fn outside_comment(&self, text: &mut String) {
        if self.servers.is_empty() {
            text.push_str("# NO EXTERNAL NAMESERVERS DEFINED\n");
            return;
        }
        let servers = self.servers.iter().map(|server| match self.servers_from {
            Source::Host => format!("host({server})"),
            Source::Override => server.to_string(),
        });
        let servers: Vec<_> = servers.collect();
        let _ = writeln!(text, "# ExtServers: [{}]", servers.join(" "));
    }

    fn overrides(&self) -> Vec<&'static str> {
        [(self.servers_from, "nameservers"), (self.search_from, "search"), (self.options_from, "options")]
            .into_iter()
            .filter_map(|(source, name)| (source == Source::Override).then_some(name))
            .collect()
    }
}

const HEADER: &str = "# Generated by linkspan from the host's file and the container's options.\n\n";

/// Where systemd-resolved answers the host itself.
const STUB: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));

/// What a sandbox asks when the host names no server that it could reach.
const DEFAULT_SERVERS: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8844)),
];

#[derive(PartialEq)]
enum FellBack {
    Not,
    ToDefaults,
}

/// The first wish that says something, or else what the host has.
fn laid_over<T: Clone>(wishes: [&Vec<T>; 2], host: &[T]) -> (Vec<T>, Source) {
    match wishes.into_iter().find(|wish| !wish.is_empty()) {
        Some(wish) => (wish.clone(), Source::Override),
        None => (host.to_vec(), Source::Host),
    }
}

/// The value of an `ndots` option.
fn ndots(option: &str) -> Option<&str> {
    match option.split_once(':') {
        Some(("ndots", value)) => Some(value),
        _ => (option == "ndots").then_some(""),
    }
}

fn words(text: &mut String, keyword: &str, values: &[String]) {
    if !values.is_empty() {
        let _ = writeln!(text, "{keyword} {}", values.join(" "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, wish: DnsWish, resolver: Resolver, expected: &str) {
        let text = Wanted::new(&ResolvConf::parse(host), &DnsWish::default(), &wish).text(resolver, PATH);
        assert_eq!(text.strip_prefix(HEADER).unwrap(), expected, "{host:?} {resolver:?}");
    }

    fn wish(servers: &[&str], search: &[&str], options: &[&str]) -> DnsWish {
        let owned = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
        DnsWish {
            servers: servers.iter().map(|s| s.parse().unwrap()).collect(),
            search: owned(search),
            options: owned(options),
        }
    }

    const STUB: &str = "# systemd-resolved\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n";

    #[test]
    fn embedded() {
        check(
            STUB,
            DnsWish::default(),
            Resolver::Embedded,
            "nameserver 127.0.0.11\nsearch lan\noptions edns0 trust-ad ndots:0\n\n\
             # Based on host file: '/etc/resolv.conf' (internal resolver)\n# ExtServers: [host(127.0.0.53)]\n# Overrides: []\n\
             # Option ndots from: internal\n",
        );
        check(
            STUB,
            wish(&["9.9.9.9", "2620:fe::fe"], &["."], &["ndots:2", "use-vc"]),
            Resolver::Embedded,
            "nameserver 127.0.0.11\noptions ndots:2 use-vc\n\n# Based on host file: '/etc/resolv.conf' (internal resolver)\n\
             # ExtServers: [9.9.9.9 2620:fe::fe]\n# Overrides: [nameservers search options]\n# Option ndots from: override\n",
        );
        check(
            "nameserver fe80::1%eth0\noptions ndots:many\nsortlist 10.0.0.0\n",
            DnsWish::default(),
            Resolver::Embedded,
            "nameserver 127.0.0.11\noptions ndots:0\nsortlist 10.0.0.0\n\n\
             # Based on host file: '/etc/resolv.conf' (internal resolver)\n# NO EXTERNAL NAMESERVERS DEFINED\n\
             # Invalid nameservers: [fe80::1%eth0]\n# Overrides: []\n# Option ndots from: internal\n",
        );
    }

    #[test]
    fn outside() {
        check(
            STUB,
            DnsWish::default(),
            Resolver::OutsideIpv4,
            "nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch lan\noptions edns0 trust-ad\n\n\
             # Based on host file: '/etc/resolv.conf' (legacy)\n# Used default nameservers.\n# Overrides: []\n",
        );
        check(
            "nameserver 10.0.0.1\nnameserver ::1\nnameserver fd00::1\n",
            DnsWish::default(),
            Resolver::OutsideDual,
            "nameserver 10.0.0.1\nnameserver fd00::1\n\n# Based on host file: '/etc/resolv.conf' (legacy)\n# Overrides: []\n",
        );
        check(
            STUB,
            wish(&["127.0.0.1"], &[], &[]),
            Resolver::OutsideIpv4,
            "nameserver 127.0.0.1\nsearch lan\noptions edns0 trust-ad\n\n# Based on host file: '/etc/resolv.conf' (legacy)\n\
             # Overrides: [nameservers]\n",
        );
        check(
            STUB,
            DnsWish::default(),
            Resolver::Host,
            "nameserver 127.0.0.53\nsearch lan\noptions edns0 trust-ad\n\n# Based on host file: '/etc/resolv.conf'\n# Overrides: []\n",
        );
    }

    #[test]
    fn behind_the_stub() {
        for (file, behind, expected) in [
            (STUB, "nameserver 10.0.0.1\n", Some("10.0.0.1")),
            (STUB, "", None),
            ("nameserver 127.0.0.53\nnameserver 10.0.0.2\n", "nameserver 10.0.0.1\n", None),
            ("nameserver 127.0.0.1\n", "nameserver 10.0.0.1\n", None),
        ] {
            let host = HostFiles::read(|path| if path == PATH { file.to_owned() } else { behind.to_owned() });
            assert_eq!(host.file, ResolvConf::parse(file));
            let servers = host.behind_stub.map(|behind| behind.servers);
            assert_eq!(servers, expected.map(|server| vec![server.parse().unwrap()]), "{file:?} {behind:?}");
        }
    }

    #[test]
    fn unqualified_names_stay_when_somebody_set_ndots() {
        for (host, options, expected) in [
            ("", &[][..], Unqualified::Forward),
            ("options ndots:1", &[], Unqualified::Keep),
            ("options ndots:1", &["edns0"], Unqualified::Forward),
            ("", &["ndots:3"], Unqualified::Keep),
        ] {
            let wanted = Wanted::new(&ResolvConf::parse(host), &DnsWish::default(), &wish(&[], &[], options));
            assert_eq!(wanted.unqualified(), expected, "{host:?} {options:?}");
        }
    }
}
