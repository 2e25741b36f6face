//! Expressions: the instructions a rule is made of. Registers are those of four bytes, by their index.

use crate::netlink::Writer;

const EXPR_NAME: u16 = 1; // NFTA_EXPR_NAME
const EXPR_DATA: u16 = 2; // NFTA_EXPR_DATA
const LIST_ELEM: u16 = 1; // NFTA_LIST_ELEM
const VALUE: u16 = 1; // NFTA_DATA_VALUE
const VERDICT: u16 = 2; // NFTA_DATA_VERDICT
const VERDICT_CODE: u16 = 1; // NFTA_VERDICT_CODE
const VERDICT_CHAIN: u16 = 2; // NFTA_VERDICT_CHAIN

/// A four-byte register by its index, 0 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Register(pub u32);

impl Register {
    /// The first register.
    pub const FIRST: Self = Self(0);

    /// `NFT_REG32_00` and on.
    fn number(self) -> u32 {
        libc::NFT_REG32_00 as u32 + self.0
    }
}

/// Where in a packet a payload begins (`enum nft_payload_bases`).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Base {
    Link = 0,
    Network = 1,
    Transport = 2,
}

/// How a comparison must come out (`enum nft_cmp_ops`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal = 0,
    NotEqual = 1,
}

/// What a packet does to an element (`enum nft_dynset_ops`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dynamic {
    /// Adds it, or has its time begin again.
    Update { timeout_ms: u64 },
    /// Removes it.
    Delete,
}

/// A rule's expressions, in order.
#[derive(Debug, Default)]
pub(crate) struct Program(pub Writer);

impl Program {
    /// `meta KEY` into a register; `key` is an `NFT_META_*`.
    pub fn meta(&mut self, key: i32, to: Register) {
        self.push("meta", |w| {
            w.be32(2, key as u32);
            w.be32(1, to.number());
        });
    }

    /// `ct KEY` into the first register; `key` is an `NFT_CT_*`.
    pub fn ct(&mut self, key: i32) {
        self.push("ct", |w| {
            w.be32(2, key as u32);
            w.be32(1, Register::FIRST.number());
        });
    }

    /// `meta mark set` from a register.
    pub fn set_mark(&mut self, from: Register) {
        self.push("meta", |w| {
            w.be32(2, libc::NFT_META_MARK as u32);
            w.be32(3, from.number());
        });
    }

    /// `numgen random` into the first register.
    pub fn random(&mut self, modulus: u32, offset: u32) {
        const RANDOM: u32 = 1; // NFT_NG_RANDOM
        self.push("numgen", |w| {
            w.be32(1, Register::FIRST.number());
            w.be32(2, modulus);
            w.be32(3, RANDOM);
            w.be32(4, offset);
        });
    }

    /// `jhash` of the first register, and those after it that the bytes take, into the first.
    pub fn hash(&mut self, bytes: u32, modulus: u32, seed: u32, offset: u32) {
        self.push("hash", |w| {
            w.be32(1, Register::FIRST.number());
            w.be32(2, Register::FIRST.number());
            w.be32(3, bytes);
            w.be32(4, modulus);
            w.be32(5, seed);
            w.be32(6, offset);
            w.be32(7, 0); // NFT_HASH_JENKINS
        });
    }

    /// Changes an element of a map by the packet: its key is in the first registers.
    pub fn dynset(&mut self, set: &str, change: Dynamic, data: Register) {
        self.push("dynset", |w| {
            w.text(1, set);
            w.be32(4, Register::FIRST.number());
            w.be32(5, data.number());
            match change {
                Dynamic::Update { timeout_ms } => {
                    w.be32(3, 1);
                    w.bytes(6, &timeout_ms.to_be_bytes());
                }
                Dynamic::Delete => w.be32(3, 2),
            }
        });
    }

    /// `fib daddr type` into the first register.
    pub fn fib_daddr_type(&mut self) {
        const RESULT_ADDRTYPE: u32 = 3;
        const FLAG_DADDR: u32 = 2;
        self.push("fib", |w| {
            w.be32(1, Register::FIRST.number());
            w.be32(2, RESULT_ADDRTYPE);
            w.be32(3, FLAG_DADDR);
        });
    }

    /// Bytes of the packet into a register.
    pub fn payload(&mut self, base: Base, offset: u32, len: u32, to: Register) {
        self.push("payload", |w| {
            w.be32(1, to.number());
            w.be32(2, base as u32);
            w.be32(3, offset);
            w.be32(4, len);
        });
    }

    /// Masks the first register.
    pub fn and(&mut self, mask: &[u8]) {
        self.push("bitwise", |w| {
            w.be32(1, Register::FIRST.number());
            w.be32(2, Register::FIRST.number());
            w.be32(3, mask.len() as u32);
            w.nest(4, |w| w.bytes(VALUE, mask));
            w.nest(5, |w| w.bytes(VALUE, &vec![0; mask.len()]));
        });
    }

    /// Ends the rule unless the first register compares so.
    pub fn compare(&mut self, how: Compare, with: &[u8]) {
        self.push("cmp", |w| {
            w.be32(1, Register::FIRST.number());
            w.be32(2, how as u32);
            w.nest(3, |w| w.bytes(VALUE, with));
        });
    }

    /// Looks the first registers up in a map of verdicts.
    pub fn verdict_map(&mut self, map: &str) {
        self.push("lookup", |w| {
            w.text(1, map);
            w.be32(2, Register::FIRST.number());
            w.be32(3, libc::NFT_REG_VERDICT as u32);
        });
    }

    /// Looks the first registers up in a set; with `to` in a map.
    pub fn lookup(&mut self, set: &str, how: Compare, to: Option<Register>) {
        self.push("lookup", |w| {
            w.text(1, set);
            w.be32(2, Register::FIRST.number());
            if let Some(to) = to {
                w.be32(3, to.number());
            }
            if how == Compare::NotEqual {
                w.be32(5, 1);
            }
        });
    }

    /// Puts bytes into a register.
    pub fn load(&mut self, bytes: &[u8], to: Register) {
        self.push("immediate", |w| {
            w.be32(1, to.number());
            w.nest(2, |w| w.bytes(VALUE, bytes));
        });
    }

    /// Ends with a verdict; `chain` where it jumps.
    pub fn verdict(&mut self, code: i32, chain: Option<&str>) {
        self.push("immediate", |w| {
            w.be32(1, libc::NFT_REG_VERDICT as u32);
            w.nest(2, |w| {
                w.nest(VERDICT, |w| {
                    w.be32(VERDICT_CODE, code as u32);
                    if let Some(chain) = chain {
                        w.text(VERDICT_CHAIN, chain);
                    }
                });
            });
        });
    }

    /// `reject`; `kind` is an `NFT_REJECT_*`, the code of a TCP reset is not looked at.
    pub fn reject(&mut self, kind: i32, code: u8) {
        self.push("reject", |w| {
            w.be32(1, kind as u32);
            w.bytes(2, &[code]);
        });
    }

    /// `dnat` or `snat` to the address, and the port, in registers.
    pub fn nat(&mut self, kind: i32, family: i32, address: Register, port: Option<Register>) {
        self.push("nat", |w| {
            w.be32(1, kind as u32);
            w.be32(2, family as u32);
            w.be32(3, address.number());
            if let Some(port) = port {
                w.be32(5, port.number());
            }
        });
    }

    /// `masquerade`
    pub fn masquerade(&mut self) {
        self.push("masq", |_| ());
    }

    /// `redirect` to the port in the first register.
    pub fn redirect(&mut self) {
        self.push("redir", |w| w.be32(1, Register::FIRST.number()));
    }

    fn push(&mut self, name: &str, fill: impl FnOnce(&mut Writer)) {
        self.0.nest(LIST_ELEM, |w| {
            w.text(EXPR_NAME, name);
            w.nest(EXPR_DATA, fill);
        });
    }
}
