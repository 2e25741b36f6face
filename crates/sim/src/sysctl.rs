//! Settings. Every path is there and reads 0 until it is written, except those of links that are not there.

use netstate::{
    Key,
    netns::NetnsName,
    sysctl::{Sysctl, SysctlKey},
};

use crate::host::{Outcome, World, refuse};

pub(crate) fn write(world: &mut World, key: &SysctlKey, value: &Sysctl) -> Outcome {
    if read(world, key).is_none() {
        return refuse(libc::ENOENT, "there is no such setting: the namespace or the link is missing");
    }
    world.insert(key.clone(), value.clone());
    Ok(())
}

/// The value; none when the namespace or the link is missing.
pub(crate) fn read(world: &World, key: &SysctlKey) -> Option<Sysctl> {
    if !world.has_netns(&key.netns) {
        return None;
    }
    if let Some(link) = key.link()
        && link.name.as_str() != "lo"
        && !world.state.has(&Key::Link(link))
    {
        return None;
    }
    let value = world.state.sysctl(&key.netns, &key.path).unwrap_or("0").to_owned();
    Some(Sysctl { value })
}

pub(crate) fn is_on(world: &World, netns: &NetnsName, path: &str) -> bool {
    world.state.sysctl(netns, path).is_some_and(|value| value != "0")
}
