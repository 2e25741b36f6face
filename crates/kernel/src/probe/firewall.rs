//! Firewall rules that are not ours. A packet must pass every chain of a hook: one foreign chain that drops is enough.

use std::{collections::BTreeSet, fs, io};

use libc::{NFPROTO_BRIDGE, NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6};
use netstate::{
    netns::NetnsName,
    nft::{Family, Hook, Policy, TableKey, table::NAME},
};

use super::{Check, good, warning};
use crate::{
    fault::Refusal,
    netlink::{Protocol, Socket},
    nft::{
        KnownRules,
        chain::{self, hook_number},
        rule,
    },
};

/// A base chain of somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignChain {
    /// Its table's family as nft names it.
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
    /// Its hook's name; `ingress` and the like in families without the usual hooks are left out.
    pub hook: Hook,
    /// Order among the chains of the hook.
    pub priority: i32,
    /// What happens to packets that pass its rules.
    pub policy: Policy,
}

/// A table of legacy iptables (`iptables-legacy -t NAME -S` shows it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyTable {
    /// `iptables-legacy` or `ip6tables-legacy`.
    pub tool: &'static str,
    /// As in `filter`.
    pub name: String,
}

/// Warnings of what may drop packets between containers and the world.
pub(super) fn checks() -> Result<Vec<Check>, Refusal> {
    let mut checks: Vec<Check> = chains()?.iter().filter(|c| is_in_the_way(c)).map(drops).collect();
    checks.extend(legacy_tables().iter().filter(|t| t.name == "filter").map(|table| {
        warning(
            "foreign firewall rules",
            format!("{} has a filter table", table.tool),
            format!("if `{} -S FORWARD` says DROP, add rules that accept the containers' traffic", table.tool),
        )
    }));
    checks.extend(refusals()?);
    if checks.is_empty() {
        checks.push(good("foreign firewall rules", "none drops forwarded packets by policy"));
    }
    checks.extend(guard()?);
    Ok(checks)
}

/// Tables of others that refuse some forwarded packets: containers' packets meet them too, published ports or not.
fn refusals() -> Result<Vec<Check>, Refusal> {
    let forward: BTreeSet<(String, String)> =
        chains()?.into_iter().filter(|c| c.hook == Hook::Forward).map(|c| (c.family, c.table)).collect();
    let counts = rule::refusing(&mut Socket::open(Protocol::Netfilter)?)?;
    let refusals = counts.into_iter().filter_map(|((protocol, table), rules)| {
        let place = (family_name(protocol)?.to_owned(), table);
        forward.contains(&place).then_some((place, rules))
    });
    let warning = |((family, table), rules): ((String, String), usize)| {
        warning(
            "foreign firewall rules",
            format!("table {family} {table}, which sees forwarded packets, has rules that drop or reject ({rules})"),
            format!("they hold for containers and published ports too; `nft list table {family} {table}` shows them"),
        )
    };
    Ok(refusals.map(warning).collect())
}

/// A family as nft names it.
fn family_name(protocol: u8) -> Option<&'static str> {
    match i32::from(protocol) {
        NFPROTO_INET => Some("inet"),
        NFPROTO_IPV4 => Some("ip"),
        NFPROTO_IPV6 => Some("ip6"),
        NFPROTO_BRIDGE => Some("bridge"),
        _ => None,
    }
}

/// What linkspan itself drops of others' packets.
fn guard() -> Result<Option<Check>, Refusal> {
    let table = TableKey { netns: NetnsName::Host, family: Family::Inet };
    let rules = rule::list(&mut Socket::open(Protocol::Netfilter)?, &table, &KnownRules::default())?;
    let drops = rules.values().flatten().any(|rule| rule.name.starts_with("no way through"));
    Ok(drops.then(|| {
        good(
            "packets between other links",
            "dropped, as before linkspan had this host forward; `linkspan up --ip-forward-no-drop` lets them pass",
        )
    }))
}

/// The foreign base chains in the calling thread's namespace.
pub(super) fn chains() -> Result<Vec<ForeignChain>, Refusal> {
    let mut socket = Socket::open(Protocol::Netfilter)?;
    let seen = chain::list(&mut socket)?;
    Ok(seen.into_iter().filter(|seen| seen.table != NAME).filter_map(foreign).collect())
}

/// The legacy tables in the calling thread's namespace.
pub(super) fn legacy_tables() -> Vec<LegacyTable> {
    let read = |path: &str, tool| {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other.unwrap_or_default(),
        };
        text.lines().map(|name| LegacyTable { tool, name: name.to_owned() }).collect::<Vec<_>>()
    };
    let mut tables = read("/proc/thread-self/net/ip_tables_names", "iptables-legacy");
    tables.extend(read("/proc/thread-self/net/ip6_tables_names", "ip6tables-legacy"));
    tables
}

fn foreign(seen: chain::Seen) -> Option<ForeignChain> {
    let base = seen.base?;
    let hooks = [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting];
    let family = family_name(seen.protocol)?;
    Some(ForeignChain {
        family: family.to_owned(),
        table: seen.table,
        chain: seen.name,
        hook: hooks.into_iter().find(|hook| hook_number(*hook) == base.hook)?,
        priority: base.priority,
        policy: if base.policy == libc::NF_DROP as u32 { Policy::Drop } else { Policy::Accept },
    })
}

fn is_in_the_way(chain: &ForeignChain) -> bool {
    chain.hook == Hook::Forward && chain.policy == Policy::Drop
}

fn drops(chain: &ForeignChain) -> Check {
    let ForeignChain { family, table, chain: name, .. } = chain;
    let remedy = if family == "ip" && table == "filter" && name == "FORWARD" {
        "let it pass the containers' traffic: `iptables -I FORWARD -j ACCEPT` for their bridges, or `iptables -P FORWARD ACCEPT`".into()
    } else {
        format!("add a rule to it that accepts the containers' traffic: `nft add rule {family} {table} {name} ...`")
    };
    warning(
        "foreign firewall rules",
        format!("chain {family} {table} {name} drops forwarded packets by policy"),
        remedy,
    )
}
