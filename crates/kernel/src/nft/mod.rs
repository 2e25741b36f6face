//! nftables over netlink: one file per noun, each with how it is written and how it is read back.
//!
//! Only register programs that nft's language can express are written: others would make `nft list ruleset` fail for everybody on the
//! host. Integers are big-endian, except in values that nft keeps in the host's order (marks, interface names).

pub(crate) mod chain;
pub(crate) mod element;
pub(crate) mod expr;
pub(crate) mod matches;
pub(crate) mod rule;
pub(crate) mod set;
pub(crate) mod table;
pub(crate) mod value;

use netstate::nft::{Family, TableKey};

pub(crate) use rule::KnownRules;

use crate::netlink::{Message, Request, Writer};

/// `nlmsg_type` of an nf_tables message.
pub(crate) const fn message_type(message: i32) -> u16 {
    ((libc::NFNL_SUBSYS_NFTABLES << 8) | message) as u16
}

/// `struct nfgenmsg`, which begins every body: family, version, resource.
pub(crate) fn header(family: u8, resource: u16) -> Writer {
    let [high, low] = resource.to_be_bytes();
    Writer::after(&[family, libc::NFNETLINK_V0 as u8, high, low])
}

/// Length of `struct nfgenmsg`.
pub(crate) const HEADER_LEN: usize = 4;

/// A body about something in this table.
pub(crate) fn body(table: &TableKey) -> Writer {
    header(protocol(table.family), 0)
}

/// A message about something in this table.
pub(crate) fn request(message: i32, flags: i32, body: Writer) -> Request {
    Request::new(message_type(message), flags, body.0)
}

/// What begins and ends a transaction.
pub(crate) fn batch() -> [Request; 2] {
    const BEGIN: u16 = 0x10; // NFNL_MSG_BATCH_BEGIN
    const END: u16 = 0x11; // NFNL_MSG_BATCH_END
    [BEGIN, END].map(|kind| Request::new(kind, 0, header(0, libc::NFNL_SUBSYS_NFTABLES as u16).0))
}

/// The attributes of a message.
pub(crate) fn read(message: Message<'_>) -> crate::netlink::Attributes<'_> {
    crate::netlink::attributes(message.body.get(HEADER_LEN..).unwrap_or_default())
}

/// `NFPROTO_*`
pub(crate) fn protocol(family: Family) -> u8 {
    (match family {
        Family::Inet => libc::NFPROTO_INET,
        Family::Bridge => libc::NFPROTO_BRIDGE,
    }) as u8
}
