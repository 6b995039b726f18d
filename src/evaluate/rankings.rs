//! Computes metrics of ranked lists: one number from 0 to 1 per query.
//!
//! Precision, recall, average precision and reciprocal rank are those of trec_eval (Manning, Raghavan and Schütze,
//! "Introduction to Information Retrieval", 2008, chapter 8). Items that a list lacks rank below all its items.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::num::NonZeroUsize;

use crate::error::{Error, Result};

/// Ranked lists and the positions of their relevant items.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rankings {
    queries: Vec<Judged>,
}

/// One query.
#[derive(Debug, Clone, PartialEq)]
struct Judged {
    /// Rank, from 1, and grade of each relevant item in the list, best rank first.
    found: Vec<(usize, f64)>,
    /// The grades of all relevant items, highest first.
    ideal: Vec<f64>,
}

impl Rankings {
    /// Judges, for each query, a list of items, best first, by the grades of its relevant items. Grades are above 0,
    /// and all 1 if relevance is binary. Items without a grade, or with 0, are not relevant.
    ///
    /// # Errors
    /// [`Error::Argument`] if an item is in a list twice, a query has no relevant item (which leaves the metrics
    /// undefined), or a grade is negative, NaN or infinite.
    pub fn new<T: Eq + Hash + Debug>(queries: &[(Vec<T>, HashMap<T, f64>)]) -> Result<Self> {
        let judged = queries.iter().enumerate().map(|(number, (ranked, grades))| Judged::new(number, ranked, grades));
        Ok(Self { queries: judged.collect::<Result<_>>()? })
    }

    /// Makes queries with one relevant item each from its rank; `None` if the list lacks it.
    pub fn from_ranks(ranks: impl IntoIterator<Item = Option<NonZeroUsize>>) -> Self {
        let judged = |rank: Option<NonZeroUsize>| Judged {
            found: rank.map(|rank| (rank.get(), 1.0)).into_iter().collect(),
            ideal: vec![1.0],
        };
        Self { queries: ranks.into_iter().map(judged).collect() }
    }

    /// Returns the number of queries.
    pub fn len(&self) -> usize {
        self.queries.len()
    }

    /// Returns whether there are no queries.
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    /// Returns the rank of the best relevant item of each list, from 1; 0 if it has none.
    pub fn ranks(&self) -> Vec<usize> {
        self.queries.iter().map(|query| query.found.first().map_or(0, |(rank, _)| *rank)).collect()
    }

    /// Returns 1 if any of the first `k` is relevant, otherwise 0; the mean is the hit rate or top-k accuracy.
    pub fn hit(&self, k: NonZeroUsize) -> Vec<f64> {
        self.each(|query| f64::from(!query.within(k).is_empty()))
    }

    /// Returns the share of relevant items among the first `k`. The divisor is `k` even for a shorter list.
    pub fn precision(&self, k: NonZeroUsize) -> Vec<f64> {
        self.each(|query| query.within(k).len() as f64 / k.get() as f64)
    }

    /// Returns the share of the relevant items that are among the first `k`.
    pub fn recall(&self, k: NonZeroUsize) -> Vec<f64> {
        self.each(|query| query.within(k).len() as f64 / query.ideal.len() as f64)
    }

    /// Returns the precision at the rank of each relevant item, or 0 for those not among the first `k`, averaged over
    /// all relevant items. The mean over the queries is the mean average precision.
    pub fn average_precision(&self, k: NonZeroUsize) -> Vec<f64> {
        self.each(|query| {
            let precisions = (1u32..).zip(query.within(k)).map(|(count, &(rank, _))| f64::from(count) / rank as f64);
            precisions.sum::<f64>() / query.ideal.len() as f64
        })
    }

    /// Returns one divided by the rank of the best relevant item, or 0 if none is among the first `k`.
    pub fn reciprocal_rank(&self, k: NonZeroUsize) -> Vec<f64> {
        self.each(|query| query.within(k).first().map_or(0.0, |(rank, _)| 1.0 / *rank as f64))
    }

    /// Returns the normalized discounted cumulative gain of the first `k` (Järvelin and Kekäläinen, "Cumulated
    /// gain-based evaluation of IR techniques", 2002): each grade divided by log2(1 + rank), summed, divided by the
    /// same sum for the best possible order. The grades themselves are the gains, as in trec_eval and scikit-learn.
    pub fn ndcg(&self, k: NonZeroUsize) -> Vec<f64> {
        let discounted = |(rank, grade): (usize, f64)| grade / (1.0 + rank as f64).log2();
        self.each(|query| {
            let gain: f64 = query.within(k).iter().copied().map(discounted).sum();
            let best: f64 = (1..=k.get()).zip(query.ideal.iter().copied()).map(discounted).sum();
            gain / best
        })
    }

    fn each(&self, figure: impl Fn(&Judged) -> f64) -> Vec<f64> {
        self.queries.iter().map(figure).collect()
    }
}

impl Judged {
    fn new<T: Eq + Hash + Debug>(number: usize, ranked: &[T], grades: &HashMap<T, f64>) -> Result<Self> {
        if let Some((item, grade)) = grades.iter().find(|(_, grade)| !grade.is_finite() || **grade < 0.0) {
            return Err(Error::argument(format!(
                "query {number}: the grade of {item:?} is {grade}; use 0 or a positive number"
            )));
        }
        let mut ideal: Vec<f64> = grades.values().copied().filter(|grade| *grade > 0.0).collect();
        if ideal.is_empty() {
            return Err(Error::argument(format!("query {number} has no relevant item: leave it out")));
        }
        ideal.sort_by(|a, b| b.total_cmp(a));
        let mut seen = HashSet::with_capacity(ranked.len());
        let mut found = Vec::new();
        for (rank, item) in (1..).zip(ranked) {
            if !seen.insert(item) {
                return Err(Error::argument(format!(
                    "query {number}: {item:?} is in the ranked list twice; keep its better rank"
                )));
            }
            found.extend(grades.get(item).filter(|grade| **grade > 0.0).map(|grade| (rank, *grade)));
        }
        Ok(Self { found, ideal })
    }

    /// Returns the relevant items among the first `k`.
    fn within(&self, k: NonZeroUsize) -> &[(usize, f64)] {
        &self.found[..self.found.partition_point(|(rank, _)| *rank <= k.get())]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: NonZeroUsize = NonZeroUsize::MAX;

    fn at(k: usize) -> NonZeroUsize {
        NonZeroUsize::new(k).unwrap()
    }

    fn judge(ranked: &[&'static str], grades: &[(&'static str, f64)]) -> Result<Rankings> {
        Rankings::new(&[(ranked.to_vec(), grades.iter().copied().collect())])
    }

    fn close(found: Vec<f64>, expected: f64) {
        assert!(found.len() == 1 && (found[0] - expected).abs() < 1e-12, "{found:?} is not {expected}");
    }

    #[test]
    fn figures_equal_those_computed_by_hand() {
        // Relevant at ranks 2 and 4, and one that the list does not have.
        let one = judge(&["x", "a", "y", "b", "z"], &[("a", 1.0), ("b", 1.0), ("c", 1.0), ("z", 0.0)]).unwrap();
        assert_eq!(one.ranks(), [2]);
        close(one.hit(at(1)), 0.0);
        close(one.hit(at(2)), 1.0);
        close(one.precision(at(4)), 2.0 / 4.0);
        close(one.precision(at(10)), 2.0 / 10.0);
        close(one.recall(at(3)), 1.0 / 3.0);
        close(one.recall(ALL), 2.0 / 3.0);
        close(one.average_precision(ALL), (1.0 / 2.0 + 2.0 / 4.0) / 3.0);
        close(one.average_precision(at(3)), (1.0 / 2.0) / 3.0);
        close(one.reciprocal_rank(ALL), 1.0 / 2.0);
        close(one.reciprocal_rank(at(1)), 0.0);
        let log = |x: f64| x.log2();
        close(one.ndcg(at(4)), (1.0 / log(3.0) + 1.0 / log(5.0)) / (1.0 + 1.0 / log(3.0) + 1.0 / log(4.0)));
        // The best order of the first one is a single gain of 1.
        close(one.ndcg(at(1)), 0.0);
    }

    #[test]
    fn grades_are_gains() {
        let one = judge(&["low", "none", "high"], &[("high", 3.0), ("low", 1.0)]).unwrap();
        close(one.ndcg(ALL), (1.0 + 3.0 / 2.0) / (3.0 + 1.0 / 3f64.log2()));
        close(judge(&["high", "low"], &[("high", 3.0), ("low", 1.0)]).unwrap().ndcg(ALL), 1.0);
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        fn error(ranked: &[&'static str], grades: &[(&'static str, f64)]) -> String {
            judge(ranked, grades).unwrap_err().to_string()
        }
        assert_eq!(
            error(&["a", "b", "a"], &[("b", 1.0)]),
            "query 0: \"a\" is in the ranked list twice; keep its better rank"
        );
        assert!(error(&["a"], &[]).starts_with("query 0 has no relevant item"));
        assert!(error(&["a"], &[("b", 0.0)]).starts_with("query 0 has no relevant item"));
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(error(&["a"], &[("b", bad)]).starts_with("query 0: the grade of \"b\" is "));
        }
        close(judge(&[], &[("b", 1.0)]).unwrap().ndcg(ALL), 0.0);
    }

    proptest! {
        /// Against the definitions, written out over the whole list.
        #[test]
        fn figures_follow_their_definitions(relevant in prop::collection::vec(any::<bool>(), 0..12),
                                            missing in 0usize..3, k in 1usize..15) {
            let total = relevant.iter().filter(|r| **r).count() + missing;
            prop_assume!(total > 0);
            let ranked: Vec<usize> = (0..relevant.len()).collect();
            let grades = (0..relevant.len()).filter(|i| relevant[*i]).chain(100..100 + missing).map(|i| (i, 1.0));
            let rankings = Rankings::new(&[(ranked, grades.collect())]).unwrap();
            let first = |n: usize| relevant.iter().take(n).filter(|r| **r).count() as f64;
            let depth = k.min(relevant.len());
            let average = (0..depth).filter(|i| relevant[*i]).map(|i| first(i + 1) / (i + 1) as f64).sum::<f64>();
            close(rankings.hit(at(k)), f64::from(first(k) > 0.0));
            close(rankings.precision(at(k)), first(k) / k as f64);
            close(rankings.recall(at(k)), first(k) / total as f64);
            close(rankings.average_precision(at(k)), average / total as f64);
            let gain = (0..depth).filter(|i| relevant[*i]).map(|i| 1.0 / (i as f64 + 2.0).log2()).sum::<f64>();
            let best = (0..k.min(total)).map(|i| 1.0 / (i as f64 + 2.0).log2()).sum::<f64>();
            close(rankings.ndcg(at(k)), gain / best);
        }

        #[test]
        fn one_relevant_item_is_its_rank(rank in 0usize..20, k in 1usize..20) {
            let ranked: Vec<usize> = (1..20).collect();
            let right = if rank == 0 { 99 } else { rank };
            let judged = Rankings::new(&[(ranked, HashMap::from([(right, 1.0)]))]).unwrap();
            let by_rank = Rankings::from_ranks([NonZeroUsize::new(rank)]);
            prop_assert_eq!(&judged, &by_rank);
            let found = rank > 0 && rank <= k;
            close(by_rank.reciprocal_rank(at(k)), if found { 1.0 / rank as f64 } else { 0.0 });
            close(by_rank.average_precision(at(k)), if found { 1.0 / rank as f64 } else { 0.0 });
            close(by_rank.ndcg(at(k)), if found { 1.0 / (rank as f64 + 1.0).log2() } else { 0.0 });
        }
    }
}
