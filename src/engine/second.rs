//! A second look at the best items of a search by pictures: by the mean of an item's references beside the best one, and
//! with less weight on the directions in which pictures of one item differ.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::calibrate::{Group, Metric, Neighbors, SAME, strength};
use crate::engine::Engine;
use crate::engine::live::State;
use crate::error::Result;
use crate::fusion::Candidate;
use crate::index::{Part, Request, Snapshot};
use crate::vectors::Vectors;

/// Items that are looked at a second time.
pub(super) const DEPTH: usize = 50;
/// The most references of an item that are looked at, evenly spread.
const MOST: usize = 64;
/// The most items that a metric is learned from, and references of each.
const LEARNED: usize = 500;
const EACH: usize = 4;
/// The least left out references that tell whether a second look finds more, by how many standard errors it must, and by
/// what share it must tell items of the catalog from strangers better.
const LEAST: usize = 30;
const SURE: f64 = 1.96;
const GAIN: f64 = 0.1;
/// The parts of the items: references of each are looked up by what the other parts teach.
const PARTS: i64 = 5;
/// The most references that are left out.
const SAMPLE: usize = 1000;
/// References that are looked up together.
const TOGETHER: usize = 64;

/// How items are looked at a second time. Scores are put back on the scale of cosines: those of right and those of wrong
/// items have the means that the cosines with their best references have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Look {
    metric: Metric,
    offset: f32,
    factor: f32,
}

/// The references of some items, with their mapped vectors.
struct Items<'a> {
    index: &'a Snapshot,
    space: usize,
    rows: HashMap<i64, Vec<Candidate>>,
}

impl<'a> Items<'a> {
    /// Finds the references of the items of these candidates.
    fn of<'b>(index: &'a Snapshot, space: usize, candidates: impl Iterator<Item = &'b Candidate>) -> Self {
        let items: HashSet<i64> = candidates.map(|one| one.item).collect();
        let mut rows: HashMap<i64, Vec<Candidate>> = HashMap::with_capacity(items.len());
        for row in index.rows().filter(|row| items.contains(&row.item)) {
            rows.entry(row.item).or_default().push(row);
        }
        for rows in rows.values_mut().filter(|rows| rows.len() > MOST) {
            *rows = (0..MOST).map(|place| rows[place * rows.len() / MOST]).collect();
        }
        Self { index, space, rows }
    }

    fn vectors(&self, rows: &[Candidate]) -> impl Iterator<Item = &'a [f32]> {
        let (index, space) = (self.index, self.space);
        rows.iter().map(move |row| index.vector(row, space)).collect::<Vec<_>>().into_iter()
    }

    fn groups(&self, metric: &Metric) -> HashMap<i64, Group> {
        self.rows.iter().map(|(item, rows)| (*item, metric.group(self.vectors(rows)))).collect()
    }
}

impl Look {
    /// Scores candidates anew for the query of each row of `vectors`; returns the best `k` of each, best first.
    pub(super) fn at(
        &self,
        index: &Snapshot,
        space: usize,
        vectors: &Vectors,
        candidates: Vec<Vec<Candidate>>,
        k: usize,
    ) -> Vec<Vec<Candidate>> {
        let items = Items::of(index, space, candidates.iter().flatten());
        let groups = items.groups(&self.metric);
        let again = |(query, mut candidates): (&[f32], Vec<Candidate>)| {
            let mapped = self.metric.map(query);
            // An item that is no longer there has no references.
            candidates.retain(|one| groups.contains_key(&one.item));
            for one in &mut candidates {
                let alike = groups[&one.item].compare(&mapped);
                let score = self.scaled(alike.score, one.score);
                *one = Candidate { score, ..items.rows[&one.item][alike.nearest] };
            }
            candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
            candidates.truncate(k);
            candidates
        };
        vectors.rows().zip(candidates).map(again).collect()
    }

    /// Returns the score of an item on the scale of cosines. A picture that is stored keeps its cosine.
    fn scaled(&self, score: f32, cosine: f32) -> f32 {
        let score = (self.offset + self.factor * score).min(1.0);
        if cosine >= SAME { score.max(cosine) } else { score }
    }

    /// Returns how near labeled queries are to their own items and to others.
    pub(super) fn labeled(
        &self,
        engine: &Engine,
        state: &State,
        space: usize,
        vectors: &Vectors,
        items: &[Option<i64>],
    ) -> Result<Vec<Neighbors>> {
        let owns = items.iter().map(|item| item.map(|item| Candidate { item, ..NOTHING }));
        let found = engine.deep(state, space, vectors)?;
        // The own item is compared, too, if it is not among the best ones.
        let with_own = found.into_iter().zip(owns).map(|(mut found, own)| {
            found.extend(own.filter(|own| found.iter().all(|one| one.item != own.item)));
            found
        });
        let found = self.at(&state.index, space, vectors, with_own.collect(), DEPTH + 1);
        Ok(found.iter().zip(items).map(|(found, item)| neighbors(found, *item)).collect())
    }
}

/// Stands for an item before its references are known.
const NOTHING: Candidate = Candidate { item: 0, reference: 0, score: -1.0, segment: 0, row: 0 };

/// The neighbors of references that are left out, one after another: by their cosines, and by a second look.
struct Both {
    by_cosine: Vec<Neighbors>,
    by_look: Vec<Neighbors>,
}

impl Engine {
    /// Learns a second look and what it finds of left out references, if it tells right items better from wrong ones than
    /// cosines do. `chosen` are references to leave out. The items are divided in five parts, and the references of each
    /// are looked up by what the other parts teach. An earlier look is kept if it is given.
    pub(super) fn second_look(
        &self,
        state: &State,
        space: usize,
        chosen: &[Candidate],
        earlier: Option<&Look>,
    ) -> Result<Option<(Look, Vec<Neighbors>)>> {
        let step = chosen.len().div_ceil(SAMPLE).max(1);
        let chosen: Vec<Candidate> = chosen.iter().step_by(step).copied().collect();
        if let Some(look) = earlier {
            let found = self.left_out_again(state, space, &chosen, |_| &look.metric)?.by_look;
            return Ok(Some((look.clone(), found.iter().map(|one| look.rescaled(one)).collect())));
        }
        let Some((all, parts)) = taught(state, space) else { return Ok(None) };
        let Both { by_cosine, by_look } = self.left_out_again(state, space, &chosen, |part| &parts[part])?;
        if !tells_more(&by_cosine, &by_look) {
            return Ok(None);
        }
        let mean = |all: &[Neighbors], of: fn(&Neighbors) -> Option<f32>| {
            let (sum, count) = all.iter().filter_map(of).fold((0.0, 0.0), |(sum, count), one| (sum + one, count + 1.0));
            sum / count
        };
        let [genuine, genuine_again] = [&by_cosine, &by_look].map(|all| mean(all, |one| one.own));
        let [other, other_again] = [&by_cosine, &by_look].map(|all| mean(all, |one| one.first));
        let factor = (genuine - other) / (genuine_again - other_again);
        let factor = if factor.is_finite() && factor > 0.0 { factor } else { 1.0 };
        let look = Look { metric: all, offset: other - factor * other_again, factor };
        let found = by_look.iter().map(|one| look.rescaled(one)).collect();
        Ok(Some((look, found)))
    }

    /// Looks references up as if each were not stored. The metric is that for the part of its item.
    fn left_out_again<'a>(
        &self,
        state: &State,
        space: usize,
        chosen: &[Candidate],
        metric: impl Fn(usize) -> &'a Metric,
    ) -> Result<Both> {
        let (mut by_cosine, mut by_look) = (Vec::new(), Vec::new());
        for part in 0..PARTS as usize {
            let of_part: Vec<Candidate> = chosen.iter().filter(|row| part_of(row.item) == part).copied().collect();
            for some in of_part.chunks(TOGETHER) {
                let vectors = some.iter().flat_map(|row| state.index.vector(row, space).iter().copied()).collect();
                let vectors = Vectors::normalize(state.index.dims()[space], vectors)?;
                let found = self.deep(state, space, &vectors)?;
                let items = Items::of(&state.index, space, found.iter().flatten().chain(some));
                let metric = metric(part);
                let groups = items.groups(metric);
                for ((row, vector), found) in some.iter().zip(vectors.rows()).zip(found) {
                    let mapped = metric.map(vector);
                    let others: Vec<Candidate> = items.rows[&row.item]
                        .iter()
                        .filter(|other| other.reference != row.reference)
                        .copied()
                        .collect();
                    let own = others.iter().map(|other| state.index.rescore(other, space, vector)).reduce(f32::max);
                    let own_again =
                        (!others.is_empty()).then(|| metric.group(items.vectors(&others)).compare(&mapped).score);
                    let again = |one: &Candidate| Candidate { score: groups[&one.item].compare(&mapped).score, ..*one };
                    let mut seen: Vec<Candidate> = found.iter().map(again).collect();
                    // The same picture under another item keeps its cosine: what is made of these leaves it out.
                    seen.iter_mut()
                        .zip(&found)
                        .filter(|(_, one)| one.score >= SAME)
                        .for_each(|(one, same)| *one = *same);
                    seen.sort_by(|a, b| b.score.total_cmp(&a.score));
                    by_cosine.push(Neighbors { own, ..neighbors(&found, Some(row.item)) });
                    by_look.push(Neighbors { own: own_again, ..neighbors(&seen, Some(row.item)) });
                }
            }
        }
        Ok(Both { by_cosine, by_look })
    }

    /// The items that a second look is at, and one for each that does not count.
    fn deep(&self, state: &State, space: usize, vectors: &Vectors) -> Result<Vec<Vec<Candidate>>> {
        let weights = vec![1.0; vectors.len()];
        let parts = [Part { space, vectors, weights: &weights, bounded: false, texts: false }];
        state.index.search(&Request { pool: Some(self.workers()), ..Request::new(&parts, DEPTH + 1) })
    }
}

impl Look {
    fn rescaled(&self, one: &Neighbors) -> Neighbors {
        let scaled = |score: f32| if score >= SAME { score } else { self.scaled(score, score) };
        Neighbors { own: one.own.map(scaled), first: one.first.map(scaled), second: one.second.map(scaled) }
    }
}

/// The metric of all items, and for each part of them that of the others.
fn taught(state: &State, space: usize) -> Option<(Metric, Vec<Metric>)> {
    let mut rows: HashMap<i64, Vec<Candidate>> = HashMap::new();
    for row in state.index.rows() {
        rows.entry(row.item).or_default().push(row);
    }
    let mut items: Vec<(i64, Vec<Candidate>)> = rows.into_iter().filter(|(_, rows)| rows.len() > 1).collect();
    items.sort_unstable_by_key(|(item, _)| *item);
    let learn = |items: Vec<&(i64, Vec<Candidate>)>| {
        let step = items.len().div_ceil(LEARNED).max(1);
        let vectors = |(_, rows): &(i64, Vec<Candidate>)| {
            let count = rows.len().min(EACH);
            (0..count).map(|place| state.index.vector(&rows[place * rows.len() / count], space)).collect()
        };
        let some: Vec<Vec<&[f32]>> = items.into_iter().step_by(step).map(vectors).collect();
        Metric::fit(&some, state.index.dims()[space])
    };
    let without = |part: usize| learn(items.iter().filter(|(item, _)| part_of(*item) != part).collect());
    Some((learn(items.iter().collect())?, (0..PARTS as usize).map(without).collect::<Option<_>>()?))
}

/// The part to which an item belongs.
fn part_of(item: i64) -> usize {
    item.rem_euclid(PARTS) as usize
}

/// Whether right items lead wrong ones by more of the leads' standard deviations after a second look, and are told from
/// strangers better: the mean difference of all leads must be 1.96 standard errors or more, and the separation must grow by
/// a tenth. Where cosines tell items apart well, that leaves things as they are.
fn tells_more(by_cosine: &[Neighbors], by_look: &[Neighbors]) -> bool {
    let leads = |all: &[Neighbors]| -> Vec<f64> {
        let leads = all.iter().filter_map(|one| Some(f64::from(one.own?) - f64::from(one.first?)));
        let leads: Vec<f64> = leads.collect();
        let (_, deviation) = moments(&leads);
        leads.iter().map(|lead| lead / deviation.max(f64::MIN_POSITIVE)).collect()
    };
    let gains: Vec<f64> = leads(by_look).iter().zip(leads(by_cosine)).map(|(again, first)| again - first).collect();
    let (mean, deviation) = moments(&gains);
    let is_sure = gains.len() >= LEAST && mean > SURE * deviation / (gains.len() as f64).sqrt();
    let (first, again) = (separation(by_cosine), separation(by_look));
    is_sure && again - first > GAIN * first.abs()
}

/// How far the strengths of right items are from those of wrong ones, whose own item is hidden, in standard deviations.
fn separation(all: &[Neighbors]) -> f64 {
    let of = |scores: fn(&Neighbors) -> Option<[f32; 2]>| {
        moments(&all.iter().filter_map(|one| strength(&scores(one)?)).collect::<Vec<f64>>())
    };
    let known = of(|one| Some([one.own?, one.first?]));
    let strange = of(|one| Some([one.first?, one.second?]));
    (known.0 - strange.0) / ((known.1.powi(2) + strange.1.powi(2)) / 2.0).sqrt().max(f64::MIN_POSITIVE)
}

fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt())
}

/// The scores of the own item and of the best others, of what was found, best first.
fn neighbors(found: &[Candidate], item: Option<i64>) -> Neighbors {
    let own = found.iter().find(|one| Some(one.item) == item).map(|one| one.score);
    let mut others = found.iter().filter(|one| Some(one.item) != item).map(|one| one.score);
    Neighbors { own, first: others.next(), second: others.next() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leads of right items over the first of two others, which strangers are like.
    fn led(leads: impl Iterator<Item = f32>) -> Vec<Neighbors> {
        let of = |(place, lead)| {
            let first = 0.5 + (place % 7) as f32 / 100.0;
            Neighbors { own: Some(first + lead), first: Some(first), second: Some(first - 0.01) }
        };
        (0_u16..).zip(leads).map(of).collect()
    }

    #[test]
    fn leads_count_in_their_own_standard_deviations() {
        let first = || (0..100_u8).map(|place| f32::from(place % 10) / 100.0 - 0.02);
        // The same leads on another scale tell no more, steadier and larger ones do.
        assert!(!tells_more(&led(first()), &led(first().map(|lead| 1.01 * lead))));
        assert!(tells_more(&led(first()), &led(first().map(|lead| 0.5 * lead + 0.04))));
        assert!(!tells_more(&led(first().take(29)), &led(first().take(29).map(|lead| 0.5 * lead + 0.04))));
        assert!(!tells_more(&[], &[]));
    }

    #[test]
    fn strangers_must_be_told_better_too() {
        let first = || (0..100_u8).map(|place| f32::from(place % 10) / 100.0 - 0.02);
        let mut again = led(first().map(|lead| 0.5 * lead + 0.04));
        again.iter_mut().for_each(|one| one.second = Some(0.0));
        assert!(!tells_more(&led(first()), &again));
    }

    #[test]
    fn a_separation_is_that_of_numpy() {
        // k = own + (own - first) / 2; s = first + (first - second) / 2
        // (k.mean() - s.mean()) / np.sqrt((k.var() + s.var()) / 2)
        let all = [(0.9, 0.5, 0.4), (0.7, 0.6, 0.6), (0.4, 0.5, 0.3)];
        let all =
            all.map(|(own, first, second)| Neighbors { own: Some(own), first: Some(first), second: Some(second) });
        assert!((separation(&all) - SEPARATION).abs() < 1e-5, "{}", separation(&all));
    }

    const SEPARATION: f64 = 0.690268;
}
