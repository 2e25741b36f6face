//! Which endpoints serve, and in which slots.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use crate::{
    address::Family,
    service::{Affinity, Condition, Meant, Place, Rest, SLOTS_MAX, Slots, Unready},
};

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub condition: Condition,
    pub place: Place,
    pub meant: Meant,
}

/// Who serves.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Those who ask for endpoints of this node.
    local: Vec<SocketAddr>,
    /// Those who ask for any, without the local ones.
    others: Vec<SocketAddr>,
    rest: Rest,
}

/// Those that are ready; where there are none, those that end and still serve (KEP-1669). Endpoints of this node are chosen apart where
/// somebody asks for them.
pub fn choose(entries: &BTreeMap<SocketAddr, Entry>, unready: Unready, apart: bool) -> Chosen {
    let all: BTreeSet<SocketAddr> = best(entries, unready, |_| true).into_iter().collect();
    if !apart {
        return Chosen { local: Vec::new(), others: all.into_iter().collect(), rest: Rest::WithLocal };
    }
    let local = best(entries, unready, |entry| entry.place == Place::Here);
    let none_is_of_all = !local.is_empty() && !all.is_empty() && !local.iter().any(|end| all.contains(end));
    let others = all.into_iter().filter(|end| !local.contains(end)).collect();
    let rest = if none_is_of_all { Rest::Apart } else { Rest::WithLocal };
    Chosen { local, others, rest }
}

fn best(entries: &BTreeMap<SocketAddr, Entry>, unready: Unready, asked: impl Fn(&Entry) -> bool) -> Vec<SocketAddr> {
    let ready = |entry: &Entry| entry.condition == Condition::Ready || unready == Unready::Served;
    let ways: [&dyn Fn(&Entry) -> bool; 3] =
        [&|entry| ready(entry) && entry.meant == Meant::ForUs, &|entry| ready(entry), &|entry| {
            entry.condition == Condition::Draining
        }];
    let found = |way: &dyn Fn(&Entry) -> bool| -> Vec<SocketAddr> {
        entries.iter().filter(|(_, entry)| asked(entry) && way(entry)).map(|(end, _)| *end).take(SLOTS_MAX).collect()
    };
    ways.into_iter().map(found).find(|found| !found.is_empty()).unwrap_or_default()
}

/// Gives each its slot: whoever has one keeps it, where it still can be. With affinity there are never fewer slots than before while
/// anybody serves, and who comes gets a new one: only the clients of those who went are led elsewhere, and stay there.
pub fn place(chosen: &Chosen, was: Option<&Slots>, affinity: Affinity) -> Slots {
    let old = was.map_or(&[][..], |slots| &slots.ends);
    let old_local = was.map_or(0, |slots| usize::from(slots.local)).min(old.len());
    let (old_locals, old_others) = old.split_at(old_local);
    let local = count(&chosen.local, old_locals, affinity);
    let others = count(&chosen.others, old_others, affinity).min(SLOTS_MAX - local);
    let mut ends = fill(&chosen.local, old.get(..local.min(old.len())).unwrap_or_default(), local);
    ends.extend(fill(&chosen.others, old.get(local..).unwrap_or_default(), others));
    // At most `SLOTS_MAX`.
    let local = u16::try_from(local).unwrap_or(u16::MAX);
    Slots { of: 0, family: Family::V4, ends, local, rest: chosen.rest }
}

/// With affinity, so many slots for each that serves and no more: then who comes takes one that others share.
const SLOTS_EACH: usize = 4;

/// How many slots there are to be.
fn count(ends: &[SocketAddr], old: &[SocketAddr], affinity: Affinity) -> usize {
    if affinity == Affinity::None || ends.is_empty() {
        return ends.len();
    }
    let new = ends.iter().filter(|end| !old.contains(end)).count();
    let left = old.iter().filter(|end| !ends.contains(end)).count();
    let wanted = (old.len() + new.saturating_sub(left)).min(SLOTS_EACH * ends.len());
    wanted.max(old.len()).max(ends.len()).min(SLOTS_MAX)
}

/// So many slots for them: those that have a slot keep one, the others get what is left, and what is still left is shared out.
fn fill(ends: &[SocketAddr], old: &[SocketAddr], count: usize) -> Vec<SocketAddr> {
    let serving: BTreeSet<_> = ends.iter().collect();
    let mut slots: Vec<Option<SocketAddr>> = vec![None; count];
    let mut holds: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    for (slot, end) in slots.iter_mut().zip(old).filter(|(_, end)| serving.contains(end)) {
        *slot = Some(*end);
        *holds.entry(*end).or_default() += 1;
    }
    let mut homeless: Vec<_> = ends.iter().filter(|end| !holds.contains_key(end)).collect();
    homeless.reverse();
    for slot in slots.iter_mut().filter(|slot| slot.is_none()) {
        let Some(end) = homeless.pop() else { break };
        *slot = Some(*end);
        holds.insert(*end, 1);
    }
    // Whoever has several gives one up.
    for end in homeless.into_iter().rev() {
        let richest = holds.iter().filter(|(_, held)| **held > 1).max_by_key(|(_, held)| **held).map(|(end, _)| *end);
        let Some(richest) = richest else { break };
        if let Some(slot) = slots.iter_mut().rev().find(|slot| **slot == Some(richest)) {
            *slot = Some(*end);
            holds.entry(richest).and_modify(|held| *held -= 1);
            holds.insert(*end, 1);
        }
    }
    for slot in slots.iter_mut().filter(|slot| slot.is_none()) {
        let poorest = holds.iter().min_by_key(|(_, held)| **held).map(|(end, _)| *end);
        if let Some(end) = poorest {
            *slot = Some(end);
            holds.entry(end).and_modify(|held| *held += 1);
        }
    }
    slots.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STICKY: Affinity = Affinity::ClientIp { timeout_s: 10_800 };

    fn end(n: &str) -> SocketAddr {
        format!("10.244.0.{n}:80").parse().expect("a number")
    }

    /// `1 2 | 3`: the local ones before the bar.
    fn read(text: &str) -> Slots {
        let (local, others) = text.split_once('|').unwrap_or(("", text));
        let ends = |text: &str| text.split_whitespace().map(end).collect::<Vec<_>>();
        let (local, others) = (ends(local), ends(others));
        let count = local.len() as u16;
        Slots { of: 0, family: Family::V4, ends: [local, others].concat(), local: count, rest: Rest::WithLocal }
    }

    #[test]
    fn slots_move_as_little_as_can_be() {
        for (affinity, before, serving, after) in [
            (Affinity::None, "", "1 2 3", "1 2 3"),
            (Affinity::None, "1 2 3", "1 2 3 4", "1 2 3 4"),
            (Affinity::None, "5 6 7", "1 5 6 7", "5 6 7 1"),
            (Affinity::None, "1 2 3", "2 3", "3 2"),
            (Affinity::None, "1 2 3", "1 2", "1 2"),
            (Affinity::None, "1 2 3", "2 3 4", "4 2 3"),
            (Affinity::None, "1 2 3", "", ""),
            (Affinity::None, "|3 4 5", "1|3 4 5", "1|4 5 3"),
            (Affinity::None, "1 2|3 4 5", "2|3 4 5", "2|5 3 4"),
            (STICKY, "1 2 3", "2 3", "2 2 3"),
            (STICKY, "2 2 3", "2 3 4", "2 2 3 4"),
            (STICKY, "1 1 1 1 1 1 1 1", "1 2", "1 1 1 1 1 1 1 2"),
            (STICKY, "1 2 3", "2 3 4", "4 2 3"),
            (STICKY, "1 2 3", "", ""),
            (STICKY, "1 2", "3", "3 3"),
        ] {
            let wanted = read(serving);
            let local = usize::from(wanted.local);
            let chosen = Chosen {
                local: wanted.ends[..local].to_vec(),
                others: wanted.ends[local..].to_vec(),
                rest: Rest::WithLocal,
            };
            assert_eq!(place(&chosen, Some(&read(before)), affinity), read(after), "{before} -> {serving}");
        }
    }

    /// Letters: `r`eady, `d`raining, `u`nready; upper case is on this node, with `-` meant for others.
    #[test]
    fn who_serves() {
        for (entries, unready, apart, local, others, rest) in [
            ("r d u", Unready::LeftOut, false, "", "1", Rest::WithLocal),
            ("d u d", Unready::LeftOut, false, "", "1 3", Rest::WithLocal),
            ("u u", Unready::LeftOut, false, "", "", Rest::WithLocal),
            ("r u", Unready::Served, false, "", "1 2", Rest::WithLocal),
            ("r- r", Unready::LeftOut, false, "", "2", Rest::WithLocal),
            ("r- r-", Unready::LeftOut, false, "", "1 2", Rest::WithLocal),
            ("R r", Unready::LeftOut, true, "1", "2", Rest::WithLocal),
            ("D r", Unready::LeftOut, true, "1", "2", Rest::Apart),
            ("D d", Unready::LeftOut, true, "1", "2", Rest::WithLocal),
            ("U r", Unready::LeftOut, true, "", "2", Rest::WithLocal),
        ] {
            let entry = |(n, word): (usize, &str)| {
                let condition = match word.to_ascii_lowercase().as_bytes()[0] {
                    b'r' => Condition::Ready,
                    b'd' => Condition::Draining,
                    _ => Condition::Unready,
                };
                let place = if word.as_bytes()[0].is_ascii_uppercase() { Place::Here } else { Place::Elsewhere };
                let meant = if word.ends_with('-') { Meant::ForOthers } else { Meant::ForUs };
                (end(&(n + 1).to_string()), Entry { condition, place, meant })
            };
            let all = entries.split_whitespace().enumerate().map(entry).collect();
            let ends = |text: &str| text.split_whitespace().map(end).collect::<Vec<_>>();
            let expected = Chosen { local: ends(local), others: ends(others), rest };
            assert_eq!(choose(&all, unready, apart), expected, "{entries}");
        }
    }
}
