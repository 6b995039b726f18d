//! Searching: plan, encode, find candidates, show them as hits.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::engine::Engine;
use crate::engine::calibration::Calibration;
use crate::engine::live::State;
use crate::engine::second::{self, Look};
use crate::engine::worded::{Ranked, Words, depth};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::fusion::{self, Aggregate, Candidate, Fusion};
use crate::index::{Part, Request};
use crate::query::{self, Batch, Lookup, Query};
use crate::selection::Rows;
use crate::store::Entry;
use crate::tokenize;

/// Options of a search.
#[derive(Debug, Clone)]
pub struct Search {
    /// How many items, at least 1.
    pub k: usize,
    /// Only items that fit this filter.
    pub filter: Option<Value>,
    /// Only hits with at least this score.
    pub min_score: Option<f32>,
    /// Items that are not among the hits.
    pub exclude: Vec<String>,
    /// How much a hit's score counts beside how little it is like the hits before it, from 0 to 1; nothing else counts
    /// than the score if there is none (maximal marginal relevance, Carbonell and Goldstein, SIGIR 1998).
    pub mmr: Option<f32>,
    /// Models to search with, and their weights. If empty, pictures use the first model with an image tower, texts the
    /// first with a text tower, items and vectors the first model.
    pub models: Vec<(String, f32)>,
    /// Combines the scores of several models, and those of pictures and texts.
    pub fusion: Fusion,
    /// Combines the scores of an item's references.
    pub aggregate: Aggregate,
    /// Whether the words of items count beside their vectors.
    pub words: Words,
    /// Whether hits have the vectors of their references.
    pub vectors: bool,
}

impl Search {
    /// Whether the score of an item that one list is about is the cosine with its best reference.
    fn is_cosine(&self) -> bool {
        matches!(self.fusion, Fusion::Sum | Fusion::Weighted) && self.aggregate == Aggregate::Max
    }
}

/// An item that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The item, and the reference that matched best.
    pub entry: Arc<Entry>,
    /// The item's score: by default the cosine between the query and that reference, or the weighted mean of the cosines
    /// of several models.
    pub score: f32,
    /// The models that were asked.
    pub models: Arc<[String]>,
    /// For each of them the cosine between the query and that reference.
    pub scores: Vec<f32>,
    /// The probability that the item is the right one, if such queries are calibrated and it is as likely as not that the
    /// right one is in the catalog.
    pub probability: Option<f64>,
    /// For each of them the vector of that reference, if the search asks for vectors.
    pub vectors: Vec<Vec<f32>>,
    /// The fields of the item that have words of the query.
    pub matched: Vec<String>,
}

/// The hits of each query, best first, and the time that they took.
#[derive(Debug, Default)]
pub struct Answers {
    /// The hits of each query.
    pub hits: Vec<Vec<Hit>>,
    /// The time in which the queries were encoded, all together.
    pub encoding: Duration,
    /// The time in which their vectors were looked up.
    pub searching: Duration,
}

/// Candidates of one query: row `row` of a batch that these models look up.
struct Found<'a> {
    batch: &'a Batch,
    models: Arc<[String]>,
    row: usize,
    candidates: Vec<Candidate>,
    /// The probability of each candidate, or none.
    probabilities: Vec<f64>,
    /// What the words of the query have found, if they count.
    words: Option<Arc<Ranked>>,
    /// Whether the scores are those of a second look.
    again: bool,
}

impl Engine {
    /// The best items for each query, best first. The items of a query are not among them.
    ///
    /// If words count, the items come first of which a field is the whole query; others are ordered by reciprocal ranks by
    /// their vectors and by their words. Texts that no model reads are looked up by words alone, unless hits are to differ.
    ///
    /// # Errors
    /// Those of the encoders; [`Error::Model`] when no model can look up a query, [`Error::UnknownItem`] for an item of a
    /// query, [`Error::Argument`] when k is 0, the models or vectors do not fit, or the filter cannot be understood.
    pub fn search(&self, queries: &[Query], search: &Search) -> Result<Answers> {
        self.search_by(queries, search, None)
    }

    /// Searches, and looks at the best items of each query a second time if it is said how: the query then has one part.
    pub(super) fn search_by(&self, queries: &[Query], search: &Search, look: Option<&Look>) -> Result<Answers> {
        if search.k == 0 {
            return Err(Error::argument("k must be at least 1"));
        }
        if let Some(mmr) = search.mmr {
            check_mmr(mmr, search.fusion)?;
        }
        let began = Instant::now();
        let fields = search.words.fields()?;
        let unread = |query: &Query| fields.is_some() && self.is_unread(query, search);
        let (by_words, numbers): (Vec<usize>, Vec<usize>) =
            (0..queries.len()).partition(|number| unread(&queries[*number]));
        let read: Cow<'_, [Query]> = match by_words.len() {
            0 => Cow::Borrowed(queries),
            _ => numbers.iter().map(|number| queries[*number].clone()).collect(),
        };
        let lookups = self.lookups(&read, &search.models)?;
        let batches =
            Query::encode(&read, &lookups, search.fusion.is_apart(), |id, space| self.item_vector(id, space))?;
        let encoded = Instant::now();
        let filter = search.filter.as_ref().map(Filter::parse).transpose()?;
        let state = self.current()?;
        let allowed = filter.map(|filter| self.store.select(&filter)).transpose()?;
        let ranked = |number: usize| -> Result<Option<Arc<Ranked>>> {
            let texts = fields.as_ref().map(|fields| (fields, fields.texts(&queries[number])));
            let Some((fields, texts)) = texts.filter(|(_, texts)| !texts.is_empty()) else { return Ok(None) };
            let ranked = self.ranked(&state, &texts, fields)?;
            Ok(Some(allowed.as_ref().map_or_else(|| Arc::clone(&ranked), |rows| Arc::new(ranked.among(rows)))))
        };
        let nothing = Batch::default();
        let mut found: Vec<Option<Found<'_>>> = queries.iter().map(|_| None).collect();
        for number in by_words {
            queries[number].wanted_texts().try_for_each(tokenize::check)?;
            let words = ranked(number)?;
            let candidates = words.as_ref().map_or(Ok(Vec::new()), |words| self.by_words(words, search))?;
            let (models, probabilities) = Default::default();
            found[number] =
                Some(Found { batch: &nothing, models, row: 0, candidates, probabilities, words, again: false });
        }
        for batch in &batches {
            let models: Arc<[String]> = spaces(batch).map(|space| self.name(space).to_owned()).collect();
            // A query's own items, and excluded ones, are taken out of what was found.
            let items = batch.queries.iter().map(|number| read[*number].items().len()).max().unwrap_or_default();
            let k = search.k.saturating_add(items).saturating_add(search.exclude.len());
            let k = if search.mmr.is_some() { k.saturating_mul(POOL) } else { k };
            let fits = match look {
                Some(_) => vec![None; batch.queries.len()],
                None => self.fits(&state, &read, batch, search)?,
            };
            let words = batch.queries.iter().map(|number| ranked(numbers[*number])).collect::<Result<Vec<_>>>()?;
            let worded = words.iter().any(Option::is_some);
            // The lead of the best item over the next one is part of its probability.
            let least = if fits.iter().any(Option::is_some) { k.max(2) } else { k };
            let least = if worded { depth(&state, batch, search, least) } else { least };
            let min_score = search.min_score.filter(|_| !worded && fits.iter().all(Option::is_none));
            let least_score = search.min_score.unwrap_or(f32::NEG_INFINITY);
            let least = if look.is_some() { least.max(second::DEPTH) } else { least };
            let mut all = self.candidates(&state, batch, search, least, min_score, allowed.as_ref())?;
            if let Some(look) = look {
                let part = &batch.parts[0];
                all = look.at(&state.index, part.space, &part.vectors, all, k);
            }
            for (row, ((mut candidates, fit), words)) in all.into_iter().zip(fits).zip(words).enumerate() {
                let near = candidates.len();
                if let Some(words) = &words {
                    candidates.extend(words.far(&state, (batch, row), &candidates, search, k));
                }
                let scores: Vec<f32> = candidates.iter().map(|candidate| candidate.score).collect();
                let mut probabilities = fit.map(|known| known.fit.probabilities(&scores)).unwrap_or_default();
                let order = match &words {
                    Some(words) => words.order(&candidates, near, least_score, k),
                    None => (0..near).filter(|place| scores[*place] >= least_score).take(k).collect(),
                };
                candidates = order.iter().map(|place| candidates[*place]).collect();
                if !probabilities.is_empty() {
                    probabilities = order.iter().map(|place| probabilities[*place]).collect();
                }
                let models = Arc::clone(&models);
                let number = numbers[batch.queries[row]];
                let again = look.is_some();
                found[number] = Some(Found { batch, models, row, candidates, probabilities, words, again });
            }
        }
        let hits = self.hits(&state, queries, &found.into_iter().flatten().collect::<Vec<_>>(), search)?;
        Ok(Answers { hits, encoding: encoded - began, searching: encoded.elapsed() })
    }

    /// Returns the calibration of each query of a batch that has one: of one model's cosines with the best reference.
    fn fits(
        &self,
        state: &State,
        queries: &[Query],
        batch: &Batch,
        search: &Search,
    ) -> Result<Vec<Option<Arc<Calibration>>>> {
        let of = |number: &usize| match (&batch.parts[..], queries[*number].kind()) {
            ([part], Some(kind)) if search.is_cosine() => self.calibrated(state, part.space, kind, false),
            _ => Ok(None),
        };
        batch.queries.iter().map(of).collect()
    }

    /// The best `k` candidates for each query of a batch.
    pub(super) fn candidates(
        &self,
        state: &State,
        batch: &Batch,
        search: &Search,
        k: usize,
        min_score: Option<f32>,
        allowed: Option<&Rows>,
    ) -> Result<Vec<Vec<Candidate>>> {
        let parts: Vec<Part<'_>> = batch
            .parts
            .iter()
            .map(|part| Part {
                space: part.space,
                vectors: &part.vectors,
                weights: &part.weights,
                bounded: !part.says && batch.parts.iter().any(|other| other.says),
            })
            .collect();
        state.index.search(&Request {
            parts: &parts,
            k,
            allowed,
            min_score,
            fusion: search.fusion,
            aggregate: search.aggregate,
            pool: Some(self.workers()),
        })
    }

    /// Shows candidates as hits; leaves out those that were removed since the scan.
    fn hits(&self, state: &State, queries: &[Query], found: &[Found<'_>], search: &Search) -> Result<Vec<Vec<Hit>>> {
        let rows: Vec<(i64, i64)> =
            found.iter().flat_map(|found| &found.candidates).map(|found| (found.item, found.reference)).collect();
        let mut entries = state.entries(&self.store, &rows)?.into_iter();
        let excluded: Vec<Cow<'_, str>> = search.exclude.iter().map(|id| self.spelling(id)).collect::<Result<_>>()?;
        let mut answers = Vec::with_capacity(found.len());
        for (query, found) in queries.iter().zip(found) {
            let own: Vec<Cow<'_, str>> = query.items().map(|id| self.spelling(id)).collect::<Result<_>>()?;
            let mut shown: Vec<(usize, &Candidate, Arc<Entry>)> = Vec::with_capacity(found.candidates.len());
            for (place, candidate) in found.candidates.iter().enumerate() {
                let Some(entry) = entries.next().flatten() else { continue };
                if !own.iter().chain(&excluded).any(|id| **id == entry.id) {
                    shown.push((place, candidate, entry));
                }
            }
            if let Some(mmr) = search.mmr {
                let space = found.batch.parts[0].space;
                let vectors: Vec<&[f32]> = shown.iter().map(|(_, one, _)| state.index.vector(one, space)).collect();
                let mut scores: Vec<f32> = shown.iter().map(|(_, one, _)| one.score).collect();
                // If words have ordered them, the scores do not fall: a place counts as the score of that rank.
                scores.sort_by(|a, b| b.total_cmp(a));
                let order = fusion::diverse(&scores, &vectors, search.k, mmr);
                shown = order.into_iter().map(|place| shown[place].clone()).collect();
            }
            shown.truncate(search.k);
            let show = |(place, candidate, entry)| {
                let probability = found.probabilities.get(place).copied();
                Hit { probability, ..hit(state, found, candidate, entry, search) }
            };
            answers.push(shown.into_iter().map(show).collect());
        }
        Ok(answers)
    }

    /// Returns the mean of an item's vectors in a space.
    fn item_vector(&self, id: &str, space: usize) -> Result<Vec<f32>> {
        let vectors = self.vectors(id, Some(self.name(space)))?;
        let mut sum = vec![0.0_f64; vectors.dim()];
        for row in vectors.rows() {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        let count = vectors.len().max(1) as f64;
        Ok(sum.into_iter().map(|sum| (sum / count) as f32).collect())
    }

    fn name(&self, space: usize) -> &str {
        &self.names[space]
    }

    /// Models by their numbers, each with its weight.
    fn weights(&self, models: &[(String, f32)]) -> Result<Vec<(usize, f32)>> {
        let mut weights: Vec<(usize, f32)> = Vec::with_capacity(models.len());
        for (name, weight) in models {
            let space = self.space(name)?;
            if !(weight.is_finite() && *weight > 0.0) {
                return Err(Error::argument(format!("model {name:?} cannot count {weight}: give a number above 0")));
            }
            if weights.iter().any(|(known, _)| *known == space) {
                return Err(Error::argument(format!("model {name:?} is named twice")));
            }
            weights.push((space, *weight));
        }
        Ok(weights)
    }

    /// Plans which model looks up what of the queries.
    pub(super) fn lookups(&self, queries: &[Query], models: &[(String, f32)]) -> Result<Vec<Lookup<'_>>> {
        let weights = self.weights(models)?;
        let mut lookups: Vec<Lookup<'_>> = Vec::new();
        let by = |space: usize, weight| Lookup {
            encoder: &*self.encoders[space],
            name: self.name(space),
            space,
            images: false,
            texts: false,
            items: false,
            unnamed: false,
            weight,
        };
        let images = queries.iter().any(Query::has_images);
        let texts = queries.iter().any(Query::has_texts);
        let (items, unnamed) =
            (queries.iter().any(|query| query.items().len() > 0), queries.iter().any(Query::has_unnamed));
        if weights.len() > 1 {
            let several = |&(space, weight): &(usize, f32)| Lookup {
                images: true,
                texts: self.encoders[space].about().texts,
                items: true,
                ..by(space, Some(weight))
            };
            lookups = weights.iter().map(several).collect();
            if texts && !lookups.iter().any(|by| by.texts) {
                self.reading(Some(&models[0].0))?;
            }
            if unnamed {
                return Err(Error::argument("a vector belongs to one model: name it, or give a vector of each model"));
            }
        } else {
            let model = models.first().map(|(name, _)| name.as_str());
            let mut place = |space: usize| {
                lookups.iter().position(|by| by.space == space).unwrap_or_else(|| {
                    lookups.push(by(space, None));
                    lookups.len() - 1
                })
            };
            let seeing = images.then(|| self.seeing(model)).transpose()?.map(&mut place);
            let reading = texts.then(|| self.reading(model)).transpose()?.map(&mut place);
            let first = (items || unnamed).then(|| place(weights.first().map_or(0, |(space, _)| *space)));
            match weights.first() {
                Some((space, _)) => _ = place(*space),
                None => {
                    queries.iter().flat_map(Query::named).try_for_each(|name| self.space(name).map(|s| _ = place(s)))?
                }
            }
            seeing.into_iter().for_each(|place| lookups[place].images = true);
            reading.into_iter().for_each(|place| lookups[place].texts = true);
            first.into_iter().for_each(|place| (lookups[place].items, lookups[place].unnamed) = (items, unnamed));
        }
        self.check_vectors(queries, &lookups, &weights)?;
        Ok(lookups)
    }

    /// Checks that the models which have vectors in the queries, and those that have weights, are the same.
    fn check_vectors(&self, queries: &[Query], lookups: &[Lookup<'_>], weights: &[(usize, f32)]) -> Result<()> {
        for name in queries.iter().flat_map(Query::named) {
            let space = self.space(name)?;
            if lookups.iter().all(|by| by.space != space) {
                return Err(Error::argument(format!("model {name:?} has vectors, but no weight")));
            }
        }
        for query in queries.iter().filter(|query| query.is_named_vectors()) {
            let lacks = |(space, _): &&(usize, f32)| query.named().all(|name| name != self.name(*space));
            if let Some((space, _)) = weights.iter().find(lacks) {
                return Err(Error::argument(format!("model {:?} has a weight, but no vectors", self.name(*space))));
            }
        }
        Ok(())
    }
}

/// The candidates that are looked at for each hit, if hits are to differ from each other.
const POOL: usize = 8;

fn check_mmr(mmr: f32, fusion: Fusion) -> Result<()> {
    if !(0.0..=1.0).contains(&mmr) {
        return Err(Error::argument(format!("mmr {mmr}: give a number from 0 to 1")));
    }
    if !matches!(fusion, Fusion::Sum | Fusion::Weighted) {
        return Err(Error::argument("mmr compares scores with cosines: give fusion \"weighted\" or \"sum\" with it"));
    }
    Ok(())
}

/// The numbers of the models that look up a batch, each once.
fn spaces(batch: &Batch) -> impl Iterator<Item = usize> + '_ {
    let parts = &batch.parts;
    let is_first = |place: &usize| parts[..*place].iter().all(|part| part.space != parts[*place].space);
    (0..parts.len()).filter(is_first).map(|place| parts[place].space)
}

fn hit(state: &State, found: &Found<'_>, candidate: &Candidate, entry: Arc<Entry>, search: &Search) -> Hit {
    let parts = &found.batch.parts;
    let cosine = |space: usize| {
        let parts = || parts.iter().filter(|part| part.space == space);
        let rescore = |part: &query::Part| state.index.rescore(candidate, space, part.vectors.row(found.row));
        match (parts().next(), parts().nth(1)) {
            (Some(part), None) => rescore(part),
            // Pictures and texts: the mean, as they count.
            _ => {
                let all: f32 = parts().map(|part| part.weights[found.row]).sum();
                parts().map(|part| part.weights[found.row] / all * rescore(part)).sum()
            }
        }
    };
    let vector = |space: usize| state.index.vector(candidate, space).to_vec();
    // Of one list, the best score of an item is its reference's cosine, unless there was a second look.
    let scores = if parts.len() == 1 && search.is_cosine() && !found.again {
        vec![candidate.score]
    } else {
        spaces(found.batch).map(cosine).collect()
    };
    let vectors = if search.vectors { spaces(found.batch).map(vector).collect() } else { Vec::new() };
    let models = Arc::clone(&found.models);
    let matched = found.words.as_ref().map_or_else(Vec::new, |words| words.matched(candidate.item));
    Hit { entry, score: candidate.score, models, scores, probability: None, vectors, matched }
}
