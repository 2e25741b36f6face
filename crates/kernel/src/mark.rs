//! How what is ours is marked on the host, so that the kernel itself tells what is linkspan's.

/// The protocol number of our routes (`ip route show proto 108`) and of our addresses (`ip -d address`, Linux 5.18 and later): `l` for
/// linkspan. It is not among those of `/etc/iproute2/rt_protos`.
pub const PROTOCOL: u8 = 0x6c;

/// The link group of our links in the host's namespace (`ip link show group 27763`). It is set in the very message that makes a link,
/// which the alias cannot be: a link in the group without an alias was made by a daemon that died before the next message.
pub const LINK_GROUP: u32 = 0x6c73;

/// The group of links that are being deleted together.
pub(crate) const DOOMED_GROUP: u32 = LINK_GROUP + 1;

/// The start of the alias of our links in the host's namespace.
pub const ALIAS_PREFIX: &str = "linkspan:";
