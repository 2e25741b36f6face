//! Settings of the host that packets of containers depend on.

use std::{fs, path::Path};

use super::{Check, good, warning};

/// All settings.
pub(super) fn checks() -> Vec<Check> {
    check_all(|path| fs::read_to_string(Path::new("/proc/sys").join(path)).ok().map(|text| text.trim().to_owned()))
}

fn check_all(read: impl Fn(&str) -> Option<String>) -> Vec<Check> {
    let mut checks = Vec::new();
    for (path, family) in [("net/ipv4/ip_forward", "IPv4"), ("net/ipv6/conf/all/forwarding", "IPv6")] {
        let what = path.replace('/', ".");
        checks.push(match read(path).as_deref() {
            Some("1") => good(&what, "1"),
            Some(value) => warning(&what, value, format!("containers reach nothing outside by {family} until it is 1; linkspan sets it for networks that need it")),
            None => warning(&what, "not there", format!("this kernel has no {family}")),
        });
    }
    checks.push(match read("net/ipv4/conf/all/rp_filter").as_deref() {
        Some("1") => warning(
            "net.ipv4.conf.all.rp_filter",
            "1 (strict)",
            "packets that come and go by different links are dropped; on a host with several uplinks set it to 2",
        ),
        Some(value) => good("net.ipv4.conf.all.rp_filter", value),
        None => good("net.ipv4.conf.all.rp_filter", "not there"),
    });
    for path in ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"] {
        let what = path.replace('/', ".");
        checks.push(match read(path).as_deref() {
            Some("1") => warning(
                &what,
                "1",
                "frames between containers of one network also pass the host's forward rules; set it to 0 unless Kubernetes or a firewall needs it",
            ),
            Some(value) => good(&what, value),
            None => good(&what, "br_netfilter is not loaded"),
        });
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn warns_of_what_stands_in_the_way() {
        let check = |values: &[(&str, &str)], expected: &[&str]| {
            let read = |path: &str| values.iter().find(|(p, _)| *p == path).map(|(_, v)| (*v).to_owned());
            let warned: Vec<String> = check_all(read)
                .into_iter()
                .filter(|c| !matches!(c.verdict, Verdict::Good(_)))
                .map(|c| c.what)
                .collect();
            assert_eq!(warned, expected, "{values:?}");
        };
        let forwards = [("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")];
        check(&forwards, &[]);
        check(&[], &["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]);
        let strict = [forwards[0], forwards[1], ("net/ipv4/conf/all/rp_filter", "1")];
        check(&strict, &["net.ipv4.conf.all.rp_filter"]);
        let called = [forwards[0], forwards[1], ("net/bridge/bridge-nf-call-iptables", "1")];
        check(&called, &["net.bridge.bridge-nf-call-iptables"]);
    }
}
