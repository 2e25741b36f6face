//! Features of the kernel, by using them once.

use std::{fs, path::Path};

use netstate::{
    Kernel, NetState, Op, Plan,
    link::{Admin, Link, LinkKey, LinkKind, MacAddr},
    netns::{Netns, NetnsName},
    nft::{
        Action, Base, Chain, ChainKey, ChainType, Datatype, Family, Field, Hook, IcmpReject, Match, Policy, Rule, Set,
        SetData, SetKey, Table, TableKey, Value,
    },
};
use rustix::{
    fs::FsWord,
    mount::{MountFlags, UnmountFlags},
};

use super::{Check, bad, good, warning};
use crate::{linux::Linux, socket::in_private_namespaces};

const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// All features.
pub(super) fn checks() -> Vec<Check> {
    let mut checks = match in_private_namespaces(tried_out) {
        Ok(checks) => checks,
        Err(error) => vec![bad(
            "namespaces",
            error.to_string(),
            "run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN (in a container: --privileged)",
        )],
    };
    checks.push(cgroup(Path::new(CGROUP_ROOT)));
    checks
}

fn tried_out() -> Vec<Check> {
    let scratch = std::env::temp_dir();
    // Seen by nobody else: this is a mount namespace of its own.
    if let Err(errno) = rustix::mount::mount("none", &scratch, "tmpfs", MountFlags::empty(), None) {
        return vec![bad("tmpfs", errno.to_string(), "mounting must be allowed; run with CAP_SYS_ADMIN")];
    }
    let mut checks: Vec<Check> = trials().into_iter().map(|trial| trial.run(&scratch)).collect();
    checks.push(overlay(&scratch));
    let _ = rustix::mount::unmount(&scratch, UnmountFlags::DETACH);
    checks
}

/// A state that needs a feature.
struct Trial {
    what: &'static str,
    needs: NetState,
    missing: Missing,
}

/// What it means to be without a feature.
enum Missing {
    /// linkspan cannot work; the kernel's options that have it.
    Bad(&'static str),
    /// Something cannot be done.
    Warning(&'static str),
}

impl Trial {
    fn run(self, scratch: &Path) -> Check {
        let ops =
            self.needs.objects.iter().map(|(key, object)| Op::Create { key: key.clone(), object: object.clone() });
        let plan = Plan { ops: ops.collect() };
        let fault = match Linux::open(scratch) {
            Ok(mut linux) => {
                let fault = linux.apply(&plan).fault;
                let undo = plan.ops.iter().rev().map(|op| undo(op.clone()));
                linux.apply(&Plan { ops: undo.collect() });
                fault
            }
            Err(fault) => Some(fault),
        };
        match (fault, self.missing) {
            (None, _) => good(self.what, "works"),
            (Some(fault), Missing::Bad(remedy)) => bad(self.what, fault.cause, remedy),
            (Some(fault), Missing::Warning(remedy)) => warning(self.what, fault.cause, remedy),
        }
    }
}

fn undo(op: Op) -> Op {
    match op {
        Op::Create { key, object } => Op::Delete { key, object, with: Default::default() },
        other => other,
    }
}

fn trials() -> Vec<Trial> {
    let trial = |what, needs, missing| Trial { what, needs, missing };
    let nat = |rules| rules_in(Family::Inet, ChainType::Nat, Hook::Postrouting, rules);
    let filter = |rules| rules_in(Family::Inet, ChainType::Filter, Hook::Forward, rules);
    let masquerade = rule(vec![], Action::Masquerade);
    let local = rule(vec![Match::FibDaddrLocal], Action::Accept);
    let reject = rule(vec![], Action::Reject(IcmpReject::PortUnreachable));
    let ibrname = Match::Is { field: Field::IbrName, op: netstate::nft::Op::Eq, value: Value::IfName("br0".into()) };
    let frames = |rule| rules_in(Family::Bridge, ChainType::Filter, Hook::Forward, vec![rule]);
    vec![
        trial("bridge links", link(LinkKind::Bridge), Missing::Bad("CONFIG_BRIDGE; try `modprobe bridge`")),
        trial("veth links", veth(), Missing::Bad("CONFIG_VETH; try `modprobe veth`")),
        trial(
            "nftables translation in family inet",
            nat(vec![masquerade]),
            Missing::Bad("Linux 5.2 with CONFIG_NFT_NAT, CONFIG_NFT_MASQ"),
        ),
        trial("nftables fib", filter(vec![local]), Missing::Bad("CONFIG_NFT_FIB_INET; try `modprobe nft_fib_inet`")),
        trial(
            "nftables reject",
            filter(vec![reject]),
            Missing::Bad("CONFIG_NFT_REJECT_INET; try `modprobe nft_reject_inet`"),
        ),
        trial("nftables sets of ranges of several fields", concatenation(), Missing::Bad("Linux 5.6 or later")),
        trial(
            "nftables family bridge",
            frames(rule(vec![], Action::Accept)),
            Missing::Warning("without CONFIG_NF_TABLES_BRIDGE containers on one network cannot be kept apart"),
        ),
        trial(
            "nftables meta ibrname",
            frames(rule(vec![ibrname], Action::Accept)),
            Missing::Warning("CONFIG_NFT_BRIDGE_META; rules on frames must name the bridge's ports instead"),
        ),
    ]
}

fn rule(matches: Vec<Match>, action: Action) -> Rule {
    Rule { name: "probe".into(), matches, action }
}

fn rules_in(family: Family, kind: ChainType, hook: Hook, rules: Vec<Rule>) -> NetState {
    let mut state = NetState::default();
    let table = TableKey { netns: NetnsName::Host, family };
    state.put(table.clone(), Table {});
    let base = Some(Base { kind, hook, priority: 0, policy: Policy::Accept });
    state.put(ChainKey { table, name: "probe".into() }, Chain { base, rules });
    state
}

fn concatenation() -> NetState {
    let mut state = NetState::default();
    let table = TableKey { netns: NetnsName::Host, family: Family::Inet };
    state.put(table.clone(), Table {});
    let key = vec![Datatype::Ipv4Addr, Datatype::InetProto, Datatype::InetService];
    state.put(
        SetKey { table, name: "probe".into() },
        Set { key, data: SetData::None, interval: true, filled: Default::default() },
    );
    state
}

fn link(kind: LinkKind) -> NetState {
    let mut state = NetState::default();
    if let Ok(name) = "probe0".parse() {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let link = Link { kind, mac, mtu: 1500, admin: Admin::Down, port: None, alias: None };
        state.put(LinkKey { netns: NetnsName::Host, name }, link);
    }
    state
}

fn veth() -> NetState {
    let Ok(name) = "eth0".parse() else { return NetState::default() };
    let netns = NetnsName::named("probe");
    let peer = LinkKey { netns: netns.clone(), name };
    let mut state = link(LinkKind::Veth { peer, peer_mac: MacAddr([2, 0, 0, 0, 0, 2]) });
    state.put(netns, Netns {});
    state
}

fn overlay(scratch: &Path) -> Check {
    const WHAT: &str = "overlay file system";
    let options = ["lower", "upper", "work", "merged"].map(|name| scratch.join(name));
    let made = options.iter().try_for_each(fs::create_dir);
    let [lower, upper, work, merged] = &options;
    let data = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let data = std::ffi::CString::new(data).unwrap_or_default();
    let mounted =
        made.and_then(|()| Ok(rustix::mount::mount("overlay", merged, "overlay", MountFlags::empty(), Some(&*data))?));
    match mounted {
        Ok(()) => {
            let _ = rustix::mount::unmount(merged, UnmountFlags::DETACH);
            good(WHAT, "works")
        }
        Err(error) => bad(WHAT, error.to_string(), "CONFIG_OVERLAY_FS; try `modprobe overlay`"),
    }
}

fn cgroup(root: &Path) -> Check {
    const WHAT: &str = "control groups";
    const CGROUP2: FsWord = 0x6367_7270;
    match rustix::fs::statfs(root) {
        Ok(fs) if fs.f_type == CGROUP2 => good(WHAT, "version 2"),
        Ok(_) if root.join("memory").is_dir() || root.join("pids").is_dir() => warning(
            WHAT,
            "version 1",
            "it works; version 2 (boot with systemd.unified_cgroup_hierarchy=1) limits memory and IO better",
        ),
        Ok(_) => bad(WHAT, format!("nothing is mounted at {}", root.display()), "mount -t cgroup2 none /sys/fs/cgroup"),
        Err(errno) => bad(WHAT, errno.to_string(), "mount -t cgroup2 none /sys/fs/cgroup"),
    }
}
