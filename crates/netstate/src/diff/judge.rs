//! One object, wished and seen: keep it, change it where it stands, or make it anew. One small function for each kind.

use crate::{
    link::{Link, LinkKind},
    nft::{Base, Chain},
    state::Object,
};

/// What must happen to an object.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It is not there.
    Create,
    /// It can be changed in place, from this.
    Change(Box<Object>),
    /// It can only be removed and made again.
    Recreate,
    /// It should not be there.
    Delete,
}

/// How alike two contents are.
enum Likeness {
    Same,
    Changeable,
    Foreign,
}

/// The verdict on an object that is both wished and seen; none to keep it.
pub(super) fn judge(from: &Object, to: &Object) -> Option<Verdict> {
    let likeness = match (from, to) {
        (Object::Netns(_), Object::Netns(_))
        | (Object::Addr(_), Object::Addr(_))
        | (Object::Table(_), Object::Table(_)) => Likeness::Same,
        (Object::Link(from), Object::Link(to)) => link(from, to),
        (Object::Sysctl(from), Object::Sysctl(to)) => same_or(from == to, Likeness::Changeable),
        (Object::Route(from), Object::Route(to)) => same_or(from == to, Likeness::Changeable),
        (Object::Set(from), Object::Set(to)) => same_or(from == to, Likeness::Foreign),
        (Object::Chain(from), Object::Chain(to)) => chain(from, to),
        (Object::Element(from), Object::Element(to)) => same_or(from == to, Likeness::Foreign),
        _ => Likeness::Foreign,
    };
    match likeness {
        Likeness::Same => None,
        Likeness::Changeable => Some(Verdict::Change(Box::new(from.clone()))),
        Likeness::Foreign => Some(Verdict::Recreate),
    }
}

fn same_or(same: bool, otherwise: Likeness) -> Likeness {
    if same { Likeness::Same } else { otherwise }
}

/// The peer's Ethernet address is compared on the peer, where it can be changed.
fn link(from: &Link, to: &Link) -> Likeness {
    let same_kind = match (&from.kind, &to.kind) {
        (LinkKind::Bridge, LinkKind::Bridge) => true,
        (LinkKind::Veth { peer: a, .. }, LinkKind::Veth { peer: b, .. }) => a == b,
        (LinkKind::VethPeer { of: a }, LinkKind::VethPeer { of: b }) => a == b,
        _ => false,
    };
    if !same_kind {
        return Likeness::Foreign;
    }
    let rest = |link: &Link| (link.mac, link.mtu, link.admin, link.port.clone(), link.alias.clone());
    same_or(rest(from) == rest(to), Likeness::Changeable)
}

/// Rules read back are compared by their comments. The policy can be changed, the rest of a hook cannot.
fn chain(from: &Chain, to: &Chain) -> Likeness {
    let hook = |base: &Base| (base.kind, base.hook, base.priority);
    if from.base.as_ref().map(hook) != to.base.as_ref().map(hook) {
        return Likeness::Foreign;
    }
    let same_rules =
        from.rules.len() == to.rules.len() && to.rules.iter().zip(&from.rules).all(|(to, from)| to.same(from));
    same_or(from.base == to.base && same_rules, Likeness::Changeable)
}
