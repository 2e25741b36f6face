//! Namespaces.

use netstate::{
    Key,
    netns::{Netns, NetnsName},
};

use crate::{
    host::{Outcome, World, refuse},
    link,
};

pub(crate) fn create(world: &mut World, name: &NetnsName) -> Outcome {
    if let NetnsName::Named(file) = name
        && (file.is_empty() || file.contains('/') || file.len() > 255)
    {
        return refuse(libc::EINVAL, "the name is not a file name");
    }
    if world.has_netns(name) {
        return refuse(libc::EEXIST, "there is a namespace of that name");
    }
    world.insert(name.clone(), Netns {});
    Ok(())
}

/// Its links go with it, those of a pair with their other ends, and all the rest.
pub(crate) fn delete(world: &mut World, name: &NetnsName) -> Outcome {
    if *name == NetnsName::Host {
        return refuse(libc::EBUSY, "the host's own namespace stays");
    }
    let links: Vec<_> = world.state.links(name).map(|(key, _)| key.clone()).collect();
    for key in links {
        link::delete(world, &key)?;
    }
    world.remove_if(|key, _| key.netns() == name);
    world.remove(&Key::Netns(name.clone()));
    Ok(())
}
