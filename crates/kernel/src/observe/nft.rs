//! nftables.

use std::sync::Arc;

use netstate::{
    Key, NetState, Object,
    netns::NetnsName,
    nft::{Chain, Filled, Table, TableKey},
};

use crate::{fault::Refusal, linux::Linux, nft};

/// Adds our tables of a namespace with all that is in them.
pub(crate) fn observe(linux: &mut Linux, netns: &NetnsName, state: &mut NetState) -> Result<(), Refusal> {
    let tables = nft::table::list(&mut linux.sockets(netns)?.netfilter)?;
    for seen in tables {
        let Some(family) = nft::table::family(seen.protocol) else { continue };
        let table = TableKey { netns: netns.clone(), family };
        if seen.name == table.name() {
            state.put(table.clone(), Table {});
            observe_table(linux, &table, state)?;
        }
    }
    Ok(())
}

fn observe_table(linux: &mut Linux, table: &TableKey, state: &mut NetState) -> Result<(), Refusal> {
    let socket = &mut linux.sockets(&table.netns)?.netfilter;
    let sets = nft::set::list(socket, table)?;
    let mut elements: Vec<(Key, Object)> = Vec::new();
    for (key, set) in &sets {
        state.put(Key::Set(Arc::clone(key)), set.clone());
        // What packets fill is theirs, and much.
        if set.filled == Filled::ByPackets {
            continue;
        }
        let listed = nft::element::list(socket, key, set)?;
        elements.extend(listed.into_iter().map(|(key, element)| (key.into(), element.into())));
    }
    state.put_all(elements.into_iter().collect());
    let chains = nft::chain::list(socket)?;
    linux.sets.extend(sets.into_iter().map(|(key, set)| (key, set.into())));
    let known = std::mem::take(&mut linux.rules);
    let rules = nft::rule::list(&mut linux.sockets(&table.netns)?.netfilter, table, &known);
    linux.rules = known;
    let mut rules = rules?;
    for seen in &chains {
        if let Some((key, base)) = nft::chain::ours(table, seen) {
            let rules = rules.remove(&key.name).unwrap_or_default();
            state.put(key, Chain { base, rules });
        }
    }
    Ok(())
}
