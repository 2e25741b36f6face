//! Rules. One is one rule in the kernel, except a refusal of any protocol, which takes two: TCP is reset, the rest gets an ICMP error.
//! A rule is recognised by its comment, never by its expressions.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use libc::{
    NF_ACCEPT, NF_DROP, NFPROTO_IPV4, NFPROTO_IPV6, NFT_JUMP, NFT_MSG_DELRULE, NFT_MSG_GETRULE, NFT_MSG_NEWRULE,
    NFT_NAT_DNAT, NFT_NAT_SNAT, NFT_REJECT_ICMP_UNREACH, NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_TCP_RST, NFT_RETURN,
    NLM_F_APPEND, NLM_F_CREATE,
};
use netstate::{
    NetState, Object,
    nft::{
        Action, Chain, ChainKey, Datatype, Family, Field, IcmpReject, Match, NatFamily, NatTarget, Op, Rule, TableKey,
        Value,
    },
};

use super::{
    body,
    expr::Register,
    header,
    matches::{Matcher, Network, registers},
    message_type, read, request,
};
use crate::{
    fault::Refusal,
    netlink::{Attributes, Request, Socket, attributes},
};

const TABLE: u16 = 1; // NFTA_RULE_*
const CHAIN: u16 = 2;
const EXPRESSIONS: u16 = 4;
const USERDATA: u16 = 7;
const UDATA_COMMENT: u8 = 0; // NFTNL_UDATA_RULE_COMMENT
const TCP: u8 = libc::IPPROTO_TCP as u8;

/// Refuses a rule that nft could print but not read again: a translation to a port by a map with ranges needs a match on one transport
/// protocol before it (nft 1.0.6), which a map without ranges does not. `has_ranges` tells of a map.
pub(crate) fn check(rule: &Rule, mut has_ranges: impl FnMut(&str) -> Result<bool, Refusal>) -> Result<(), Refusal> {
    match &rule.action {
        Action::Dnat(NatTarget::Map { map, with_port: true, .. })
        | Action::Snat(NatTarget::Map { map, with_port: true, .. })
            if transport(rule).is_none() && has_ranges(map)? =>
        {
            Err(in_rule(no_transport(), rule))
        }
        _ => Ok(()),
    }
}

/// Appends a rule to its chain.
pub(crate) fn create(chain: &ChainKey, rule: &Rule) -> Result<Vec<Request>, Refusal> {
    let comment = rule.comment();
    let encode = |part| {
        let program = program(chain.table.family, rule, part).map_err(|refusal| in_rule(refusal, rule))?;
        let mut w = body(&chain.table);
        w.text(TABLE, chain.table.name());
        w.text(CHAIN, &chain.name);
        w.nest(EXPRESSIONS, |w| w.0.extend(program));
        w.bytes(USERDATA, &userdata(&comment));
        Ok(request(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, w))
    };
    parts(rule).iter().copied().map(encode).collect()
}

/// Removes all rules of a chain.
pub(crate) fn flush(chain: &ChainKey) -> Request {
    let mut w = body(&chain.table);
    w.text(TABLE, chain.table.name());
    w.text(CHAIN, &chain.name);
    request(NFT_MSG_DELRULE, 0, w)
}

/// The rules of a table by the name of their chain, in order.
pub(crate) fn list(
    socket: &mut Socket,
    table: &TableKey,
    known: &KnownRules,
) -> Result<HashMap<String, Vec<Rule>>, Refusal> {
    let seen = std::cell::RefCell::new(Vec::new());
    let mut ask = body(table);
    ask.text(TABLE, table.name());
    socket.dump(
        message_type(NFT_MSG_GETRULE),
        &ask.0,
        || seen.borrow_mut().clear(),
        |message| {
            let rule = read(message);
            if rule.text(TABLE).as_deref() == Some(table.name()) {
                seen.borrow_mut().extend(rule.text(CHAIN).map(|chain| (chain, comment(rule))));
            }
        },
    )?;
    let mut comments: HashMap<String, Vec<String>> = HashMap::new();
    for (chain, comment) in seen.into_inner() {
        comments.entry(chain).or_default().push(comment);
    }
    Ok(comments.into_iter().map(|(chain, comments)| (chain, known.recognise(&comments))).collect())
}

/// How many rules drop or reject, by the protocol family (`NFPROTO_*`) and the name of their table, of all tables.
pub(crate) fn refusing(socket: &mut Socket) -> Result<BTreeMap<(u8, String), usize>, Refusal> {
    let tables = std::cell::RefCell::new(BTreeMap::new());
    let ask = header(libc::NFPROTO_UNSPEC as u8, 0);
    socket.dump(
        message_type(NFT_MSG_GETRULE),
        &ask.0,
        || tables.borrow_mut().clear(),
        |message| {
            let rule = read(message);
            if let Some((table, family)) = rule.text(TABLE).zip(message.body.first())
                && rule.within(EXPRESSIONS).any(|(_, expression)| refuses(attributes(expression)))
            {
                *tables.borrow_mut().entry((*family, table)).or_default() += 1;
            }
        },
    )?;
    Ok(tables.into_inner())
}

/// Whether an expression is nft's drop or reject, or the `REJECT` of iptables.
fn refuses(expression: Attributes<'_>) -> bool {
    const NAME: u16 = 1; // NFTA_EXPR_*
    const DATA: u16 = 2;
    const IMMEDIATE_DATA: u16 = 2;
    const VERDICT: u16 = 2; // NFTA_DATA_VERDICT
    const CODE: u16 = 1; // NFTA_VERDICT_CODE
    const TARGET_NAME: u16 = 1;
    let data = expression.within(DATA);
    match expression.text(NAME).as_deref() {
        Some("reject") => true,
        Some("immediate") => data.within(IMMEDIATE_DATA).within(VERDICT).be32(CODE) == Some(NF_DROP as u32),
        Some("target") => data.text(TARGET_NAME).as_deref() == Some("REJECT"),
        _ => false,
    }
}

/// The rules that were asked for, by their comment.
#[derive(Debug, Default)]
pub(crate) struct KnownRules(HashMap<String, Rule>);

impl KnownRules {
    /// Those of this state, and no others.
    pub fn replace(&mut self, state: &NetState) {
        self.0.clear();
        for object in state.objects.values() {
            if let Object::Chain(chain) = object {
                self.add(chain);
            }
        }
    }

    /// Those of this chain too.
    pub fn add(&mut self, chain: &Chain) {
        self.0.extend(chain.rules.iter().map(|rule| (rule.comment(), rule.clone())));
    }

    /// The rules with these comments. A rule of two parts has two neighbours of one comment; where one is missing it is not that rule.
    fn recognise(&self, comments: &[String]) -> Vec<Rule> {
        let mut rules = Vec::new();
        for run in comments.chunk_by(|a, b| a == b) {
            let found = self.0.get(&run[0]).map(|rule| (rule, parts(rule).len()));
            match found {
                Some((rule, parts)) if run.len() % parts == 0 => rules.extend(vec![rule.clone(); run.len() / parts]),
                Some(_) => rules.push(Rule::from_comment(format!("{}, in part", run[0]))),
                None => rules.extend(run.iter().map(Rule::from_comment)),
            }
        }
        rules
    }
}

/// Which part of a rule one rule of the kernel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    /// The reset of TCP.
    Reset,
}

fn parts(rule: &Rule) -> &'static [Part] {
    match (&rule.action, transport(rule)) {
        (Action::Reject(_), None) => &[Part::Reset, Part::Whole],
        (Action::Reject(_), Some(TCP)) => &[Part::Reset],
        _ => &[Part::Whole],
    }
}

/// The transport protocol that the rule is for, where it names one.
fn transport(rule: &Rule) -> Option<u8> {
    rule.matches.iter().find_map(|m| match m {
        Match::Is { field: Field::L4Proto, op: Op::Eq, value: Value::Proto(protocol) } => Some(*protocol),
        _ => None,
    })
}

fn program(family: Family, rule: &Rule, part: Part) -> Result<Vec<u8>, Refusal> {
    let mut matcher = Matcher::new(family);
    for matched in &rule.matches {
        matcher.add(matched)?;
    }
    match &rule.action {
        Action::Accept => matcher.program.verdict(NF_ACCEPT, None),
        Action::Drop => matcher.program.verdict(NF_DROP, None),
        Action::Return => matcher.program.verdict(NFT_RETURN, None),
        Action::Jump(chain) => matcher.program.verdict(NFT_JUMP, Some(chain)),
        Action::VerdictOfMark { map } => {
            matcher.load(&[Field::Mark])?;
            matcher.program.verdict_map(map);
        }
        Action::Reject(_) if part == Part::Reset => {
            if matcher.transport.is_none() {
                matcher.tcp();
            }
            matcher.program.reject(NFT_REJECT_TCP_RST, 0);
        }
        Action::Reject(error) => {
            let (kind, code) = icmp_error(*error, matcher.network());
            matcher.program.reject(kind, code);
        }
        Action::Dnat(target) => nat(&mut matcher, NFT_NAT_DNAT, target)?,
        Action::Snat(target) => nat(&mut matcher, NFT_NAT_SNAT, target)?,
        Action::Masquerade => matcher.program.masquerade(),
        Action::Redirect { port } => {
            port_needs_transport(&matcher)?;
            matcher.program.load(&port.to_be_bytes(), Register::FIRST);
            matcher.program.redirect();
        }
    }
    Ok(matcher.program.0.0)
}

fn nat(matcher: &mut Matcher, kind: i32, target: &NatTarget) -> Result<(), Refusal> {
    match target {
        NatTarget::To { address, port } => {
            let (family, bytes) = match address {
                IpAddr::V4(address) => (NFPROTO_IPV4, address.octets().to_vec()),
                IpAddr::V6(address) => (NFPROTO_IPV6, address.octets().to_vec()),
            };
            // nft keeps an address and a port in registers of 16 bytes.
            let second = Register(4);
            matcher.program.load(&bytes, Register::FIRST);
            if let Some(port) = port {
                port_needs_transport(matcher)?;
                matcher.program.load(&port.to_be_bytes(), second);
            }
            matcher.program.nat(kind, family, Register::FIRST, port.map(|_| second));
        }
        NatTarget::Map { family, fields, map, with_port } => {
            let (family, address) = match family {
                NatFamily::Ip => (NFPROTO_IPV4, Datatype::Ipv4Addr),
                NatFamily::Ip6 => (NFPROTO_IPV6, Datatype::Ipv6Addr),
            };
            matcher.load(fields)?;
            matcher.program.lookup(map, super::expr::Compare::Equal, Some(Register::FIRST));
            let port = with_port.then_some(Register(registers(address)));
            matcher.program.nat(kind, family, Register::FIRST, port);
        }
    }
    Ok(())
}

/// nft refuses a translation of ports where it cannot see a transport protocol.
fn port_needs_transport(matcher: &Matcher) -> Result<(), Refusal> {
    if matcher.transport.is_some() {
        return Ok(());
    }
    Err(no_transport())
}

fn no_transport() -> Refusal {
    Refusal::new(libc::EINVAL).because("a translation to a port needs a match on the transport protocol before it")
}

/// The error in the words of the packet's family where the rule is for one, as nft writes it, else in those that fit both.
fn icmp_error(error: IcmpReject, network: Option<Network>) -> (i32, u8) {
    let (kind, unreachable, prohibited) = match network {
        None => (NFT_REJECT_ICMPX_UNREACH, 1, 3),
        Some(Network::Ip4) => (NFT_REJECT_ICMP_UNREACH, 3, 13), // RFC 792, RFC 1812 5.2.7.1
        Some(Network::Ip6) => (NFT_REJECT_ICMP_UNREACH, 4, 1),  // RFC 4443 3.1
    };
    match error {
        IcmpReject::PortUnreachable => (kind, unreachable),
        IcmpReject::AdminProhibited => (kind, prohibited),
    }
}

fn userdata(comment: &str) -> Vec<u8> {
    // Comments are far shorter than 255 bytes, see `Rule::comment`.
    let len = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    let mut bytes = vec![UDATA_COMMENT, len];
    bytes.extend_from_slice(comment.as_bytes());
    bytes.push(0);
    bytes
}

fn comment(rule: Attributes<'_>) -> String {
    let mut rest = rule.get(USERDATA).unwrap_or_default();
    while let [kind, len, values @ ..] = rest {
        let len = usize::from(*len).min(values.len());
        if *kind == UDATA_COMMENT {
            return crate::netlink::attr::text(&values[..len]);
        }
        rest = &values[len..];
    }
    String::new()
}

fn in_rule(refusal: Refusal, rule: &Rule) -> Refusal {
    let cause = refusal.cause.clone().unwrap_or_default();
    refusal.because(format!("rule {:?}: {cause}", rule.name))
}
