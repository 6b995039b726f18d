//! A second look at the best items of a search by pictures: by the mean of an item's references beside the best one, and
//! with less weight on the directions in which pictures of one item differ.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::calibrate::{Alike, Group, Metric, Neighbors, SAME};
use crate::engine::Engine;
use crate::engine::adapt::Adapter;
use crate::engine::ensemble::Ensemble;
use crate::engine::live::State;
use crate::error::Result;
use crate::fusion::Candidate;
use crate::index::Snapshot;
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
pub(super) const PARTS: i64 = 5;
/// The most references that are left out.
const SAMPLE: usize = 1000;
/// References that are looked up together.
const TOGETHER: usize = 64;

/// How items are looked at a second time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Look(Vec<Scale>);

/// How one model compares a picture with an item. Scores are put back on the scale of cosines: those of right and those of
/// the best wrong items have the means that the cosines with their best references have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Scale {
    metric: Metric,
    offset: f32,
    factor: f32,
}

/// The references of some items.
pub(super) struct Items<'a> {
    index: &'a Snapshot,
    pub(super) rows: HashMap<i64, Vec<Candidate>>,
}

impl<'a> Items<'a> {
    /// Finds the references of the items of these candidates.
    pub(super) fn of<'b>(index: &'a Snapshot, candidates: impl Iterator<Item = &'b Candidate>) -> Self {
        let items: HashSet<i64> = candidates.map(|one| one.item).collect();
        let mut rows: HashMap<i64, Vec<Candidate>> = HashMap::with_capacity(items.len());
        for row in index.rows().filter(|row| items.contains(&row.item)) {
            rows.entry(row.item).or_default().push(row);
        }
        for rows in rows.values_mut().filter(|rows| rows.len() > MOST) {
            *rows = (0..MOST).map(|place| rows[place * rows.len() / MOST]).collect();
        }
        Self { index, rows }
    }

    /// The mapped vectors of some references, for each model.
    fn group(&self, ensemble: &Ensemble, metrics: &[&Metric], rows: &[Candidate]) -> Vec<Group> {
        let of = |(space, metric): (usize, &&Metric)| {
            metric.group(rows.iter().map(|row| self.index.vector(row, space)).collect::<Vec<_>>().into_iter())
        };
        ensemble.spaces().zip(metrics).map(of).collect()
    }

    fn groups(&self, ensemble: &Ensemble, metrics: &[&Metric]) -> HashMap<i64, Vec<Group>> {
        self.rows.iter().map(|(item, rows)| (*item, self.group(ensemble, metrics, rows))).collect()
    }
}

/// The vectors of query `number` as the metrics map them, for each model.
fn mapped(metrics: &[&Metric], vectors: &[Vectors], number: usize) -> Vec<Vec<f32>> {
    metrics.iter().zip(vectors).map(|(metric, vectors)| metric.map(vectors.row(number))).collect()
}

/// How alike an item and a query are, for each model.
fn compared(groups: &[Group], mapped: &[Vec<f32>]) -> Vec<Alike> {
    groups.iter().zip(mapped).map(|(group, mapped)| group.compare(mapped)).collect()
}

impl Look {
    /// Scores candidates anew for the query of each row of the `vectors` of each model; returns the best `k` of each, best
    /// first, with the references that the model of the highest weight finds nearest.
    pub(super) fn at(
        &self,
        index: &Snapshot,
        ensemble: &Ensemble,
        vectors: &[Vectors],
        candidates: Vec<Vec<Candidate>>,
        k: usize,
    ) -> Vec<Vec<Candidate>> {
        let items = Items::of(index, candidates.iter().flatten());
        let metrics = self.metrics();
        let groups = items.groups(ensemble, &metrics);
        let again = |(number, mut candidates): (usize, Vec<Candidate>)| {
            let mapped = mapped(&metrics, vectors, number);
            // An item that is no longer there has no references.
            candidates.retain(|one| groups.contains_key(&one.item));
            for one in &mut candidates {
                let alike = compared(&groups[&one.item], &mapped);
                let score = self.scaled(ensemble, alike.iter().map(|alike| alike.score), one.score);
                *one = Candidate { score, ..items.rows[&one.item][alike[ensemble.heaviest()].nearest] };
            }
            candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
            candidates.truncate(k);
            candidates
        };
        candidates.into_iter().enumerate().map(again).collect()
    }

    /// Changes the scores so that those of right items, and those of the best wrong ones, have the means of the cosines.
    fn put_on_scale(&mut self, by_look: &[Neighbors], by_cosine: &[Neighbors]) {
        let means = |all: &[Neighbors]| {
            let others = all.iter().filter_map(|one| one.first.filter(|score| *score < SAME));
            [mean(all.iter().filter_map(|one| one.own)), mean(others)]
        };
        let (offset, factor) = onto(means(by_look), means(by_cosine));
        for scale in &mut self.0 {
            scale.offset = offset + factor * scale.offset;
            scale.factor *= factor;
        }
    }

    /// Returns the same with the models in another order, each by its place here; None if one has no place.
    pub(super) fn ordered(&self, places: impl Iterator<Item = Option<usize>>) -> Option<Self> {
        places.map(|place| self.0.get(place?).cloned()).collect::<Option<_>>().map(Self)
    }

    fn metrics(&self) -> Vec<&Metric> {
        self.0.iter().map(|scale| &scale.metric).collect()
    }

    /// Returns the score of an item on the scale of cosines, of one score of each model. A picture that is stored keeps its
    /// cosine.
    fn scaled(&self, ensemble: &Ensemble, scores: impl Iterator<Item = f32>, cosine: f32) -> f32 {
        let scaled = self.0.iter().zip(scores).map(|(scale, score)| scale.offset + scale.factor * score);
        let score = ensemble.mean(scaled).min(1.0);
        if cosine >= SAME { score.max(cosine) } else { score }
    }

    /// Returns how near labeled queries are to their own items and to others.
    pub(super) fn labeled(
        &self,
        engine: &Engine,
        state: &State,
        ensemble: &Ensemble,
        vectors: &[Vectors],
        items: &[Option<i64>],
    ) -> Result<Vec<Neighbors>> {
        let owns = items.iter().map(|item| item.map(|item| Candidate { item, ..NOTHING }));
        let found = engine.nearest(state, ensemble, vectors, DEPTH + 1)?;
        // The own item is compared, too, if it is not among the best ones.
        let with_own = found.into_iter().zip(owns).map(|(mut found, own)| {
            found.extend(own.filter(|own| found.iter().all(|one| one.item != own.item)));
            found
        });
        let found = self.at(&state.index, ensemble, vectors, with_own.collect(), DEPTH + 1);
        Ok(found.iter().zip(items).map(|(found, item)| neighbors(found, *item)).collect())
    }
}

/// Stands for an item before its references are known.
pub(super) const NOTHING: Candidate = Candidate { item: 0, reference: 0, score: -1.0, segment: 0, row: 0 };

/// An item that a left out reference is compared with.
struct Seen {
    /// The score of its best reference.
    cosine: f32,
    /// The cosine of that, for each model.
    cosines: Vec<f32>,
    /// The score of a second look by each model, before it is scaled.
    again: Vec<f32>,
}

/// A left out reference, and the items that it is compared with: its own by its other references, if it has others.
struct LeftOut {
    own: Option<Seen>,
    /// The best ones by their cosines first.
    others: Vec<Seen>,
}

impl LeftOut {
    fn by_cosine(&self) -> Neighbors {
        let others: Vec<f32> = self.others.iter().map(|one| one.cosine).collect();
        Neighbors::new(self.own.as_ref().map(|own| own.cosine), &others)
    }

    fn by_look(&self, look: &Look, ensemble: &Ensemble) -> Neighbors {
        let score = |one: &Seen| match one.cosine >= SAME {
            // The same picture under another item keeps its cosine: what is made of these leaves it out.
            true => one.cosine,
            false => look.scaled(ensemble, one.again.iter().copied(), one.cosine),
        };
        let mut others: Vec<f32> = self.others.iter().map(score).collect();
        others.sort_by(|a, b| b.total_cmp(a));
        Neighbors::new(self.own.as_ref().map(score), &others)
    }
}

impl Engine {
    /// Learns a second look and what it finds of left out references, if it tells right items better from wrong ones than
    /// cosines do. `chosen` are references to leave out. The items are divided in five parts, and the references of each
    /// are looked up by what the other parts teach. An earlier look is kept if it is given.
    pub(super) fn second_look(
        &self,
        state: &State,
        ensemble: &Ensemble,
        chosen: &[Candidate],
        earlier: Option<&Look>,
    ) -> Result<Option<(Look, Vec<Neighbors>)>> {
        if let Some(look) = earlier {
            let found = self.left_out_again(state, ensemble, chosen, part_of, |_| look.metrics())?;
            return Ok(Some((look.clone(), found.iter().map(|one| one.by_look(look, ensemble)).collect())));
        }
        let taught: Option<Vec<_>> = ensemble.spaces().map(|space| taught(state, space)).collect();
        let Some(taught) = taught else { return Ok(None) };
        let of_part = |part: usize| taught.iter().map(|(_, parts)| &parts[part]).collect();
        let found = self.left_out_again(state, ensemble, chosen, part_of, of_part)?;
        let by_cosine: Vec<Neighbors> = found.iter().map(LeftOut::by_cosine).collect();
        let (look, by_look) = on_scale(taught.into_iter().map(|(metric, _)| metric), &found, &by_cosine, ensemble);
        Ok(tells_more(&by_cosine, &by_look).then_some((look, by_look)))
    }

    /// Returns a second look by a map that was learned otherwise, and what it finds of left out references: of each part of
    /// the items by the map of the other parts. `chosen` are references to leave out.
    pub(super) fn adapted_look(
        &self,
        state: &State,
        ensemble: &Ensemble,
        chosen: &[Candidate],
        adapter: &Adapter,
    ) -> Result<(Look, Vec<Neighbors>)> {
        // Of an item that is in no part none has learned.
        let part_of = |item: i64| adapter.items.get(&item).copied().unwrap_or_default();
        let found = self.left_out_again(state, ensemble, chosen, part_of, |part| vec![&adapter.parts[part]])?;
        let by_cosine: Vec<Neighbors> = found.iter().map(LeftOut::by_cosine).collect();
        Ok(on_scale(std::iter::once(adapter.whole.clone()), &found, &by_cosine, ensemble))
    }

    /// Looks a sample of references up as if each were not stored. The metrics of the models are those for the part of its item.
    fn left_out_again<'a>(
        &self,
        state: &State,
        ensemble: &Ensemble,
        chosen: &[Candidate],
        part_of: impl Fn(i64) -> usize,
        metrics: impl Fn(usize) -> Vec<&'a Metric>,
    ) -> Result<Vec<LeftOut>> {
        let step = chosen.len().div_ceil(SAMPLE).max(1);
        let chosen: Vec<Candidate> = chosen.iter().step_by(step).copied().collect();
        let index = &state.index;
        let mut all = Vec::with_capacity(chosen.len());
        for part in 0..PARTS as usize {
            let of_part: Vec<Candidate> = chosen.iter().filter(|row| part_of(row.item) == part).copied().collect();
            let metrics = metrics(part);
            for some in of_part.chunks(TOGETHER) {
                let vectors = ensemble.vectors(index, some)?;
                let found = self.nearest(state, ensemble, &vectors, DEPTH + 1)?;
                let items = Items::of(index, found.iter().flatten().chain(some));
                let groups = items.groups(ensemble, &metrics);
                for (number, (row, found)) in some.iter().zip(found).enumerate() {
                    let mapped = mapped(&metrics, &vectors, number);
                    let seen = |best: &Candidate, groups: &[Group]| {
                        let cosines: Vec<f32> = (ensemble.spaces().zip(&vectors))
                            .map(|(space, vectors)| index.rescore(best, space, vectors.row(number)))
                            .collect();
                        let again = compared(groups, &mapped).iter().map(|alike| alike.score).collect();
                        Seen { cosine: ensemble.mean(cosines.iter().copied()), cosines, again }
                    };
                    let rest: Vec<Candidate> = (items.rows[&row.item].iter())
                        .filter(|other| other.reference != row.reference)
                        .map(|other| Candidate { score: ensemble.score(index, other, &vectors, number), ..*other })
                        .collect();
                    let nearest = rest.iter().max_by(|a, b| a.score.total_cmp(&b.score));
                    let own = nearest.map(|best| seen(best, &items.group(ensemble, &metrics, &rest)));
                    let others = found.iter().filter(|one| one.item != row.item);
                    all.push(LeftOut { own, others: others.map(|one| seen(one, &groups[&one.item])).collect() });
                }
            }
        }
        Ok(all)
    }
}

/// Returns a look by these metrics of the models, its scores put on the scale of cosines, and what it finds.
fn on_scale(
    metrics: impl Iterator<Item = Metric>,
    found: &[LeftOut],
    by_cosine: &[Neighbors],
    ensemble: &Ensemble,
) -> (Look, Vec<Neighbors>) {
    let by_look = |look: &Look| -> Vec<Neighbors> { found.iter().map(|one| one.by_look(look, ensemble)).collect() };
    let scale = |(model, metric)| {
        let (offset, factor) = scale(found, model);
        Scale { metric, offset, factor }
    };
    let mut look = Look(metrics.enumerate().map(scale).collect());
    look.put_on_scale(&by_look(&look), by_cosine);
    let again = by_look(&look);
    (look, again)
}

/// Returns offset and factor with which the scores of a second look by one model have the means of its cosines: those of
/// right items, and those of the wrong ones.
fn scale(found: &[LeftOut], model: usize) -> (f32, f32) {
    let own = |of: fn(&Seen) -> &Vec<f32>| mean(found.iter().filter_map(|one| Some(of(one.own.as_ref()?)[model])));
    let others = |of: fn(&Seen) -> &Vec<f32>| {
        let all = found.iter().flat_map(|one| &one.others).filter(|other| other.cosine < SAME);
        mean(all.map(|other| of(other)[model]))
    };
    let [cosines, again]: [fn(&Seen) -> &Vec<f32>; 2] = [|seen| &seen.cosines, |seen| &seen.again];
    onto([own(again), others(again)], [own(cosines), others(cosines)])
}

/// Returns offset and factor that take the two values of `from` to those of `to`; the second alone if they say nothing else.
fn onto(from: [f32; 2], to: [f32; 2]) -> (f32, f32) {
    let factor = (to[0] - to[1]) / (from[0] - from[1]);
    let factor = if factor.is_finite() && factor > 0.0 { factor } else { 1.0 };
    (to[1] - factor * from[1], factor)
}

fn mean(values: impl Iterator<Item = f32>) -> f32 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
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
    let others = || all.iter().filter(|one| one.second.is_some());
    let known: Vec<f64> = others().filter_map(|one| one.own_strength()).collect();
    let strange: Vec<f64> = others().filter_map(|one| Some(one.strange()?.strength())).collect();
    let (known, strange) = (moments(&known), moments(&strange));
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
    let others: Vec<f32> = found.iter().filter(|one| Some(one.item) != item).map(|one| one.score).collect();
    Neighbors::new(own, &others)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leads of right items over the first of two others, which strangers are like.
    fn led(leads: impl Iterator<Item = f32>) -> Vec<Neighbors> {
        let of = |(place, lead)| {
            let first = 0.5 + (place % 7) as f32 / 100.0;
            Neighbors::new(Some(first + lead), &[first, first - 0.01])
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
        again.iter_mut().for_each(|one| *one = Neighbors::new(one.own, &[one.first.unwrap(), 0.0]));
        assert!(!tells_more(&led(first()), &again));
    }

    #[test]
    fn a_separation_is_that_of_numpy() {
        // k = own + (own - first) / 2 - .7 * (first + second) / 2; s = first + (first - second) / 2 - .7 * second
        // (k.mean() - s.mean()) / np.sqrt((k.var() + s.var()) / 2)
        let all = [(0.9, 0.5, 0.4), (0.7, 0.6, 0.6), (0.4, 0.5, 0.3)];
        let all = all.map(|(own, first, second)| Neighbors::new(Some(own), &[first, second]));
        assert!((separation(&all) - SEPARATION).abs() < 1e-5, "{}", separation(&all));
    }

    const SEPARATION: f64 = 0.528445;
}
