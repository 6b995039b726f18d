//! Searching: plan, encode, find candidates, show them as hits.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::calibrate::{BEHIND, behind};
use crate::encoder::Looks;
use crate::engine::Engine;
use crate::engine::calibration::Calibration;
use crate::engine::cursor::Cursor;
use crate::engine::ensemble::Ensemble;
use crate::engine::live::State;
use crate::engine::second::{self, Look};
use crate::engine::worded::{Ranked, Words, depth};
use crate::error::{Error, Result};
use crate::expand::Expand;
use crate::fusion::{self, Aggregate, Candidate, Fusion};
use crate::index::{Allowed, Effort, Part, Request};
use crate::query::{self, Batch, Kind, Query};
use crate::store::Entry;
use crate::tokenize;
use crate::vectors::Vectors;

/// Options of a search.
#[derive(Debug, Clone)]
pub struct Search {
    /// How many items, at least 1.
    pub k: usize,
    /// The end of the page of hits that these are behind.
    pub after: Option<Cursor>,
    /// Only items that fit this filter.
    pub filter: Option<Value>,
    /// Only hits with at least this score.
    pub min_score: Option<f32>,
    /// Items that are not among the hits.
    pub exclude: Vec<String>,
    /// How much a hit's score counts beside how little it is like the hits before it, from 0 to 1; nothing else counts
    /// than the score if there is none (maximal marginal relevance, Carbonell and Goldstein, SIGIR 1998).
    pub mmr: Option<f32>,
    /// Models to search with, and their weights. If empty, queries of pictures use the models whose weights were learned
    /// and find more than one model, with the weighted sum of their cosines in place of any other; or else pictures use
    /// the first model with an image tower, texts the first with a text tower, items and vectors the first model.
    pub models: Vec<(String, f32)>,
    /// Combines the scores of several models, and those of pictures and texts.
    pub fusion: Fusion,
    /// Combines the scores of an item's references.
    pub aggregate: Aggregate,
    /// Whether the vector of a picture is the mean of those of the whole and of its middles.
    pub query_crops: bool,
    /// Whether texts are looked up by phrases around them. Their words are their own.
    pub expand: Expand,
    /// Whether the words of items count beside their vectors.
    pub words: Words,
    /// How much of an approximate index is looked at.
    pub effort: Effort,
    /// Whether hits have the vectors of their references.
    pub vectors: bool,
}

impl Search {
    /// Checks the options that need nothing but each other, for so many queries.
    ///
    /// # Errors
    /// [`Error::Argument`] if one makes no sense.
    pub fn check(&self, queries: usize) -> Result<()> {
        if self.k == 0 {
            return Err(Error::argument("k must be at least 1"));
        }
        if self.after.is_some() && queries != 1 {
            return Err(Error::argument(format!(
                "after goes on with one query, and there are {queries}: search for each"
            )));
        }
        self.effort.check()?;
        let Some(mmr) = self.mmr else { return Ok(()) };
        if self.after.is_some() {
            return Err(Error::argument(
                "mmr chooses the hits of a page together, so that none follows: leave out after",
            ));
        }
        if !(0.0..=1.0).contains(&mmr) {
            return Err(Error::argument(format!("mmr {mmr}: give a number from 0 to 1")));
        }
        if !matches!(self.fusion, Fusion::Sum | Fusion::Weighted) {
            return Err(Error::argument(
                "mmr compares scores with cosines: give fusion \"weighted\" or \"sum\" with it",
            ));
        }
        Ok(())
    }

    /// Whether scores of such queries are those that calibrations are about: of one model, or of several that look up
    /// pictures alone.
    fn is_calibrated(&self, kind: Kind, models: usize) -> bool {
        let alone = models == 1 && (kind == Kind::Image || self.expand == Expand::Never);
        self.is_cosine() && (alone || (self.fusion == Fusion::Sum && kind == Kind::Image))
    }

    /// Returns how many candidates a page of hits of a query needs: its own items, and excluded ones, are taken out of what
    /// was found, and one more tells whether another page follows.
    fn needed(&self, query: &Query) -> usize {
        let all = self.k.saturating_add(query.items().len()).saturating_add(self.exclude.len());
        if self.mmr.is_some() { all.saturating_mul(POOL) } else { all.saturating_add(1) }
    }

    /// Returns the lists of candidates that begin with this page, of which each `needed` so many, or as many as there are.
    /// `list` makes those that begin with the first page, and have so many.
    fn paged(&self, needed: usize, list: impl Fn(usize) -> Result<Vec<Listed>>) -> Result<Vec<Listed>> {
        let Some(after) = &self.after else { return list(needed) };
        let mut asked = after.passed().saturating_add(needed);
        loop {
            let mut lists = list(asked)?;
            let candidates = lists.first().map_or(&[][..], |list| &list.candidates);
            let (start, all) = (after.start(candidates), candidates.len() < asked);
            match start {
                Some(start) if !all && candidates.len() - start < needed => asked = start.saturating_add(needed),
                None if !all => asked = asked.saturating_mul(FURTHER),
                _ => {
                    let start = start.unwrap_or_else(|| after.start_without(candidates));
                    lists.iter_mut().for_each(|list| list.skip(start));
                    return Ok(lists);
                }
            }
        }
    }

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
    /// For each query the end of its hits, if more follow.
    pub cursors: Vec<Option<Cursor>>,
    /// For each query the mean score of the items [`behind`] the first one, whatever filter there is; what is calibrated
    /// needs it, and other searches may lack it.
    pub behind: Vec<Option<f32>>,
    /// The time in which the queries were encoded, all together.
    pub encoding: Duration,
    /// The time in which their vectors were looked up.
    pub searching: Duration,
}

/// A page of hits, with its end if more follow.
struct Page {
    hits: Vec<Hit>,
    end: Option<Cursor>,
    /// Whether something that was found was no longer there to be shown.
    lacks: bool,
}

/// Candidates of one query: row `row` of a batch that these models look up.
struct Found<'a> {
    batch: &'a Batch,
    models: Arc<[String]>,
    row: usize,
    listed: Listed,
    /// The items that the words of the query find, if words count.
    words: Option<Arc<Ranked>>,
    /// Whether the scores are those of a second look.
    again: bool,
}

/// Candidates of a query, best first.
#[derive(Default)]
struct Listed {
    /// How many come before them, on the pages before.
    start: usize,
    candidates: Vec<Candidate>,
    /// The probability of each candidate, or none.
    probabilities: Vec<f64>,
    /// The mean score of the items behind the first one of the catalog.
    behind: Option<f32>,
    /// The length of the lists that words and vectors were fused from.
    depth: usize,
}

impl Listed {
    /// Leaves the first candidates out.
    fn skip(&mut self, count: usize) {
        self.start = count;
        self.candidates.drain(..count);
        self.probabilities.drain(..count.min(self.probabilities.len()));
    }
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
        let Some(together) = self.together(search)? else { return self.search_by(queries, search, None) };
        let is_picture = |number: &usize| queries[*number].kind() == Some(Kind::Image);
        let (pictures, others): (Vec<usize>, Vec<usize>) = (0..queries.len()).partition(is_picture);
        if others.is_empty() || pictures.is_empty() {
            return self.search_by(queries, if others.is_empty() { &together } else { search }, None);
        }
        search.check(queries.len())?;
        let mut all = Answers { hits: vec![Vec::new(); queries.len()], ..Answers::default() };
        all.cursors.resize(queries.len(), None);
        all.behind.resize(queries.len(), None);
        for (numbers, search) in [(pictures, &together), (others, search)] {
            let some: Vec<Query> = numbers.iter().map(|number| queries[*number].clone()).collect();
            let found = self.search_by(&some, search, None)?;
            let rows = found.hits.into_iter().zip(found.cursors).zip(found.behind);
            for (number, ((hits, cursor), behind)) in numbers.into_iter().zip(rows) {
                (all.hits[number], all.cursors[number], all.behind[number]) = (hits, cursor, behind);
            }
            all.encoding += found.encoding;
            all.searching += found.searching;
        }
        Ok(all)
    }

    /// Returns how pictures are searched for if weights of several models were learned and the search names no model.
    fn together(&self, search: &Search) -> Result<Option<Search>> {
        if !search.models.is_empty() || !matches!(search.fusion, Fusion::Sum | Fusion::Weighted) || self.names.len() < 2
        {
            return Ok(None);
        }
        let ensemble = self.usual(&*self.current()?)?;
        Ok(ensemble.map(|ensemble| Search { models: self.named(&ensemble), fusion: Fusion::Sum, ..search.clone() }))
    }

    /// Searches, and looks at the best items of each query a second time if it is said how, and by which models: the query
    /// then has one part for each.
    pub(super) fn search_by(
        &self,
        queries: &[Query],
        search: &Search,
        look: Option<(&Ensemble, &Look)>,
    ) -> Result<Answers> {
        let (mut all, lacking) = self.undamaged(|| self.search_once(queries, search, look))?;
        for number in lacking {
            for _ in 0..TRIES {
                let query = &queries[number..=number];
                let (mut one, lacking) = self.undamaged(|| self.search_once(query, search, look))?;
                all.hits[number] = std::mem::take(&mut one.hits[0]);
                (all.cursors[number], all.behind[number]) = (one.cursors[0].take(), one.behind[0].take());
                all.encoding += one.encoding;
                all.searching += one.searching;
                if lacking.is_empty() {
                    break;
                }
            }
        }
        Ok(all)
    }

    /// Returns answers with the numbers of those that lack hits, since others have removed or replaced what was found before
    /// it could be read.
    fn search_once(
        &self,
        queries: &[Query],
        search: &Search,
        look: Option<(&Ensemble, &Look)>,
    ) -> Result<(Answers, Vec<usize>)> {
        search.check(queries.len())?;
        if let (Some(after), [query]) = (&search.after, queries) {
            after.check(query, search)?;
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
        let stored = |id: &str, space| self.item_vector(id, space);
        let apart = search.fusion.is_apart();
        let looks = Looks { crops: search.query_crops, ..self.looks };
        let batches = Query::encode(&read, &lookups, apart, looks, &search.expand, stored)?;
        let encoded = Instant::now();
        let state = self.current()?;
        self.indexing.look(&state);
        let allowed = search.filter.as_ref().map(|filter| state.select(&self.store, filter)).transpose()?;
        let ranked = |number: usize| -> Result<Option<Arc<Ranked>>> {
            let texts = fields.as_ref().map(|fields| (fields, fields.texts(&queries[number])));
            let Some((fields, texts)) = texts.filter(|(_, texts)| !texts.is_empty()) else { return Ok(None) };
            let ranked = self.ranked(&state, &texts, fields)?;
            Ok(Some(
                allowed.as_ref().map_or_else(|| Arc::clone(&ranked), |allowed| Arc::new(ranked.among(allowed.items()))),
            ))
        };
        let nothing = Batch::default();
        let mut found: Vec<Option<Found<'_>>> = queries.iter().map(|_| None).collect();
        for number in by_words {
            queries[number].wanted_texts().try_for_each(tokenize::check)?;
            let words = ranked(number)?;
            let list = |k| {
                let candidates = words.as_ref().map_or(Ok(Vec::new()), |words| self.by_words(words, search, k))?;
                Ok(vec![Listed { candidates, ..Listed::default() }])
            };
            let listed = search.paged(search.needed(&queries[number]), list)?.pop().unwrap_or_default();
            found[number] =
                Some(Found { batch: &nothing, models: Arc::default(), row: 0, listed, words, again: false });
        }
        for batch in &batches {
            let models: Arc<[String]> = spaces(batch).map(|space| self.name(space).to_owned()).collect();
            let fits = match look {
                Some(_) => vec![None; batch.queries.len()],
                None => self.fits(&state, &read, batch, search)?,
            };
            let words = batch.queries.iter().map(|number| ranked(numbers[*number])).collect::<Result<Vec<_>>>()?;
            let needed = batch.queries.iter().map(|number| search.needed(&read[*number])).max().unwrap_or_default();
            let list = |k| self.listed(&state, batch, search, look, &fits, &words, allowed.as_deref(), k);
            for (row, (listed, words)) in search.paged(needed, list)?.into_iter().zip(&words).enumerate() {
                let (models, words) = (Arc::clone(&models), words.clone());
                found[numbers[batch.queries[row]]] =
                    Some(Found { batch, models, row, listed, words, again: look.is_some() });
            }
        }
        let found: Vec<Found<'_>> = found.into_iter().flatten().collect();
        let behind = found.iter().map(|found| found.listed.behind).collect();
        let pages = self.pages(&state, queries, &found, search)?;
        let lacking = (0..pages.len()).filter(|number| pages[*number].lacks).collect();
        let (hits, cursors) = pages.into_iter().map(|page| (page.hits, page.end)).unzip();
        Ok((Answers { hits, cursors, behind, encoding: encoded - began, searching: encoded.elapsed() }, lacking))
    }

    /// Returns the best `k` candidates of each query of a batch, in the order of its vectors and of its words if they count.
    #[expect(clippy::too_many_arguments, reason = "what a search has found out step by step")]
    fn listed(
        &self,
        state: &State,
        batch: &Batch,
        search: &Search,
        look: Option<(&Ensemble, &Look)>,
        fits: &[Option<Arc<Calibration>>],
        words: &[Option<Arc<Ranked>>],
        allowed: Option<&Allowed>,
        k: usize,
    ) -> Result<Vec<Listed>> {
        let worded = words.iter().any(Option::is_some);
        // The scores of the items behind the best one are part of its probability.
        let is_judged = look.is_some() || fits.iter().any(Option::is_some);
        let least = if is_judged { k.max(BEHIND + 1) } else { k };
        let least = if worded { depth(state, batch, search, least) } else { least };
        let min_score = search.min_score.filter(|_| !worded && fits.iter().all(Option::is_none));
        let least_score = search.min_score.unwrap_or(f32::NEG_INFINITY);
        let least = if look.is_some() { least.max(second::DEPTH) } else { least };
        let near = |least: usize, min_score: Option<f32>, allowed: Option<&Allowed>| {
            let found = self.candidates(state, batch, search, least, min_score, allowed)?;
            let Some((ensemble, look)) = look else { return Ok(found) };
            let vectors: Vec<Vectors> = batch.parts.iter().map(|part| part.vectors.clone()).collect();
            Ok::<_, Error>(look.at(&state.index, ensemble, &vectors, found, k.max(BEHIND + 1)))
        };
        let all = near(least, min_score, allowed)?;
        // Items that pass a filter are fewer, and further from the best one.
        let whole = (is_judged && allowed.is_some()).then(|| near(least, None, None)).transpose()?;
        let mut lists = Vec::with_capacity(all.len());
        for (row, ((mut candidates, fit), words)) in all.into_iter().zip(fits).zip(words).enumerate() {
            let crowd = whole.as_ref().map_or(&candidates, |whole| &whole[row]);
            let behind = behind(&crowd.iter().map(|one| one.score).collect::<Vec<f32>>());
            let near = candidates.len();
            let depth = search.after.as_ref().map_or(near, Cursor::depth);
            if let Some(words) = words {
                candidates.extend(words.far(state, (batch, row), &candidates, depth, search.aggregate, k));
            }
            let scores: Vec<f32> = candidates.iter().map(|candidate| candidate.score).collect();
            let probabilities = fit.as_ref().map(|known| known.fit.probabilities(&scores, behind)).unwrap_or_default();
            let order = match words {
                Some(words) => words.order(&candidates, depth, least_score, k),
                None => (0..near).filter(|place| scores[*place] >= least_score).take(k).collect(),
            };
            lists.push(Listed {
                start: 0,
                candidates: order.iter().map(|place| candidates[*place]).collect(),
                // There are none, or one for each candidate.
                probabilities: order.iter().filter_map(|place| probabilities.get(*place).copied()).collect(),
                behind,
                depth,
            });
        }
        Ok(lists)
    }

    /// Returns the calibration of each query of a batch that has one: of cosines with the best reference, or their weighted
    /// means. Those of phrases around texts are not calibrated.
    fn fits(
        &self,
        state: &State,
        queries: &[Query],
        batch: &Batch,
        search: &Search,
    ) -> Result<Vec<Option<Arc<Calibration>>>> {
        let of = |(row, number): (usize, &usize)| match queries[*number].kind() {
            Some(kind) if search.is_calibrated(kind, batch.parts.len()) => {
                let weights: Vec<(usize, f32)> =
                    batch.parts.iter().map(|part| (part.space, part.weights[row])).collect();
                self.calibrated(state, &Ensemble::new(&weights), kind, false)
            }
            _ => Ok(None),
        };
        batch.queries.iter().enumerate().map(of).collect()
    }

    /// The best `k` candidates for each query of a batch.
    pub(super) fn candidates(
        &self,
        state: &State,
        batch: &Batch,
        search: &Search,
        k: usize,
        min_score: Option<f32>,
        allowed: Option<&Allowed>,
    ) -> Result<Vec<Vec<Candidate>>> {
        let parts: Vec<Part<'_>> = batch
            .parts
            .iter()
            .map(|part| Part {
                space: part.space,
                vectors: &part.vectors,
                weights: &part.weights,
                bounded: !part.says && batch.parts.iter().any(|other| other.says),
                texts: part.says,
            })
            .collect();
        state.index.search(&Request {
            parts: &parts,
            k,
            allowed,
            min_score,
            fusion: search.fusion,
            aggregate: search.aggregate,
            effort: search.effort,
            pool: Some(self.workers()),
        })
    }

    /// Shows candidates as a page of hits; leaves out those that were removed or replaced since the scan.
    fn pages(&self, state: &State, queries: &[Query], found: &[Found<'_>], search: &Search) -> Result<Vec<Page>> {
        // The last candidate only tells that more hits follow: an item that is damaged must not spoil the page before it.
        let read = |(query, found): (&Query, &Found<'_>)| match search.mmr {
            Some(_) => found.listed.candidates.len(),
            None => found.listed.candidates.len().min(search.needed(query) - 1),
        };
        let counts: Vec<usize> = queries.iter().zip(found).map(read).collect();
        let candidates = found.iter().zip(&counts).flat_map(|(found, count)| &found.listed.candidates[..*count]);
        let rows: Vec<(i64, i64)> = candidates.map(|one| (one.item, one.reference)).collect();
        let mut entries = state.entries(&self.store, &rows)?.into_iter();
        let excluded: Vec<Cow<'_, str>> = search.exclude.iter().map(|id| self.spelling(id)).collect::<Result<_>>()?;
        let mut pages = Vec::with_capacity(found.len());
        for ((query, found), count) in queries.iter().zip(found).zip(counts) {
            let own: Vec<Cow<'_, str>> = query.items().map(|id| self.spelling(id)).collect::<Result<_>>()?;
            let mut shown: Vec<(usize, &Candidate, Arc<Entry>)> = Vec::with_capacity(count);
            let mut lacks = false;
            for (place, (candidate, entry)) in found.listed.candidates[..count].iter().zip(&mut entries).enumerate() {
                let Some(entry) = entry else {
                    lacks = true;
                    continue;
                };
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
            let more = shown.len() > search.k || found.listed.candidates.len() > count;
            shown.truncate(search.k);
            let end = shown.last().filter(|_| more).map(|(place, candidate, _)| {
                let seen = search.after.as_ref().map_or(0, Cursor::seen) + shown.len();
                Cursor::new(query, search, seen, found.listed.start + place + 1, found.listed.depth, candidate)
            });
            let show = |(place, candidate, entry)| {
                let probability = found.listed.probabilities.get(place).copied();
                Hit { probability, ..hit(state, found, candidate, entry, search) }
            };
            pages.push(Page { hits: shown.into_iter().map(show).collect(), end, lacks });
        }
        Ok(pages)
    }

    /// Returns the mean of an item's vectors in a space.
    pub(super) fn item_vector(&self, id: &str, space: usize) -> Result<Vec<f32>> {
        let vectors = self.vectors(id, Some(self.name(space)))?;
        let mut sum = vec![0.0_f64; vectors.dim()];
        for row in vectors.rows() {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        let count = vectors.len().max(1) as f64;
        Ok(sum.into_iter().map(|sum| (sum / count) as f32).collect())
    }

    pub(super) fn name(&self, space: usize) -> &str {
        &self.names[space]
    }
}

/// How often a query is looked up again whose hits others remove or replace meanwhile. It is looked up alone, which takes
/// less time than a batch.
const TRIES: usize = 8;
/// How many times as many candidates are looked at if the last hit of a page is not among them.
const FURTHER: usize = 16;
/// The candidates that are looked at for each hit, if hits are to differ from each other.
const POOL: usize = 8;

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
    let matched = found.words.as_ref().map_or_else(Vec::new, |words| words.matched(candidate.item, &entry));
    Hit { entry, score: candidate.score, models, scores, probability: None, vectors, matched }
}
