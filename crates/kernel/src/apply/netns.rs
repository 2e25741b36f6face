//! Network namespaces.

use std::{fs, path::Path};

use netlink_packet_route::link::{LinkFlags, LinkMessage};
use netstate::netns::NetnsName;

use crate::{
    fault::Refusal,
    linux::{Linux, Sockets},
    namespace,
    netlink::{Socket, route},
};

/// Index of the loopback link in every namespace (`LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

/// Makes a namespace with its loopback link up.
pub(crate) fn create(linux: &mut Linux, name: &str) -> Result<(), Refusal> {
    let inside = || {
        let mut sockets = Sockets::open()?;
        announce_addresses();
        loopback_up(&mut sockets.route)?;
        Ok(sockets)
    };
    match namespace::create(linux.run_dir(), name, inside)? {
        Some(sockets) => {
            linux.adopt(name, sockets);
            Ok(())
        }
        None => loopback_up(&mut linux.sockets(&NetnsName::named(name))?.route),
    }
}

/// Has links made here from now on tell their neighbours of their addresses when their Ethernet address is set, see `addr::announce`. A
/// kernel without IPv6 has one of the settings only.
fn announce_addresses() {
    for setting in ["ipv4/conf/default/arp_notify", "ipv6/conf/default/ndisc_notify"] {
        // Without, the neighbours find out by themselves, some seconds later.
        let _ = fs::write(Path::new("/proc/sys/net").join(setting), "1");
    }
}

/// Lets go of a namespace; its links go soon after.
pub(crate) fn delete(linux: &mut Linux, name: &str) -> Result<(), Refusal> {
    linux.forget(name);
    namespace::delete(linux.run_dir(), name)
}

fn loopback_up(socket: &mut Socket) -> Result<(), Refusal> {
    let mut lo = LinkMessage::default();
    lo.header.index = LOOPBACK;
    lo.header.flags = LinkFlags::Up;
    lo.header.change_mask = LinkFlags::Up;
    socket.ask(route::request(libc::RTM_NEWLINK, 0, &lo))
}
