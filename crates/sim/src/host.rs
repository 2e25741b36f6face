//! The fake host: its objects, ours and foreign, and how a plan is carried out on them.

use std::collections::{BTreeMap, BTreeSet};

use netstate::{Fault, Kernel, Key, NetState, Object, Op, Plan, Report, addr::AddrKey, netns::NetnsName};

use crate::{addr, link, netns, nft, route, sysctl};

/// A host that behaves like Linux as far as linkspan uses it.
#[derive(Clone, Debug, Default)]
pub struct Host {
    world: World,
}

/// All there is.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    /// Every object. Settings only when they were written.
    pub(crate) state: NetState,
    /// Those that are not linkspan's.
    pub(crate) foreign: BTreeSet<Key>,
    /// When each address came: the first of a network on a link is its primary one.
    pub(crate) births: BTreeMap<AddrKey, u64>,
}

/// Why an operation is refused: the errno and the likely cause.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) errno: i32,
    pub(crate) cause: String,
}

pub(crate) type Outcome = Result<(), Refusal>;

/// Refuses with an errno.
pub(crate) fn refuse(errno: i32, cause: impl Into<String>) -> Outcome {
    Err(Refusal { errno, cause: cause.into() })
}

impl Host {
    /// A host without any link but loopback.
    pub fn new() -> Self {
        Self::default()
    }

    /// A host that has things of others, which linkspan neither lists nor touches.
    pub fn with_foreign(foreign: NetState) -> Self {
        let mut world = World::default();
        for (key, object) in foreign.objects {
            world.foreign.insert(key.clone());
            world.insert(key, object);
        }
        Self { world }
    }

    /// What is left of the things of others.
    pub fn foreign(&self) -> NetState {
        self.world.pick(|key| self.world.foreign.contains(key))
    }

    /// Removes an object as somebody else could, by `ip link delete` or `nft flush ruleset`, with all that goes with it.
    pub fn lose(&mut self, key: &Key) {
        // Removing what is not there is no error, and nothing else can refuse a removal by force.
        let _ = self.world.delete(key);
    }
}

impl Kernel for Host {
    fn observe(&mut self, settings: &BTreeSet<Key>) -> Result<NetState, Fault> {
        let world = &self.world;
        let mut state = world.pick(|key| !world.foreign.contains(key) && !matches!(key, Key::Sysctl(_)));
        state.objects.extend(self.settings(settings)?.objects);
        Ok(state)
    }

    fn settings(&mut self, settings: &BTreeSet<Key>) -> Result<NetState, Fault> {
        let mut state = NetState::default();
        for key in settings {
            if let Key::Sysctl(path) = key
                && let Some(value) = sysctl::read(&self.world, path)
            {
                state.put(path.clone(), value);
            }
        }
        Ok(state)
    }

    fn apply(&mut self, plan: &Plan) -> Report {
        for step in plan.steps() {
            let before = (step.len() > 1).then(|| self.world.clone());
            let start = step.start;
            for op in &plan.ops[step] {
                let outcome = self.world.carry_out(op);
                if let Err(refusal) = outcome {
                    if let Some(before) = before {
                        self.world = before;
                    }
                    let fault =
                        Fault { what: op.to_string(), errno: refusal.errno, cause: refusal.cause, source: None };
                    return Report { done: start, fault: Some(fault) };
                }
            }
        }
        Report { done: plan.ops.len(), fault: None }
    }
}

impl World {
    fn carry_out(&mut self, op: &Op) -> Outcome {
        match op {
            Op::Create { key, object } => match (key, object) {
                (Key::Netns(key), Object::Netns(_)) => netns::create(self, key),
                (Key::Link(key), Object::Link(link)) => link::create(self, key, link),
                (Key::Sysctl(key), Object::Sysctl(value)) => sysctl::write(self, key, value),
                (Key::Addr(key), Object::Addr(_)) => addr::create(self, key),
                (Key::Route(key), Object::Route(route)) => route::create(self, key, route),
                (Key::Table(key), Object::Table(_)) => nft::create_table(self, key),
                (Key::Set(key), Object::Set(set)) => nft::create_set(self, key, set),
                (Key::Chain(key), Object::Chain(chain)) => nft::create_chain(self, key, chain),
                (Key::Element(key), Object::Element(element)) => nft::create_element(self, key, element),
                _ => refuse(libc::EINVAL, "the key is of another kind than the object"),
            },
            Op::Change { key, to, .. } => match (key, to) {
                (Key::Link(key), Object::Link(link)) => link::change(self, key, link),
                (Key::Sysctl(key), Object::Sysctl(value)) => sysctl::write(self, key, value),
                (Key::Route(key), Object::Route(route)) => route::change(self, key, route),
                (Key::Chain(key), Object::Chain(chain)) => nft::change_chain(self, key, chain),
                _ => refuse(libc::EOPNOTSUPP, "this kind of object cannot be changed in place"),
            },
            Op::Delete { key, .. } => self.delete(key),
        }
    }

    fn delete(&mut self, key: &Key) -> Outcome {
        match key {
            Key::Netns(key) => netns::delete(self, key),
            Key::Link(key) => link::delete(self, key),
            Key::Sysctl(_) => refuse(libc::EPERM, "settings cannot be removed"),
            Key::Addr(key) => addr::delete(self, key),
            Key::Route(_) | Key::Element(_) => {
                self.remove(key);
                Ok(())
            }
            Key::Table(key) => nft::delete_table(self, key),
            Key::Set(key) => nft::delete_set(self, key),
            Key::Chain(key) => nft::delete_chain(self, key),
        }
    }

    /// Whether the namespace is there.
    pub(crate) fn has_netns(&self, netns: &NetnsName) -> bool {
        *netns == NetnsName::Host || self.state.has(&Key::Netns(netns.clone()))
    }

    pub(crate) fn insert(&mut self, key: impl Into<Key>, object: impl Into<Object>) {
        let key = key.into();
        if let Key::Addr(addr) = &key {
            let next = self.births.values().max().map_or(0, |last| last + 1);
            self.births.insert(addr.clone(), next);
        }
        self.state.objects.insert(key, object.into());
    }

    /// Forgets an object. What Linux removes with it is the caller's to name.
    pub(crate) fn remove(&mut self, key: &Key) {
        if let Key::Addr(addr) = key {
            self.births.remove(addr);
        }
        self.foreign.remove(key);
        self.state.objects.remove(key);
    }

    /// Forgets every object that the predicate holds for.
    pub(crate) fn remove_if(&mut self, mut is_gone: impl FnMut(&Key, &Object) -> bool) {
        let gone: Vec<Key> = self
            .state
            .objects
            .iter()
            .filter(|(key, object)| is_gone(key, object))
            .map(|(key, _)| key.clone())
            .collect();
        gone.iter().for_each(|key| self.remove(key));
    }

    fn pick(&self, wanted: impl Fn(&Key) -> bool) -> NetState {
        let objects = self.state.objects.iter().filter(|(key, _)| wanted(key));
        NetState { objects: objects.map(|(key, object)| (key.clone(), object.clone())).collect() }
    }
}
