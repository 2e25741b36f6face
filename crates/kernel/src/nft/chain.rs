//! Chains.

use libc::{NF_ACCEPT, NF_DROP, NFT_MSG_DELCHAIN, NFT_MSG_GETCHAIN, NFT_MSG_NEWCHAIN, NLM_F_CREATE};
use netstate::nft::{Base, Chain, ChainKey, ChainType, Hook, Policy, TableKey};

use super::{body, header, message_type, read, request};
use crate::{
    fault::Refusal,
    netlink::{Attributes, Request, Socket},
};

const TABLE: u16 = 1; // NFTA_CHAIN_*
const NAME: u16 = 3;
const HOOK: u16 = 4;
const POLICY: u16 = 5;
const TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1; // NFTA_HOOK_*
const HOOK_PRIORITY: u16 = 2;

/// Hooks by their number in families ip, ip6, inet and bridge.
const HOOKS: [Hook; 5] = [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting];

/// Makes a chain, or sets the policy of one that is there.
pub(crate) fn create(key: &ChainKey, chain: &Chain) -> Request {
    let mut w = body(&key.table);
    w.text(TABLE, key.table.name());
    w.text(NAME, &key.name);
    if let Some(base) = &chain.base {
        w.nest(HOOK, |w| {
            w.be32(HOOK_NUMBER, hook_number(base.hook));
            w.be32(HOOK_PRIORITY, base.priority as u32);
        });
        w.be32(POLICY, policy_number(base.policy));
        w.text(TYPE, type_name(base.kind));
    }
    request(NFT_MSG_NEWCHAIN, NLM_F_CREATE, w)
}

/// Removes a chain without rules.
pub(crate) fn delete(key: &ChainKey) -> Request {
    let mut w = body(&key.table);
    w.text(TABLE, key.table.name());
    w.text(NAME, &key.name);
    request(NFT_MSG_DELCHAIN, 0, w)
}

/// A chain that is there.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `NFPROTO_*`
    pub protocol: u8,
    /// Its table's name.
    pub table: String,
    /// Its name.
    pub name: String,
    /// For a chain with a hook.
    pub base: Option<SeenBase>,
}

/// How a chain is hooked, in the kernel's numbers.
#[derive(Clone, Debug)]
pub(crate) struct SeenBase {
    pub kind: String,
    pub hook: u32,
    pub priority: i32,
    pub policy: u32,
}

/// The chains of all tables, ours and foreign.
pub(crate) fn list(socket: &mut Socket) -> Result<Vec<Seen>, Refusal> {
    let chains = std::cell::RefCell::new(Vec::new());
    let ask = header(libc::NFPROTO_UNSPEC as u8, 0);
    socket.dump(
        message_type(NFT_MSG_GETCHAIN),
        &ask.0,
        || chains.borrow_mut().clear(),
        |message| {
            let protocol = message.body.first().copied().unwrap_or_default();
            chains.borrow_mut().extend(decode(protocol, read(message)));
        },
    )?;
    Ok(chains.into_inner())
}

/// The chain's place in our table, and what of it is not rules. A chain of a type or hook that we never use is as one without.
pub(crate) fn ours(table: &TableKey, seen: &Seen) -> Option<(ChainKey, Option<Base>)> {
    if seen.table != table.name() || seen.protocol != super::protocol(table.family) {
        return None;
    }
    let base = seen.base.as_ref().and_then(|base| {
        Some(Base {
            kind: [ChainType::Filter, ChainType::Nat].into_iter().find(|t| type_name(*t) == base.kind)?,
            hook: *HOOKS.get(base.hook as usize)?,
            priority: base.priority,
            policy: if base.policy == NF_DROP as u32 { Policy::Drop } else { Policy::Accept },
        })
    });
    Some((ChainKey { table: table.clone(), name: seen.name.clone() }, base))
}

/// A hook's number.
pub(crate) fn hook_number(hook: Hook) -> u32 {
    match hook {
        Hook::Prerouting => 0,
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    }
}

fn policy_number(policy: Policy) -> u32 {
    match policy {
        Policy::Accept => NF_ACCEPT as u32,
        Policy::Drop => NF_DROP as u32,
    }
}

fn type_name(kind: ChainType) -> &'static str {
    match kind {
        ChainType::Filter => "filter",
        ChainType::Nat => "nat",
    }
}

fn decode(protocol: u8, chain: Attributes<'_>) -> Option<Seen> {
    let hook = chain.within(HOOK);
    let base = hook.be32(HOOK_NUMBER).map(|number| SeenBase {
        kind: chain.text(TYPE).unwrap_or_default(),
        hook: number,
        priority: hook.be32(HOOK_PRIORITY).unwrap_or_default() as i32,
        policy: chain.be32(POLICY).unwrap_or(NF_ACCEPT as u32),
    });
    Some(Seen { protocol, table: chain.text(TABLE)?, name: chain.text(NAME)?, base })
}
