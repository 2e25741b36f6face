//! What the doctor is told.

use kernel::probe::{Check, Verdict};
use netstate::nft::{Hook, Policy};

use crate::common::*;

#[test]
fn features_settings_and_foreign_rules() {
    world(|run_dir| {
        let linux = Linux::open(run_dir).expect("to open");
        let find = |checks: &[Check], what: &str| {
            checks.iter().find(|c| c.what == what).unwrap_or_else(|| panic!("no {what}: {checks:#?}")).verdict.clone()
        };
        // A new namespace has more than the loopback link where modules for tunnels are loaded.
        let before = ip("-o link");
        let checks = linux.probe().expect("to probe");
        for what in [
            "bridge links",
            "veth links",
            "nftables fib",
            "nftables sets of ranges of several fields",
            "overlay file system",
        ] {
            assert_eq!(find(&checks, what), Verdict::Good("works".into()));
        }
        assert!(matches!(find(&checks, "net.ipv4.ip_forward"), Verdict::Warning { .. } | Verdict::Good(_)));
        assert!(matches!(find(&checks, "foreign firewall rules"), Verdict::Good(_)));
        assert_eq!(ip("-o link"), before, "what was tried is gone");
        assert_eq!(run("nft", &["list", "ruleset"]), "");

        run(
            "nft",
            &["add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }"],
        );
        run(
            "nft",
            &[
                "add table inet linkspan; add chain inet linkspan forward { type filter hook forward priority 0; policy drop; }",
            ],
        );
        let Verdict::Warning { found, remedy } = find(&linux.probe().expect("to probe"), "foreign firewall rules")
        else {
            panic!("no warning")
        };
        assert_eq!(found, "chain ip filter FORWARD drops forwarded packets by policy");
        assert!(remedy.contains("iptables -P FORWARD ACCEPT"), "{remedy}");
        let chains = kernel::probe::foreign_chains().expect("chains");
        assert_eq!(chains.len(), 1, "{chains:?}");
        assert_eq!((chains[0].hook, chains[0].policy), (Hook::Forward, Policy::Drop));
        run(
            "nft",
            &[
                "flush ruleset; add table inet fw; add chain inet fw c { type filter hook forward priority 0; }; add chain inet fw d; add rule inet fw c jump d; add rule inet fw d tcp dport 1 drop; add rule inet fw d reject; add rule inet fw c accept",
            ],
        );
        let Verdict::Warning { found, .. } = find(&linux.probe().expect("to probe"), "foreign firewall rules") else {
            panic!("no warning")
        };
        assert_eq!(found, "table inet fw, which sees forwarded packets, has rules that drop or reject (2)");
    });
}
