//! Makes an approximate segment of what a snapshot has: learns its codes, and measures how much searches must look at.

use std::sync::Arc;
use std::time::Instant;

use rayon::ThreadPool;

use crate::error::{Error, Result};
use crate::fusion::{Aggregate, Candidate, group};
use crate::index::approximate::{Approximate, Sealed};
use crate::index::cells::centers;
use crate::index::coded::{Coded, learned_rows};
use crate::index::effort::{Effort, Setting, Tuned};
use crate::index::factory::{Factory, Kind};
use crate::index::faiss::inner_product;
use crate::index::ledger::Ledger;
use crate::index::matrix::Matrix;
use crate::index::segment::{Probe, Segment};
use crate::index::snapshot::{Part, Request, Snapshot};
use crate::vectors::Vectors;

/// Lists for the square root of the rows, and from where on a graph finds the nearest ones.
const LISTS: f64 = 4.0;
const GRAPH: usize = 4096;
/// The fewest numbers of a vector of which two share a code of 4 bits.
const PAIRED: usize = 16;
/// Rows for each list that its center is learned from.
const LEARNED: usize = 32;
/// Rows that are looked up to measure recall, which nothing is learned from: they would find too much. And the items that count of each answer.
const SAMPLE: usize = 200;
const TOP: usize = 10;
/// How many times as many rows are ranked as items count.
const FURTHER: usize = 4;
/// How the measured sizes grow.
const GROWTH: f64 = 1.5;
/// The k_factors that are tried.
const FACTORS: [f32; 10] = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0];
/// Rows that are compared to tell how long one takes.
const TIMED: usize = 20_000;
/// Scores this close may stand in either order: sums differ in their last bits.
const NEAR: f32 = 1e-6;

/// How an approximate segment is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The factory string for the vectors of each space; by default lists for 4 times the square root of the rows, with
    /// codes of 4 bits for 2 numbers (product quantization, fast scan; André, Kermarrec and Le Scouarnec, VLDB 2015).
    pub factories: Option<Vec<Factory>>,
    /// The share of the exact best 10 items that searches are to find, of 1.
    pub recall: f32,
}

/// Makes an approximate segment of all references of a snapshot. `texts` has for each space vectors of texts, by which
/// searches by texts are measured; where there are none, rows less their mean stand for them.
///
/// # Errors
/// [`Error::Argument`] when there are fewer rows than a factory string needs; [`Error::Interrupted`] when it is called off.
pub fn build(snapshot: &Snapshot, plan: &Plan, texts: &[Option<Vectors>], pool: &ThreadPool) -> Result<Sealed> {
    let mut rows: Vec<Candidate> = snapshot.rows().collect();
    rows.sort_unstable_by_key(|row| (row.item, row.reference));
    let dims = snapshot.dims();
    let (mut vectors, mut coded) = (Vec::new(), Vec::new());
    for (space, dim) in dims.iter().enumerate() {
        let factory = match &plan.factories {
            Some(factories) => factories[space].clone(),
            None => chosen(rows.len(), *dim)?,
        };
        if rows.len() < factory.least_rows() {
            return Err(Error::argument(format!(
                "index \"{factory}\" is learned from at least {} references, and the catalog has {}: add more, or take \
                 fewer lists",
                factory.least_rows(),
                rows.len()
            )));
        }
        let mut data = Vec::with_capacity(rows.len() * dim);
        rows.iter().for_each(|row| data.extend_from_slice(snapshot.vector(row, space)));
        let matrix = Matrix::new(*dim, data);
        let centers =
            factory.is_plain.then(|| centers(&spread(&matrix, LEARNED * factory.lists)?, factory.lists, pool));
        let centers = centers.transpose()?;
        let centers = centers.as_ref().map(Vectors::as_slice);
        coded.push(Coded::build(&factory, *dim, &matrix, centers, pool.current_num_threads())?);
        vectors.push(matrix);
    }
    let whole = Setting { looked: rows.len(), k_factor: FACTORS[FACTORS.len() - 1], recall: None };
    let tuned = vec![Tuned { pictures: whole, texts: whole, few: 0 }; dims.len()];
    let references = rows.iter().map(|row| row.reference).collect();
    let items = rows.iter().map(|row| row.item).collect();
    let sealed = Arc::new(Sealed { references, items, vectors, coded, tuned, resident: None });
    let tuned = (0..dims.len()).map(|space| {
        let texts = texts.get(space).and_then(Option::as_ref);
        Measure::new(&sealed, space, pool)?.tuned(texts, plan.recall)
    });
    let tuned = tuned.collect::<Result<_>>()?;
    let sealed = Arc::try_unwrap(sealed).map_err(|_| Error::internal("a measured index is still in use"))?;
    Ok(Sealed { tuned, ..sealed })
}

/// The factory string for so many rows.
fn chosen(rows: usize, dim: usize) -> Result<Factory> {
    let lists = ((LISTS * (rows as f64).sqrt()) as usize).clamp(1, (rows / 39).max(1));
    let graph = if lists > GRAPH { "_HNSW32" } else { "" };
    let code = match dim {
        PAIRED.. if dim.is_multiple_of(2) => format!("PQ{}x4fs", dim / 2),
        _ => "SQ8".to_owned(),
    };
    Factory::parse(&format!("IVF{lists}{graph},{code}"), dim)
}

/// At most `count` rows, evenly spread.
fn spread(matrix: &Matrix, count: usize) -> Result<Vectors> {
    let all = matrix.len() / matrix.dim();
    let count = count.min(all);
    let rows = (0..count).flat_map(|place| matrix.row(place * all / count)).copied();
    Vectors::normalize(matrix.dim(), rows.collect())
}

/// Whether a row is among `count` of `all` that are evenly spread.
fn is_spread(row: usize, count: usize, all: usize) -> bool {
    let place = (row * count).div_ceil(all);
    place < count && place * all / count == row
}

/// Measures searches in one space.
struct Measure<'a> {
    snapshot: Snapshot,
    sealed: &'a Sealed,
    space: usize,
    pool: &'a ThreadPool,
}

/// Queries with the items of which they are, and the worst score of each exact answer.
struct Sample {
    queries: Vectors,
    items: Vec<Option<i64>>,
    bars: Vec<f32>,
    /// The items of all exact answers.
    wanted: usize,
}

impl<'a> Measure<'a> {
    fn new(sealed: &'a Arc<Sealed>, space: usize, pool: &'a ThreadPool) -> Result<Self> {
        Ok(Self { snapshot: Ledger::of(sealed)?.1, sealed, space, pool })
    }

    fn tuned(&self, texts: Option<&Vectors>, recall: f32) -> Result<Tuned> {
        let (queries, items) = self.rows()?;
        let pictures = self.setting(&self.sample(queries, items, false)?, recall, false)?;
        let (queries, items) = match texts {
            Some(texts) => (texts.clone(), vec![None; texts.len()]),
            None => self.shifted()?,
        };
        let texts = self.setting(&self.sample(queries, items, true)?, recall, true)?;
        Ok(Tuned { pictures, texts, few: self.few(&pictures)? })
    }

    /// Rows that nothing was learned from, evenly spread, with their items.
    fn rows(&self) -> Result<(Vectors, Vec<Option<i64>>)> {
        let (all, matrix) = (self.sealed.len(), &self.sealed.vectors[self.space]);
        let factory = self.sealed.coded[self.space].factory();
        let learned = [all.min(LEARNED * factory.lists), learned_rows(factory, all)];
        let is_free = |row: &usize| learned.iter().all(|count| !is_spread(*row, *count, all));
        let count = all.min(SAMPLE);
        let free = |place: usize| {
            let first = place * all / count;
            (first..all).chain(0..first).find(is_free).unwrap_or(first)
        };
        let rows: Vec<usize> = (0..count).map(free).collect();
        let data = rows.iter().flat_map(|row| matrix.row(*row)).copied().collect();
        Ok((Vectors::normalize(matrix.dim(), data)?, rows.iter().map(|row| Some(self.sealed.items[*row])).collect()))
    }

    /// The same less the mean of more of them: such vectors point as far from the rows as those of texts from pictures.
    fn shifted(&self) -> Result<(Vectors, Vec<Option<i64>>)> {
        let (queries, items) = self.rows()?;
        let many = spread(&self.sealed.vectors[self.space], TIMED)?;
        let mut mean = vec![0.0_f32; many.dim()];
        for row in many.rows() {
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value / many.len() as f32);
        }
        let shift = |row: &[f32]| -> Vec<f32> { row.iter().zip(&mean).map(|(value, mean)| value - mean).collect() };
        // A row that is the mean itself stays: it has no direction beside it.
        let rows = queries.rows().map(|row| {
            let shifted = shift(row);
            if shifted.iter().any(|value| value.abs() > NEAR) { shifted } else { row.to_vec() }
        });
        Ok((Vectors::normalize(many.dim(), rows.flatten().collect())?, items))
    }

    fn sample(&self, queries: Vectors, items: Vec<Option<i64>>, texts: bool) -> Result<Sample> {
        let segment = Approximate::of(&self.snapshot)?;
        let probe = Probe { space: self.space, dim: queries.dim(), queries: queries.as_slice(), texts };
        let each = self.snapshot.len().div_ceil(self.snapshot.items().max(1));
        let width = ((TOP + 1) * FURTHER * each).min(self.sealed.len());
        let exact = self.pool.install(|| segment.exact(&probe, queries.len(), width))?;
        let mut bars = Vec::with_capacity(queries.len());
        let mut wanted = 0;
        for (found, own) in exact.into_iter().zip(&items) {
            let others = found.into_iter().filter(|one| Some(one.item) != *own).collect();
            let top = group(others, TOP, f32::NEG_INFINITY, Aggregate::Max);
            wanted += top.len();
            bars.push(top.last().map_or(f32::INFINITY, |last| last.score));
        }
        Ok(Sample { queries, items, bars, wanted })
    }

    fn recall(&self, sample: &Sample, texts: bool, looked: usize, k_factor: f32) -> Result<f32> {
        let weights = vec![1.0; sample.queries.len()];
        let parts = [Part { space: self.space, vectors: &sample.queries, weights: &weights, bounded: false, texts }];
        let effort = Effort { nprobe: Some(looked), ef_search: Some(looked), k_factor: Some(k_factor) };
        let request = Request { effort, pool: Some(self.pool), ..Request::new(&parts, TOP + 1) };
        let mut right = 0;
        for ((found, own), bar) in self.snapshot.search(&request)?.into_iter().zip(&sample.items).zip(&sample.bars) {
            let others = found.iter().filter(|one| Some(one.item) != *own).take(TOP);
            right += others.filter(|one| one.score >= bar - NEAR).count();
        }
        Ok(right as f32 / sample.wanted.max(1) as f32)
    }

    /// The least that finds enough.
    fn setting(&self, sample: &Sample, recall: f32, texts: bool) -> Result<Setting> {
        let factory = self.sealed.coded[self.space].factory();
        let (first, most) = match factory.kind {
            Kind::Codes => (1, 1),
            Kind::Lists => (1, factory.lists),
            Kind::Graph => (TOP, self.sealed.len()),
        };
        let widest = FACTORS[FACTORS.len() - 1];
        // What the codes may lose comes on top of what the lists do. The last hundredth takes most of the lists: little is
        // asked beyond what is wanted.
        let goal = recall + (1.0 - recall) / 10.0;
        let mut looked = first;
        let mut last = self.recall(sample, texts, looked, widest)?;
        while last < goal && looked < most {
            looked = ((looked as f64 * GROWTH).ceil() as usize).min(most);
            let next = self.recall(sample, texts, looked, widest)?;
            // A graph that finds no more would be walked to its end.
            if factory.kind == Kind::Graph && next >= recall && next <= last {
                break;
            }
            last = next;
        }
        for k_factor in FACTORS {
            let found = self.recall(sample, texts, looked, k_factor)?;
            if found >= recall || k_factor == widest {
                return Ok(Setting { looked, k_factor, recall: Some(found) });
            }
        }
        unreachable!("the widest factor was tried")
    }

    /// How many rows are compared in the time that a search takes.
    fn few(&self, setting: &Setting) -> Result<usize> {
        let (queries, _) = self.rows()?;
        let segment = Approximate::of(&self.snapshot)?;
        let probe = Probe { space: self.space, dim: queries.dim(), queries: queries.as_slice(), texts: false };
        let effort =
            Effort { nprobe: Some(setting.looked), ef_search: Some(setting.looked), k_factor: Some(setting.k_factor) };
        let each = self.snapshot.len().div_ceil(self.snapshot.items().max(1));
        let width = (TOP * each + 1).min(self.sealed.len());
        let began = Instant::now();
        for query in 0..queries.len() {
            segment.candidates(&[probe], query..query + 1, width, None, &effort)?;
        }
        let search = began.elapsed().as_secs_f64() / queries.len().max(1) as f64;
        let began = Instant::now();
        let (all, mut sum) = (self.sealed.len(), 0.0);
        for place in 0..TIMED {
            let row = place.wrapping_mul(7_368_787) % all;
            sum += inner_product(queries.row(0), segment.vector(self.space, row));
        }
        // Nothing may be left out as unused.
        std::hint::black_box(sum);
        let row = began.elapsed().as_secs_f64() / TIMED as f64;
        Ok((search / row.max(1e-10)) as usize)
    }
}

impl Approximate {
    /// The only segment of a snapshot that was just made.
    fn of(snapshot: &Snapshot) -> Result<Self> {
        let sealed = snapshot.sealed().next().ok_or_else(|| Error::internal("a snapshot without an index"))?;
        Ok(Self::new(Arc::clone(sealed)))
    }
}
