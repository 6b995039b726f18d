//! How strongly the scores of a query speak for the item that comes first.

use serde::{Deserialize, Serialize};

/// How much the lead of the best score over the next counts beside it.
const LEAD: f64 = 0.5;
/// How much the mean of the scores behind it counts against it.
const CROWD: f64 = 0.7;
/// The scores behind the best one that count, if there are as many.
pub const BEHIND: usize = 10;

/// The evidence for the first item in the scores of a query.
///
/// A score says little by itself: pictures of one scene are all alike, and those in which little is seen are like none.
/// The scores of the items behind the first one tell which it is, so that the references of a catalog, whose scenes are
/// theirs, teach what strangers in other pictures score. Only the mean is subtracted: to divide by the deviation, as speaker
/// verification does (adaptive s-norm), loses more than it brings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// The best score, less 0.7 of the mean of the scores behind it.
    pub score: f64,
    /// Its lead over the next one; None if there is no other item.
    pub lead: Option<f64>,
}

impl Evidence {
    /// That of the best score, of the next one, and of the mean score of the items [behind](behind) it, if there are others.
    pub fn new(best: f64, next: Option<f64>, behind: Option<f64>) -> Self {
        Self { score: best - CROWD * behind.unwrap_or_default(), lead: next.map(|next| best - next) }
    }

    /// How strong it is. A stranger that looks like one item looks like others, too: with the lead, fewer queries of the
    /// catalog's items are missed for as many strangers.
    pub fn strength(&self) -> f64 {
        self.score + LEAD * self.lead.unwrap_or_default()
    }
}

/// Returns the mean score of the up to ten items behind the first one, of scores in their order; None if there are none.
pub fn behind(scores: &[f32]) -> Option<f32> {
    mean(scores.get(1..)?)
}

/// Returns how strongly the best scores of a query, in their order, speak for the first item, given the mean score of the
/// items [behind] it; None if there is none.
pub fn strength(scores: &[f32], behind: Option<f32>) -> Option<f64> {
    scores.first().map(|best| evidence(*best, scores.get(1).copied(), behind).strength())
}

/// The mean of the first scores, at most ten.
fn mean(scores: &[f32]) -> Option<f32> {
    let some = &scores[..scores.len().min(BEHIND)];
    (!some.is_empty()).then(|| some.iter().sum::<f32>() / some.len() as f32)
}

/// The scores of a query that is labeled, or of a reference that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Neighbors {
    /// The score of its own item; None for a stranger, and for a reference that is the only one of its item.
    pub own: Option<f32>,
    /// The best score of another item; None if there is no other.
    pub first: Option<f32>,
    /// The second best score of another item.
    pub second: Option<f32>,
    /// The mean score of the items behind its own, if that comes first.
    behind_own: Option<f32>,
    /// The mean score of the items behind the best other one, if its own is hidden.
    behind_first: Option<f32>,
}

impl Neighbors {
    /// Those with the score of the own item and those of the others, best first: [`BEHIND`] and one, if there are as many.
    pub fn new(own: Option<f32>, others: &[f32]) -> Self {
        Self {
            own,
            first: others.first().copied(),
            second: others.get(1).copied(),
            behind_own: mean(others),
            behind_first: behind(others),
        }
    }

    /// The evidence if the own item is in the catalog, and whether the first item is the right one.
    pub fn known(&self) -> Option<(Evidence, bool)> {
        let own = self.own?;
        match self.first {
            Some(first) if own <= first => {
                let next = self.second.map_or(own, |second| second.max(own));
                Some((evidence(first, Some(next), self.behind_first), false))
            }
            first => Some((evidence(own, first, self.behind_own), true)),
        }
    }

    /// How strongly the scores speak for the own item, whether or not it comes first.
    pub fn own_strength(&self) -> Option<f64> {
        self.own.map(|own| evidence(own, self.first, self.behind_own).strength())
    }

    /// The evidence if the own item is not in the catalog.
    pub fn strange(&self) -> Option<Evidence> {
        Some(evidence(self.first?, self.second, self.behind_first))
    }
}

fn evidence(best: f32, next: Option<f32>, behind: Option<f32>) -> Evidence {
    Evidence::new(best.into(), next.map(f64::from), behind.map(f64::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether these are the strength that is computed by hand, and the lead.
    fn is(found: Evidence, strength: f64, lead: Option<f64>) -> bool {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
        near(found.strength(), strength) && found.lead.zip(lead).is_none_or(|(a, b)| near(a, b))
    }

    #[test]
    fn the_best_score_stands_against_those_behind_it() {
        let found = Neighbors::new(Some(0.9), &[0.7, 0.5, 0.3]);
        let (known, right) = found.known().unwrap();
        assert!(right && is(known, 0.9 + 0.5 * 0.2 - 0.7 * 0.5, Some(0.2)), "{known:?}");
        assert!(is(found.strange().unwrap(), 0.7 + 0.5 * 0.2 - 0.7 * 0.4, Some(0.2)));
        // Another item comes first: that is a wrong answer, with the lead over its own one.
        let (wrong, right) = Neighbors::new(Some(0.6), &[0.7, 0.5, 0.3]).known().unwrap();
        assert!(!right && is(wrong, 0.7 + 0.5 * 0.1 - 0.7 * 0.4, Some(0.1)));
    }

    #[test]
    fn at_most_ten_scores_stand_behind_one() {
        let scores: Vec<f32> = (0..30).map(|place| 1.0 - place as f32 / 100.0).collect();
        assert!((behind(&scores).unwrap() - (1.0 - 0.055)).abs() < 1e-6);
        assert!((behind(&scores[..3]).unwrap() - (1.0 - 0.015)).abs() < 1e-6);
        assert_eq!((behind(&scores[..1]), behind(&[])), (None, None));
    }

    #[test]
    fn an_item_alone_has_its_score() {
        let (alone, right) = Neighbors::new(Some(0.8), &[]).known().unwrap();
        assert!(right && is(alone, 0.8, None) && alone.lead.is_none());
        assert_eq!(Neighbors::new(None, &[]).strange(), None);
        assert_eq!(Neighbors::new(None, &[0.5]).known(), None);
    }
}
