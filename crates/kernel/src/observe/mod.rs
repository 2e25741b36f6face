//! Seeing what is there, one file per kind. Listed is what carries our mark and nothing else:
//!
//! - namespaces: the files below `RUN/netns`;
//! - links of the host: those with our alias or in our link group, and in our namespaces the other ends of those;
//! - addresses and routes: those with our protocol number, on links of ours;
//! - nftables: the tables of our name. A rule is recognised by its comment.
//!
//! What a container adds in its own namespace, be it a whole linkspan, is thus not seen.

pub(crate) mod addr;
mod link;
mod nft;
pub(crate) mod route;
pub(crate) mod sysctl;

use std::collections::BTreeSet;

use netstate::{
    Key, NetState,
    netns::{Netns, NetnsName},
};

use crate::{fault::Refusal, linux::Linux, namespace};

/// All that is ours, and the settings asked for.
pub(crate) fn observe(linux: &mut Linux, settings: &BTreeSet<Key>) -> Result<NetState, Refusal> {
    let mut state = NetState::default();
    let names = namespace::list(linux.run_dir())?;
    for name in &names {
        state.put(NetnsName::named(name), Netns {});
    }
    let links = link::observe(linux, &names, &mut state)?;
    linux.sets.clear();
    for netns in std::iter::once(NetnsName::Host).chain(names.into_iter().map(NetnsName::Named)) {
        let ours = links.get(&netns).cloned().unwrap_or_default();
        let sockets = linux.sockets(&netns)?;
        if !ours.is_empty() {
            addr::observe(&mut sockets.route, &netns, &ours, &mut state)?;
            route::observe(&mut sockets.route, &netns, &ours, &mut state)?;
        }
        nft::observe(linux, &netns, &mut state)?;
    }
    sysctl::observe(linux, settings, &mut state)?;
    Ok(state)
}
