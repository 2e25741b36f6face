//! What a rule matches, as expressions. A match on a header first makes sure that the packet has it, once for each rule.

use ipnet::IpNet;
use libc::{
    IPPROTO_TCP, NFPROTO_IPV4, NFPROTO_IPV6, NFT_CT_STATE, NFT_CT_STATUS, NFT_META_BRI_IIFNAME, NFT_META_IIFNAME,
    NFT_META_L4PROTO, NFT_META_MARK, NFT_META_NFPROTO, NFT_META_OIFNAME, NFT_META_PROTOCOL,
};
use netstate::nft::{CtState, CtStatus, Datatype, Family, Field, Hash, MapKey, Marking, Match, Op, Value};

use super::{
    expr::{Base, Compare, Dynamic, Program, Register},
    value,
};
use crate::fault::Refusal;

const REGISTERS: u32 = 16;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ROUTE_TYPE_LOCAL: u32 = libc::RTN_LOCAL as u32;
const STATUS_DNAT: u32 = 1 << 5; // IPS_DST_NAT

/// A rule as far as it is written, and what its packets are known to be.
pub(crate) struct Matcher {
    pub program: Program,
    family: Family,
    network: Option<Network>,
    /// The transport protocol, where the rule names one.
    pub transport: Option<u8>,
}

/// The header that the fields of addresses are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Ip4,
    Ip6,
}

impl Matcher {
    /// An empty rule of a table of this family.
    pub fn new(family: Family) -> Self {
        Self { program: Program::default(), family, network: None, transport: None }
    }

    /// Adds a match.
    pub fn add(&mut self, matched: &Match) -> Result<(), Refusal> {
        match matched {
            Match::Is { field, op, value } => self.is(*field, *op, value),
            Match::Within { field, op, net } => self.within(*field, *op, net),
            Match::In { fields, op, set } => {
                self.load(fields)?;
                self.program.lookup(set, compare(*op), None);
                Ok(())
            }
            Match::CtState(states) => {
                self.program.ct(NFT_CT_STATE);
                self.any_bit(states.iter().map(|s| state_bit(*s)).fold(0, |a, b| a | b))
            }
            Match::CtStatus(CtStatus::Dnat) => {
                self.program.ct(NFT_CT_STATUS);
                self.any_bit(STATUS_DNAT)
            }
            Match::Marked { value, mask } => {
                self.load(&[Field::Mark])?;
                if *mask != u32::MAX {
                    self.program.and(&mask.to_ne_bytes());
                }
                self.program.compare(Compare::Equal, &value.to_ne_bytes());
                Ok(())
            }
            Match::FibDaddrLocal => {
                self.program.fib_daddr_type();
                self.program.compare(Compare::Equal, &ROUTE_TYPE_LOCAL.to_ne_bytes());
                Ok(())
            }
            Match::SetMark(marking) => self.set_mark(marking),
            Match::Remember { key, map, timeout_s } => {
                let timeout_ms = u64::from(*timeout_s) * 1000;
                self.change(key, map, Dynamic::Update { timeout_ms })
            }
            Match::Forget { key, map } => self.change(key, map, Dynamic::Delete),
        }
    }

    fn set_mark(&mut self, marking: &Marking) -> Result<(), Refusal> {
        match marking {
            Marking::Found { fields, map } => {
                self.load(fields)?;
                self.program.lookup(map, Compare::Equal, Some(Register::FIRST));
            }
            Marking::Random { modulus: 0, .. } => return refuse("there must be something to choose from"),
            Marking::Random { modulus, offset } => self.program.random(*modulus, *offset),
            Marking::Hash(by) => self.hash(by)?,
        }
        self.program.set_mark(Register::FIRST);
        Ok(())
    }

    /// Changes an element whose data is the packet's mark.
    fn change(&mut self, key: &MapKey, map: &str, change: Dynamic) -> Result<(), Refusal> {
        let data = match key {
            MapKey::Fields(fields) => {
                self.load(fields)?;
                Register(words(fields))
            }
            MapKey::Hash(by) => {
                self.hash(by)?;
                Register(registers(Datatype::Mark))
            }
        };
        if data.0 >= REGISTERS {
            return refuse("too many fields for nftables' 16 registers");
        }
        self.program.meta(NFT_META_MARK, data);
        self.program.dynset(map, change, data);
        Ok(())
    }

    /// A hash of fields, which concatenated take whole registers each, into the first register.
    fn hash(&mut self, Hash { fields, modulus, seed, offset }: &Hash) -> Result<(), Refusal> {
        if *modulus == 0 {
            return refuse("there must be something to choose from");
        }
        self.load(fields)?;
        let bytes = match fields.as_slice() {
            [field] => value::len(field.datatype()) as u32,
            _ => 4 * words(fields),
        };
        self.program.hash(bytes, *modulus, *seed, *offset);
        Ok(())
    }

    /// Only TCP from here on.
    pub fn tcp(&mut self) {
        self.program.meta(NFT_META_L4PROTO, Register::FIRST);
        self.program.compare(Compare::Equal, &[IPPROTO_TCP as u8]);
    }

    /// The header that every packet of the rule has, where a match made sure of one.
    pub fn network(&self) -> Option<Network> {
        self.network
    }

    /// Loads fields into the registers from the first on.
    pub fn load(&mut self, fields: &[Field]) -> Result<(), Refusal> {
        // The check of a header uses the first register too.
        for field in fields {
            self.require(*field)?;
        }
        let mut register = Register::FIRST;
        for field in fields {
            let words = registers(field.datatype());
            if register.0 + words > REGISTERS {
                return refuse("too many fields for nftables' 16 registers");
            }
            self.load_one(*field, register);
            register.0 += words;
        }
        if fields.is_empty() { refuse("a lookup needs a field") } else { Ok(()) }
    }

    fn is(&mut self, field: Field, op: Op, with: &Value) -> Result<(), Refusal> {
        if with.datatype() != field.datatype() {
            return refuse("the value is not of the field's type");
        }
        self.load(&[field])?;
        self.program.compare(compare(op), &value::encode(with));
        match (field, op, with) {
            (Field::L4Proto, Op::Eq, Value::Proto(protocol)) => self.transport = Some(*protocol),
            (Field::EtherType, Op::Eq, Value::EtherType(ETHERTYPE_IPV4)) => self.network = Some(Network::Ip4),
            (Field::EtherType, Op::Eq, Value::EtherType(ETHERTYPE_IPV6)) => self.network = Some(Network::Ip6),
            _ => {}
        }
        Ok(())
    }

    fn within(&mut self, field: Field, op: Op, net: &IpNet) -> Result<(), Refusal> {
        let (family, mask, address) = match net {
            IpNet::V4(net) => (Datatype::Ipv4Addr, net.netmask().octets().to_vec(), net.network().octets().to_vec()),
            IpNet::V6(net) => (Datatype::Ipv6Addr, net.netmask().octets().to_vec(), net.network().octets().to_vec()),
        };
        if family != field.datatype() {
            return refuse("the network is not of the field's family");
        }
        if net.prefix_len() == 0 {
            // Every packet that has the header; nft writes no /0.
            return if op == Op::Eq {
                self.require(field)
            } else {
                refuse("nothing is outside a network of prefix length 0")
            };
        }
        self.load(&[field])?;
        if net.prefix_len() < net.max_prefix_len() {
            self.program.and(&mask);
        }
        self.program.compare(compare(op), &address);
        Ok(())
    }

    fn any_bit(&mut self, bits: u32) -> Result<(), Refusal> {
        if bits == 0 {
            return refuse("a match on connection tracking states needs one");
        }
        self.program.and(&bits.to_ne_bytes());
        self.program.compare(Compare::NotEqual, &[0; 4]);
        Ok(())
    }

    /// Makes sure that the packet has the field's header.
    fn require(&mut self, field: Field) -> Result<(), Refusal> {
        let needed = match field {
            Field::Ip4Saddr | Field::Ip4Daddr => Network::Ip4,
            Field::Ip6Saddr | Field::Ip6Daddr => Network::Ip6,
            Field::EtherType | Field::IbrName if self.family != Family::Bridge => {
                return refuse("only a table of family bridge sees frames");
            }
            _ => return Ok(()),
        };
        match self.network {
            Some(known) if known == needed => return Ok(()),
            Some(_) => return refuse("no packet is both IPv4 and IPv6"),
            None => self.network = Some(needed),
        }
        let (protocol, ethertype) = match needed {
            Network::Ip4 => (NFPROTO_IPV4, ETHERTYPE_IPV4),
            Network::Ip6 => (NFPROTO_IPV6, ETHERTYPE_IPV6),
        };
        match self.family {
            Family::Inet => {
                self.program.meta(NFT_META_NFPROTO, Register::FIRST);
                self.program.compare(Compare::Equal, &[protocol as u8]);
            }
            Family::Bridge => {
                self.program.meta(NFT_META_PROTOCOL, Register::FIRST);
                self.program.compare(Compare::Equal, &ethertype.to_be_bytes());
            }
        }
        Ok(())
    }

    fn load_one(&mut self, field: Field, to: Register) {
        let program = &mut self.program;
        match field {
            Field::IifName => program.meta(NFT_META_IIFNAME, to),
            Field::OifName => program.meta(NFT_META_OIFNAME, to),
            Field::IbrName => program.meta(NFT_META_BRI_IIFNAME, to),
            Field::L4Proto => program.meta(NFT_META_L4PROTO, to),
            Field::Mark => program.meta(NFT_META_MARK, to),
            Field::Ip4Saddr => program.payload(Base::Network, 12, 4, to),
            Field::Ip4Daddr => program.payload(Base::Network, 16, 4, to),
            Field::Ip6Saddr => program.payload(Base::Network, 8, 16, to),
            Field::Ip6Daddr => program.payload(Base::Network, 24, 16, to),
            Field::Sport => program.payload(Base::Transport, 0, 2, to),
            Field::Dport => program.payload(Base::Transport, 2, 2, to),
            Field::EtherType => program.payload(Base::Link, 12, 2, to),
        }
    }
}

/// How many registers a value of this type takes.
pub(crate) fn registers(datatype: Datatype) -> u32 {
    value::len(datatype).div_ceil(4) as u32
}

fn words(fields: &[Field]) -> u32 {
    fields.iter().map(|field| registers(field.datatype())).sum()
}

/// `NF_CT_STATE_BIT` in the kernel.
fn state_bit(state: CtState) -> u32 {
    match state {
        CtState::Invalid => 1,
        CtState::Established => 2,
        CtState::Related => 4,
        CtState::New => 8,
    }
}

fn compare(op: Op) -> Compare {
    match op {
        Op::Eq => Compare::Equal,
        Op::Ne => Compare::NotEqual,
    }
}

fn refuse<T>(why: &str) -> Result<T, Refusal> {
    Err(Refusal::new(libc::EINVAL).because(why))
}
