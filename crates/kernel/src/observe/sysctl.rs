//! Settings.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use netstate::{
    Key, NetState,
    netns::NetnsName,
    sysctl::{Sysctl, SysctlKey},
};

use crate::{fault::Refusal, linux::Linux, sysctl};

/// Adds the settings asked for that there are, one visit for each namespace.
pub(crate) fn observe(linux: &mut Linux, settings: &BTreeSet<Key>, state: &mut NetState) -> Result<(), Refusal> {
    let mut wanted: BTreeMap<&NetnsName, Vec<&SysctlKey>> = BTreeMap::new();
    for key in settings {
        if let Key::Sysctl(key) = key {
            wanted.entry(&key.netns).or_default().push(key);
        }
    }
    for (netns, keys) in wanted {
        let values = || keys.iter().map(|key| read(key)).collect::<Vec<_>>();
        let values = match linux.inside(netns, values) {
            Err(refusal) if refusal.errno == libc::ENOENT => continue,
            other => other?,
        };
        for (key, value) in keys.iter().zip(values) {
            if let Some(value) = value {
                state.put((*key).clone(), Sysctl { value });
            }
        }
    }
    Ok(())
}

fn read(key: &SysctlKey) -> Option<String> {
    let text = fs::read_to_string(sysctl::file(key).ok()?).ok()?;
    Some(text.trim_end_matches('\n').to_owned())
}
