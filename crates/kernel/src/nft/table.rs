//! Tables.

use libc::{NFT_MSG_DELTABLE, NFT_MSG_GETTABLE, NFT_MSG_NEWTABLE, NLM_F_CREATE};
use netstate::nft::{Family, TableKey};

use super::{body, header, message_type, protocol, read, request};
use crate::{
    fault::Refusal,
    netlink::{Request, Socket},
};

const NAME: u16 = 1; // NFTA_TABLE_NAME

/// Makes a table.
pub(crate) fn create(key: &TableKey) -> Request {
    let mut w = body(key);
    w.text(NAME, key.name());
    request(NFT_MSG_NEWTABLE, NLM_F_CREATE, w)
}

/// Removes a table with all in it.
pub(crate) fn delete(key: &TableKey) -> Request {
    let mut w = body(key);
    w.text(NAME, key.name());
    request(NFT_MSG_DELTABLE, 0, w)
}

/// A table that is there.
pub(crate) struct Seen {
    /// `NFPROTO_*`
    pub protocol: u8,
    /// Its name.
    pub name: String,
}

/// All tables of the socket's namespace, ours and foreign.
pub(crate) fn list(socket: &mut Socket) -> Result<Vec<Seen>, Refusal> {
    let tables = std::cell::RefCell::new(Vec::new());
    let ask = header(libc::NFPROTO_UNSPEC as u8, 0);
    socket.dump(
        message_type(NFT_MSG_GETTABLE),
        &ask.0,
        || tables.borrow_mut().clear(),
        |message| {
            if let (Some(&protocol), Some(name)) = (message.body.first(), read(message).text(NAME)) {
                tables.borrow_mut().push(Seen { protocol, name });
            }
        },
    )?;
    Ok(tables.into_inner())
}

/// The family of a table that could be ours.
pub(crate) fn family(number: u8) -> Option<Family> {
    [Family::Inet, Family::Bridge].into_iter().find(|f| protocol(*f) == number)
}
