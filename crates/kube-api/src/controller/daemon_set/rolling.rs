//! Which of a daemon set's old pods make place next, or which nodes get a second one.

use k8s_openapi::api::core::v1::{Node, Pod};

use super::super::pod;
use super::super::template::{Round, scaled};
use super::{Daemons, Suits};

impl<'a> Daemons<'a> {
    /// How many nodes may have two pods, and how many may have none that serves; never neither.
    pub fn slack(&self) -> (i32, i32) {
        let rolling = self.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let desired =
            i32::try_from(self.nodes.iter().filter(|(_, suits)| *suits == Suits::Yes).count()).unwrap_or(i32::MAX);
        let surge = scaled(rolling.and_then(|rolling| rolling.max_surge.as_ref()), desired, Round::Up);
        let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        let unavailable = unavailable.map_or(i32::from(surge == 0), |value| scaled(Some(value), desired, Round::Up));
        if surge == 0 { (0, unavailable.max(1)) } else { (surge, unavailable) }
    }

    /// The nodes that get a new pod beside the old one, and the old pods that go.
    pub fn roll(&self) -> (Vec<&'a Node>, Vec<&'a Pod>) {
        match self.slack() {
            (0, unavailable) => (Vec::new(), self.replace(unavailable)),
            (surge, _) => self.surge(surge),
        }
    }

    fn replace(&self, most: i32) -> Vec<&'a Pod> {
        let mut unavailable = 0;
        let (mut replaced, mut candidates) = (Vec::new(), Vec::new());
        for (node, suits) in &self.nodes {
            let (new, old) = self.generations(node);
            match (new.as_slice(), old.as_slice()) {
                ([new], []) => unavailable += i32::from(!self.is_available(new)),
                ([], [old]) if self.is_available(old) => candidates.push(*old),
                ([], [old]) => {
                    unavailable += 1;
                    replaced.push(*old);
                }
                ([], []) if *suits != Suits::Yes => {}
                _ => unavailable += 1,
            }
        }
        let room = usize::try_from(most - unavailable).unwrap_or(0);
        replaced.extend(candidates.into_iter().take(room));
        replaced
    }

    fn surge(&self, most: i32) -> (Vec<&'a Node>, Vec<&'a Pod>) {
        let mut surging = 0;
        let (mut allowed, mut candidates, mut deleted) = (Vec::new(), Vec::new(), Vec::new());
        for (node, suits) in &self.nodes {
            let (new, old) = self.generations(node);
            match (new.as_slice(), old.as_slice()) {
                (_, []) => {}
                ([], [old]) if *suits == Suits::Yes && !self.is_available(old) => allowed.push(*node),
                ([], [_]) if *suits == Suits::Yes => candidates.push(*node),
                ([new], [old]) if self.is_available(new) => deleted.push(*old),
                _ => surging += 1,
            }
        }
        let room = usize::try_from(most - surging).unwrap_or(0);
        allowed.extend(candidates.into_iter().take(room));
        (allowed, deleted)
    }

    /// The pods of the present template on a node, and the others.
    fn generations(&self, node: &Node) -> (Vec<&'a Pod>, Vec<&'a Pod>) {
        self.on(node).iter().filter(|pod| !pod::terminating(pod)).partition(|pod| self.is_new(pod))
    }
}
