//! Searching by the items' own words beside their vectors.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use crate::engine::live::State;
use crate::engine::search::Search;
use crate::engine::{Engine, reads};
use crate::error::{Error, Result};
use crate::filter::Field;
use crate::fusion::{self, Aggregate, Candidate, Fusion, Placed};
use crate::query::{Batch, Part, Query};
use crate::selection::Rows;
use crate::store::Entry;
use crate::store::words::{Found, has_matched};
use crate::words::Phrase;

/// The least number of items that each of the two lists contributes.
const DEPTH: usize = 100;
/// Items and references of the lists of words that are kept in memory: about 20 MB.
const REMEMBERED: usize = 1 << 19;
/// Lists of words that are kept in memory.
const LISTS: usize = 4096;
/// Items that have less of a query's words than this share of what the best has, by weight, are ranked by their vectors
/// alone: ranks tell little apart, so that an item with half of the words would pass the one that has them all.
const OF_BEST: f64 = 0.9;
/// So are those that have less than this share of all of its words: the word that no item has was the one that mattered.
/// Both shares are measured by `benches/words.py`.
const OF_ALL: f64 = 0.5;
/// The fields whose words count by default.
const FIELDS: [&str; 3] = ["id", "label", "text"];
/// The most fields.
const MOST: usize = 32;

/// Whether the words of items count beside their vectors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Words {
    /// Those of ids, labels and texts count for queries that are texts alone.
    #[default]
    Auto,
    /// They do not count.
    Never,
    /// Those of ids, labels and texts count for every query that has a text.
    Always,
    /// Those of these fields count for every query that has a text: `id`, `label`, `text`, or keys of the metadata with
    /// dots that lead into objects.
    In(Vec<String>),
}

/// The fields that a search looks into.
#[derive(Clone)]
pub(super) struct Fields {
    names: Arc<[String]>,
    fields: Arc<[Field]>,
    /// Whether they count for texts that stand beside other parts of a query.
    beside: bool,
}

impl Words {
    /// The fields that count; none if words do not.
    pub(super) fn fields(&self) -> Result<Option<Fields>> {
        let names: Vec<String> = match self {
            Self::Never => return Ok(None),
            Self::Auto | Self::Always => FIELDS.map(str::to_owned).into(),
            Self::In(names) => names.clone(),
        };
        if names.is_empty() || names.len() > MOST {
            return Err(Error::argument(format!("words: {} fields; give 1 to {MOST}, or False", names.len())));
        }
        let field = |name: &String| {
            Field::parse(name).map_err(|_| {
                Error::argument(format!("words: {name:?} is no field: give id, label, text or a key of the metadata"))
            })
        };
        let fields = names.iter().map(field).collect::<Result<_>>()?;
        Ok(Some(Fields { names: names.into(), fields, beside: *self != Self::Auto }))
    }
}

impl Fields {
    /// The texts of a query whose words count; empty if none do.
    pub(super) fn texts<'a>(&self, query: &'a Query) -> Vec<&'a str> {
        if self.beside || query.is_texts() { query.wanted_texts().collect() } else { Vec::new() }
    }
}

/// The items that the words of a query find, with their ranks.
pub(super) struct Ranked {
    fields: Fields,
    /// The whole query in both of its forms, if it is one text.
    whole: Option<[String; 2]>,
    found: Found,
    /// How many of the first items of `found.words` have enough of the query's words. That is the rank of each of them:
    /// what many have alike brings none of them far forward.
    enough: usize,
    /// The items of `found.words` in the order of their rows, with their places there.
    places: Vec<(i64, usize)>,
    /// The references of all items that are found, in the order of the items' rows.
    references: Arc<[Candidate]>,
}

impl Ranked {
    fn new(fields: &Fields, whole: Option<[String; 2]>, found: Found, references: Arc<[Candidate]>) -> Self {
        let least = found.words.first().map_or(0.0, |best| OF_BEST * best.score).max(OF_ALL * found.asked);
        let enough = found.words.partition_point(|worded| worded.score >= least);
        let mut places: Vec<(i64, usize)> = found.words.iter().map(|worded| worded.item).zip(0..).collect();
        places.sort_unstable();
        Self { fields: fields.clone(), whole, found, enough, places, references }
    }

    /// The same among these items.
    pub(super) fn among(&self, allowed: &Rows) -> Self {
        let of = |list: &Vec<i64>| list.iter().filter(|item| allowed.contains(**item)).copied().collect();
        let words = self.found.words.iter().filter(|worded| allowed.contains(worded.item)).copied().collect();
        let (spellings, asked) = (self.found.spellings.clone(), self.found.asked);
        let found = Found { whole: self.found.whole.each_ref().map(of), words, spellings, asked };
        Self::new(&self.fields, self.whole.clone(), found, Arc::clone(&self.references))
    }

    fn place(&self, item: i64) -> Option<usize> {
        self.places.binary_search_by_key(&item, |(item, _)| *item).ok().map(|at| self.places[at].1)
    }

    /// The rank of an item by its words, if it has enough of them.
    fn rank(&self, item: i64) -> Option<usize> {
        self.place(item).filter(|place| *place < self.enough).map(|_| self.enough)
    }

    /// The items that have enough words if their rank is no more than `rank`, best first.
    fn best(&self, rank: usize) -> impl Iterator<Item = i64> {
        let count = if self.enough <= rank { self.enough } else { 0 };
        self.found.words[..count].iter().map(|worded| worded.item)
    }

    /// The number of the list of whole fields that has an item, if one has.
    fn tier(&self, item: i64) -> Option<usize> {
        self.found.whole.iter().position(|tier| tier.binary_search(&item).is_ok())
    }

    /// The references of an item.
    fn references(&self, item: i64) -> &[Candidate] {
        let start = self.references.partition_point(|one| one.item < item);
        let count = self.references[start..].partition_point(|one| one.item == item);
        &self.references[start..start + count]
    }

    /// Returns the items that may be among the best `k` although the list of the vectors, `near`, ends before them, best
    /// first. The list of the words counts up to rank `depth`.
    pub(super) fn far(
        &self,
        state: &State,
        (batch, row): (&Batch, usize),
        near: &[Candidate],
        depth: usize,
        aggregate: Aggregate,
        k: usize,
    ) -> Vec<Candidate> {
        if near.len() == state.index.items() {
            return Vec::new();
        }
        let mut known: Vec<i64> = near.iter().map(|candidate| candidate.item).collect();
        known.sort_unstable();
        let is_far = |item: &i64| known.binary_search(item).is_err();
        let mut items: Vec<i64> = Vec::new();
        for tier in &self.found.whole {
            let far: Vec<i64> = tier.iter().copied().filter(is_far).collect();
            // What is near has better scores.
            if tier.len() - far.len() < k {
                items.extend(far);
            }
        }
        items.extend(self.best(depth).filter(|item| is_far(item) && self.tier(*item).is_none()));
        let score = |candidate: &Candidate| {
            let parts = batch.parts.iter();
            let score =
                |part: &Part| part.weights[row] * state.index.rescore(candidate, part.space, part.vectors.row(row));
            Candidate { score: parts.map(score).sum(), ..*candidate }
        };
        let scored = items.iter().flat_map(|item| self.references(*item)).map(score).collect();
        fusion::group(scored, usize::MAX, f32::NEG_INFINITY, aggregate)
    }

    /// Returns the places of the best `k` candidates, best first: those of which a field is the whole query, then those of
    /// which one has the same words, each by their scores; and the others by reciprocal ranks in the list of the vectors
    /// and in that of the words, each of `depth` items: the first candidates, and what the first page has looked at. None
    /// has a score below `min_score`.
    pub(super) fn order(&self, found: &[Candidate], depth: usize, min_score: f32, k: usize) -> Vec<usize> {
        let mut tiers: [Vec<usize>; 2] = Default::default();
        let (mut others, mut placed, mut unworded) = (Vec::new(), Vec::new(), 0);
        for (place, candidate) in found.iter().enumerate().filter(|(_, candidate)| candidate.score >= min_score) {
            if let Some(tier) = self.tier(candidate.item) {
                tiers[tier].push(place);
                continue;
            }
            // Behind both lists an item has no words, on every page.
            let by_words = self.rank(candidate.item).filter(|rank| place < depth || *rank <= depth);
            unworded += usize::from(by_words.is_none());
            // No more of these can be among the best.
            if by_words.is_some() || unworded <= k {
                others.push(place);
                placed.push(Placed { candidate: *candidate, by_vectors: place.min(depth) + 1, by_words });
            }
        }
        let others = fusion::by_both(&placed).into_iter().map(|place| others[place]);
        tiers.into_iter().flatten().chain(others).take(k).collect()
    }

    /// The names of the fields of an item in the row `item` that have words of the query.
    pub(super) fn matched(&self, item: i64, entry: &Entry) -> Vec<String> {
        let whole = self.whole.as_ref().filter(|_| self.tier(item).is_some());
        if whole.is_none() && self.place(item).is_none() {
            return Vec::new();
        }
        let fields = self.fields.names.iter().zip(&*self.fields.fields);
        let has = |(_, field): &(&String, &Field)| has_matched(entry, field, &self.found.spellings, whole);
        fields.filter(has).map(|(name, _)| name.clone()).collect()
    }
}

/// The texts and the fields that words are looked up by.
type Asked = (Vec<String>, Arc<[String]>);

/// The lists of words since the last change.
#[derive(Default)]
pub(super) struct Remembered {
    lists: HashMap<Asked, Arc<Ranked>>,
    items: usize,
}

impl Engine {
    /// Whether no model reads the texts of a query, so that their words alone can be looked up. Hits can only differ from
    /// each other by their vectors.
    pub(super) fn is_unread(&self, query: &Query, search: &Search) -> bool {
        query.is_texts()
            && search.models.is_empty()
            && search.mmr.is_none()
            && !self.encoders.iter().any(|encoder| reads(&**encoder))
    }

    /// The items that have words of these texts in these fields.
    pub(super) fn ranked(&self, state: &State, texts: &[&str], fields: &Fields) -> Result<Arc<Ranked>> {
        let key = (texts.iter().map(|text| (*text).to_owned()).collect(), Arc::clone(&fields.names));
        let known = || state.words.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ranked) = known().lists.get(&key) {
            return Ok(Arc::clone(ranked));
        }
        let phrase = Phrase::new(texts);
        let found = self.store.find_words(&phrase, &fields.fields, state.index.items())?;
        let items = || found.words.iter().map(|worded| worded.item);
        let rows: Rows = found.whole.iter().flatten().copied().chain(items()).collect();
        let mut references: Vec<Candidate> = match rows.is_empty() {
            true => Vec::new(),
            false => state.index.rows().filter(|one| rows.contains(one.item)).collect(),
        };
        references.sort_unstable_by_key(|one| (one.item, one.reference));
        let ranked = Arc::new(Ranked::new(fields, phrase.whole, found, references.into()));
        let mut known = known();
        let whole = ranked.found.whole.iter().map(Vec::len).sum::<usize>();
        let items = ranked.places.len() + whole + ranked.references.len();
        if known.items + items > REMEMBERED || known.lists.len() == LISTS {
            *known = Remembered::default();
        }
        if items <= REMEMBERED && known.lists.insert(key, Arc::clone(&ranked)).is_none() {
            known.items += items;
        }
        Ok(ranked)
    }

    /// The best `k` items by words alone: in the order of [`Ranked::order`], with the score 0.
    pub(super) fn by_words(&self, ranked: &Ranked, search: &Search, k: usize) -> Result<Vec<Candidate>> {
        if search.min_score.is_some_and(|least| least > 0.0) {
            return Ok(Vec::new());
        }
        let mut seen = HashSet::new();
        let words = ranked.found.words.iter().map(|worded| worded.item);
        let all = ranked.found.whole.iter().flatten().copied().chain(words);
        let items: Vec<i64> = all.filter(|item| seen.insert(*item)).take(k).collect();
        let references = self.store.first_references(&items)?;
        let candidate = |(item, reference): (i64, Option<i64>)| {
            Some(Candidate { item, reference: reference?, score: 0.0, segment: 0, row: 0 })
        };
        Ok(items.into_iter().zip(references).filter_map(candidate).collect())
    }
}

/// How many items of a batch are looked up by vectors so that `k` of them can be fused with those that words find.
pub(super) fn depth(state: &State, batch: &Batch, search: &Search, k: usize) -> usize {
    match search.fusion {
        Fusion::Sum => k.max(DEPTH),
        Fusion::Weighted if batch.parts.len() == 1 => k.max(DEPTH),
        // A score of these is one among all.
        Fusion::Weighted | Fusion::ReciprocalRank { .. } | Fusion::Distribution => k.max(state.index.items()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::words::Worded;

    fn fields(words: Words) -> Fields {
        words.fields().unwrap().unwrap()
    }

    #[test]
    fn items_with_enough_words_share_a_rank() {
        let words = [(7, 3.0), (2, 2.8), (9, 2.7), (4, 2.6)].map(|(item, score)| Worded { item, score });
        let found = Found { whole: [vec![5], Vec::new()], words: words.into(), ..Found::default() };
        let ranked = Ranked::new(&fields(Words::Auto), None, found, [].into());
        let ranks = |ranked: &Ranked| [7, 2, 9, 4, 5].map(|item| ranked.rank(item));
        assert_eq!(ranks(&ranked), [Some(3), Some(3), Some(3), None, None]);
        assert_eq!([2, 3, 4].map(|rank| ranked.best(rank).count()), [0, 3, 3]);
        let few = ranked.among(&[2, 4].into_iter().collect());
        assert_eq!(ranks(&few), [None, Some(2), None, Some(2), None]);
        assert!(few.found.whole[0].is_empty());
        let less = Found { asked: 5.7, ..few.found };
        assert_eq!(ranks(&Ranked::new(&fields(Words::Auto), None, less, [].into())), [None; 5]);
    }

    #[test]
    fn hits_name_the_fields_that_have_words() {
        let entry = |text: &str| Entry {
            id: "Red-1".into(),
            label: Some("bear".into()),
            text: Some(text.into()),
            metadata: r#"{"size": {"name": ["big bear"]}}"#.into(),
            reference: String::new(),
            digest: [0; 32],
            view: 0,
        };
        let found = || Found {
            whole: [vec![5], Vec::new()],
            words: vec![Worded { item: 7, score: 1.0 }],
            spellings: ["bear".to_owned()].into(),
            asked: 1.0,
        };
        let ranked = Ranked::new(&fields(Words::Auto), Some(["red-1".into(), "red 1".into()]), found(), [].into());
        assert_eq!(ranked.matched(7, &entry("a brown bear")).join("+"), "label+text");
        assert_eq!(ranked.matched(5, &entry("RED 1")).join("+"), "id+label+text");
        assert_eq!(ranked.matched(6, &entry("bear")), [""; 0]);
        let names = ["size.name", "size", "size.other", "id"].map(str::to_owned);
        let ranked = Ranked::new(&fields(Words::In(names.into())), None, found(), [].into());
        assert_eq!(ranked.matched(7, &entry("")).join("+"), "size.name+size");
    }

    #[test]
    fn fields_are_named_by_the_grammar_of_filters() {
        let fields = |names: &[&str]| Words::In(names.iter().map(|name| (*name).to_owned()).collect()).fields();
        assert!(fields(&["label", "size.height"]).unwrap().is_some());
        assert!(Words::Never.fields().unwrap().is_none());
        assert_eq!(&*Words::Auto.fields().unwrap().unwrap().names, FIELDS);
        for bad in [&[][..], &[""], &["a..b"], &["label"; 33]] {
            assert!(fields(bad).is_err(), "{bad:?}");
        }
    }
}
