//! Two lists that became one: in which order its elements come.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

/// The order of a strategic merge patch: what the patch names comes in the patch's order, the rest in the order that it had. Where the two
/// meet, an element of the rest goes first only if it stood before the patch's element already.
pub fn strategic<K: Eq + Hash + Clone>(merged: &[K], wanted: &[K], before: &[K]) -> Vec<usize> {
    let place = |order: &[K]| -> HashMap<K, usize> {
        // The first place counts.
        order.iter().enumerate().rev().map(|(place, key)| (key.clone(), place)).collect()
    };
    let (wanted, before) = (place(wanted), place(before));
    let (mut named, mut rest): (Vec<usize>, Vec<usize>) =
        (0..merged.len()).partition(|index| wanted.contains_key(&merged[*index]));
    named.sort_by_key(|index| wanted.get(&merged[*index]));
    rest.sort_by_key(|index| before.get(&merged[*index]).copied().unwrap_or(usize::MAX));
    let (mut named, mut rest) = (VecDeque::from(named), VecDeque::from(rest));
    let mut order = Vec::with_capacity(merged.len());
    while let (Some(left), Some(right)) = (rest.front(), named.front()) {
        let first = match (before.get(&merged[*left]), before.get(&merged[*right])) {
            (Some(left), Some(right)) if left < right => &mut rest,
            _ => &mut named,
        };
        order.extend(first.pop_front());
    }
    order.extend(rest);
    order.extend(named);
    order
}

/// The order of server-side apply: what is applied comes in its order; an element of the live list alone goes before the applied one that
/// is reached after it.
pub fn applied<K: Eq + Hash + Clone>(live: &[K], config: &[K]) -> Vec<K> {
    let named: HashSet<&K> = config.iter().collect();
    let mut order = Vec::with_capacity(live.len() + config.len());
    let mut rest = live.iter().peekable();
    for key in config {
        while let Some(only_live) = rest.next_if(|live| !named.contains(*live)) {
            order.push(only_live.clone());
        }
        rest.next_if(|live| *live == key);
        order.push(key.clone());
    }
    order.extend(rest.filter(|live| !named.contains(*live)).cloned());
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategic_order() {
        let table = [
            // (merged, wanted, before, expected)
            ("abc", "c", "ab", "cab"),
            ("abc", "b", "abc", "abc"),
            ("abcd", "db", "abc", "dabc"),
            ("abxc", "cxb", "abc", "acxb"),
            ("ab", "", "ab", "ab"),
        ];
        for (merged, wanted, before, expected) in table {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            let merged = letters(merged);
            let order = strategic(&merged, &letters(wanted), &letters(before));
            let order: String = order.into_iter().map(|index| merged[index]).collect();
            assert_eq!(order, expected, "{merged:?} {wanted} {before}");
        }
    }

    #[test]
    fn applied_order() {
        let table = [
            ("abc", "c", "abc"),
            ("ab", "c", "abc"),
            ("abc", "cb", "acb"),
            ("", "ab", "ab"),
            ("ab", "", "ab"),
            ("axb", "ba", "bax"),
        ];
        for (live, config, expected) in table {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            let order: String = applied(&letters(live), &letters(config)).into_iter().collect();
            assert_eq!(order, expected, "{live} {config}");
        }
    }
}
