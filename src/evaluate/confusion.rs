//! Counts which items are confused with which others.

use std::collections::HashMap;
use std::hash::Hash;

/// A pair of confused items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion<T> {
    /// The right item.
    pub item: T,
    /// The item found first instead.
    pub instead: T,
    /// The number of queries with this confusion.
    pub times: usize,
    /// The number of all queries for the right item.
    pub queries: usize,
}

/// Returns the `worst` confusions. `queries` has one entry per query: its item, and the wrong item that came first, if
/// one did. The most frequent come first; ties are ordered by fewer queries of the item, then by name.
pub fn confusions<T: Clone + Eq + Hash + Ord>(queries: &[(T, Option<T>)], worst: usize) -> Vec<Confusion<T>> {
    let mut totals: HashMap<&T, usize> = HashMap::new();
    let mut counts: HashMap<(&T, &T), usize> = HashMap::new();
    for (item, wrong) in queries {
        *totals.entry(item).or_default() += 1;
        if let Some(wrong) = wrong {
            *counts.entry((item, wrong)).or_default() += 1;
        }
    }
    let mut all: Vec<_> =
        counts.into_iter().map(|((item, instead), count)| (count, totals[item], item, instead)).collect();
    all.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| (a.1, a.2, a.3).cmp(&(b.1, b.2, b.3))));
    all.truncate(worst);
    let confusion = |(times, queries, item, instead): (_, _, &T, &T)| Confusion {
        item: item.clone(),
        instead: instead.clone(),
        times,
        queries,
    };
    all.into_iter().map(confusion).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_come_first() {
        let queries = [
            ("bear", Some("dog")),
            ("bear", None),
            ("bear", Some("dog")),
            ("cat", Some("fox")),
            ("fox", Some("cat")),
            ("bear", Some("cat")),
            ("fox", None),
            ("owl", None),
        ];
        let rows = |worst| {
            let all = confusions(&queries, worst).into_iter();
            all.map(|c| (c.item, c.instead, c.times, c.queries)).collect::<Vec<_>>()
        };
        let expected = [("bear", "dog", 2, 4), ("cat", "fox", 1, 1), ("fox", "cat", 1, 2), ("bear", "cat", 1, 4)];
        assert_eq!(rows(10), expected);
        assert_eq!(rows(2), expected[..2]);
        assert_eq!(confusions::<u8>(&[], 3), []);
    }
}
