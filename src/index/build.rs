//! Makes an approximate segment of what a snapshot has: learns its codes, and measures how much searches must look at.

use std::iter;
use std::sync::Arc;
use std::time::Instant;

use rayon::ThreadPool;

use crate::error::{Error, Result};
use crate::fusion::{Aggregate, Candidate, group};
use crate::index::approximate::{Approximate, Sealed};
use crate::index::budget::{chosen, told, too_little};
use crate::index::cells::{MOST_LEARNED, centers, gathered};
use crate::index::coded::{Coded, learned_rows};
use crate::index::effort::{Effort, Look, RARE, Setting, Tuned};
use crate::index::factory::{Factory, Kind};
use crate::index::faiss::inner_product;
use crate::index::file::IndexFile;
use crate::index::ledger::Ledger;
use crate::index::matrix::Matrix;
use crate::index::scan::width;
use crate::index::segment::{Probe, Segment, Selected};
use crate::index::snapshot::{Part, Request, Snapshot};
use crate::random::Random;
use crate::vectors::Vectors;

/// Rows that are looked up to measure recall, at most, and one in so many. Nothing is learned from them: they would find too
/// much.
const SAMPLE: usize = 800;
const SPARSE: usize = 20;
/// The items that count of each answer.
const TOP: usize = 10;
/// Rows that stand for texts.
const TEXTS: usize = 200;
/// The parts of their vectors: one direction that all of them share, for the texts of a model lie apart from its pictures
/// (Liang et al., Mind the Gap, NeurIPS 2022), that of a row, and one by chance.
const SHARED: f32 = 0.85;
const OWN: f32 = 0.35;
/// Rows with another item at this cosine are left out, unless most are so: copies are found sooner than others.
const COPY: f32 = 0.995;
/// How many times as many rows are ranked as items count.
const FURTHER: usize = 4;
/// How the measured sizes grow.
const GROWTH: f64 = 1.5;
/// The k_factors that are tried.
const FACTORS: [f32; 12] = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0, 128.0];
/// Mixes the bits of a number: 2^64 by the golden ratio.
const MIXED: u64 = 0x9e37_79b9_7f4a_7c15;
/// Rows that are compared to tell how long one takes.
const TIMED: usize = 20_000;
/// Scores this close may stand in either order: sums differ in their last bits.
const NEAR: f32 = 1e-6;

/// How an approximate segment is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The factory string for the vectors of each space; by default lists for the rows' power of 0.65, with codes of 4 bits
    /// for 2 numbers (product quantization, fast scan; André, Kermarrec and Le Scouarnec, VLDB 2015), or for more of them if
    /// memory is short.
    pub factories: Option<Vec<Factory>>,
    /// Bytes of memory that it may take, without pages of its file; by default as many as it needs.
    pub memory: Option<usize>,
    /// The share of the exact best 10 items that searches are to find, of 1.
    pub recall: f32,
}

/// The texts of one space, by which searches by texts are measured.
#[derive(Debug, Clone)]
pub enum Texts {
    /// Nothing reads texts.
    Unread,
    /// None can be had: vectors that lie as far from the rows stand for them.
    Unknown,
    /// Their vectors.
    Known(Vectors),
}

/// Makes an approximate segment of all references of a snapshot, with the texts of each space. The vectors go to its `file`,
/// if there is one, and are read from there.
///
/// # Errors
/// [`Error::Argument`] when there are fewer rows than a factory string needs, and when the memory is too small for the
/// recall; [`Error::Io`] when the file cannot be written; [`Error::Interrupted`] when it is called off.
pub fn build(
    snapshot: &Snapshot,
    plan: &Plan,
    texts: &[Texts],
    pool: &ThreadPool,
    mut file: Option<&mut IndexFile>,
) -> Result<Sealed> {
    let mut rows: Vec<Candidate> = snapshot.rows().collect();
    rows.sort_unstable_by_key(|row| (row.item, row.reference));
    let dims = snapshot.dims();
    let all: usize = dims.iter().sum();
    let (mut vectors, mut coded) = (Vec::new(), Vec::new());
    for (space, dim) in dims.iter().enumerate() {
        let factory = match &plan.factories {
            Some(factories) => factories[space].clone(),
            None => {
                let memory = plan.memory.map(|memory| memory / all * dim);
                chosen(rows.len(), *dim, memory)?
            }
        };
        if rows.len() < factory.least_rows() {
            return Err(Error::argument(format!(
                "index \"{factory}\" is learned from at least {} references, and the catalog has {}: {}",
                factory.least_rows(),
                rows.len(),
                factory.cure()
            )));
        }
        let mut of_space = rows.iter().map(|row| snapshot.vector(row, space));
        let matrix = match &mut file {
            Some(file) => file.add(*dim, of_space)?,
            None => {
                let mut data = Vec::with_capacity(rows.len() * dim);
                of_space.by_ref().for_each(|row| data.extend_from_slice(row));
                Matrix::new(*dim, data)
            }
        };
        let learned = || spread(&matrix, MOST_LEARNED * factory.lists);
        let centers = factory.is_plain.then(|| centers(&learned()?, factory.lists, pool)).transpose()?;
        let centers = centers.as_ref().map(Vectors::as_slice);
        coded.push(Coded::build(&factory, *dim, &matrix, centers, pool.current_num_threads())?);
        vectors.push(matrix);
    }
    let whole =
        Setting { looked: rows.len(), k_factor: FACTORS[FACTORS.len() - 1], recall: None, rare: [None; RARE.len()] };
    let tuned = vec![Tuned { pictures: whole, texts: whole, few: 0, width: 0 }; dims.len()];
    let references = rows.iter().map(|row| row.reference).collect();
    let items = rows.iter().map(|row| row.item).collect();
    let sealed = Arc::new(Sealed { references, items, vectors, coded, tuned, resident: None, written: None });
    let tuned = (0..dims.len()).map(|space| Measure::new(&sealed, space, pool)?.tuned(&texts[space], plan.recall));
    let tuned = tuned.collect::<Result<Vec<_>>>()?;
    let sealed = Arc::try_unwrap(sealed).map_err(|_| Error::internal("a measured index is still in use"))?;
    let sealed = Sealed { tuned, ..sealed };
    check_memory(&sealed, plan).map(|()| sealed)
}

/// Refuses an index that takes more memory than it may, or finds less by the codes that fit into it.
fn check_memory(sealed: &Sealed, plan: &Plan) -> Result<()> {
    let Some(memory) = plan.memory else { return Ok(()) };
    let takes = sealed.takes();
    let named: Vec<&str> = sealed.factories().collect();
    let named = named.join(" + ");
    if takes > memory {
        return Err(too_little(plan.memory, &format!("{named} takes {}", told(takes))));
    }
    let settings = sealed.tuned.iter().flat_map(|tuned| [tuned.pictures, tuned.texts]);
    let found = settings.filter_map(|setting| setting.recall).fold(1.0, f32::min);
    if found < plan.recall {
        let reason =
            format!("{named}, which fits, finds {found:.3} of the best 10, and recall {} is wanted", plan.recall);
        return Err(too_little(plan.memory, &reason));
    }
    Ok(())
}

/// At most `count` rows, evenly spread.
fn spread(matrix: &Matrix, count: usize) -> Result<Vectors> {
    let all = matrix.len();
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
    /// The items of each exact answer.
    wanted: Vec<usize>,
    /// The rows that may be found, if these are not all.
    among: Option<Among>,
}

/// One bit for each row.
struct Among {
    bits: Vec<u8>,
    len: usize,
}

impl Among {
    /// The rows of one in so many items, by chance.
    fn one_in(number: usize, items: &[i64]) -> Self {
        let mut bits = vec![0; items.len().div_ceil(8)];
        let is_chosen = |item: i64| (item.cast_unsigned().wrapping_mul(MIXED) >> 32).is_multiple_of(number as u64);
        let rows = (0..items.len()).filter(|row| is_chosen(items[*row]));
        let len = rows.inspect(|row| bits[row / 8] |= 1 << (row % 8)).count();
        Self { bits, len }
    }

    fn selected(&self) -> Selected<'_> {
        Selected { bits: &self.bits, len: self.len }
    }
}

/// The share of the exact answers that is found.
struct Recall {
    mean: f32,
    /// The mean less its standard error: other queries find as much in five of six cases.
    least: f32,
}

impl Recall {
    fn of(shares: &[f32]) -> Self {
        let count = shares.len().max(1) as f32;
        let mean = shares.iter().sum::<f32>() / count;
        let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f32>() / count;
        Self { mean, least: mean - (variance / count).sqrt() }
    }
}

impl<'a> Measure<'a> {
    fn new(sealed: &'a Arc<Sealed>, space: usize, pool: &'a ThreadPool) -> Result<Self> {
        Ok(Self { snapshot: Ledger::of(sealed)?.1, sealed, space, pool })
    }

    fn tuned(&self, texts: &Texts, recall: f32) -> Result<Tuned> {
        let (queries, items) = self.rows((self.sealed.len() / SPARSE).clamp(TEXTS, SAMPLE))?;
        let pictures = self.setting_for(queries, items, recall, false)?;
        let texts = match texts {
            Texts::Unread => pictures,
            Texts::Unknown => {
                let (queries, items) = self.apart()?;
                self.setting_for(queries, items, recall, true)?
            }
            Texts::Known(texts) => self.setting_for(texts.clone(), vec![None; texts.len()], recall, true)?,
        };
        Ok(Tuned { pictures, texts, few: self.few(&pictures)?, width: width(&self.snapshot, TOP) })
    }

    /// The least that finds enough, of all items and of a few.
    fn setting_for(&self, queries: Vectors, items: Vec<Option<i64>>, recall: f32, texts: bool) -> Result<Setting> {
        let factory = self.sealed.coded[self.space].factory();
        let rare = match factory.kind {
            Kind::Lists => RARE.map(|number| Among::one_in(number, &self.sealed.items)),
            Kind::Codes | Kind::Graph => RARE.map(|_| Among { bits: Vec::new(), len: 0 }),
        };
        let least = Look { looked: if factory.kind == Kind::Graph { TOP } else { 1 }, k_factor: FACTORS[0] };
        let mut samples = self.samples(queries, items, texts, rare)?.into_iter();
        let whole = samples.next().ok_or_else(|| Error::internal("nothing to measure with"))?;
        let mut setting = self.setting(&whole, recall, texts, least)?;
        let mut last = Look { looked: setting.looked, k_factor: setting.k_factor };
        for (place, sample) in samples.enumerate() {
            let Setting { looked, k_factor, .. } = self.setting(&sample, recall, texts, last)?;
            last = Look { looked, k_factor };
            setting.rare[place] = Some(last);
        }
        Ok(setting)
    }

    /// Rows that nothing was learned from, evenly spread, with their items.
    fn rows(&self, count: usize) -> Result<(Vectors, Vec<Option<i64>>)> {
        let (all, matrix) = (self.sealed.len(), &self.sealed.vectors[self.space]);
        let factory = self.sealed.coded[self.space].factory();
        let learned = [all.min(MOST_LEARNED * factory.lists), learned_rows(factory, all)];
        let is_free = |row: &usize| learned.iter().all(|count| !is_spread(*row, *count, all));
        let count = all.min(count);
        let free = |place: usize| {
            let first = place * all / count;
            (first..all).chain(0..first).find(is_free).unwrap_or(first)
        };
        let rows: Vec<usize> = (0..count).map(free).collect();
        let data = rows.iter().flat_map(|row| matrix.row(*row)).copied().collect();
        Ok((Vectors::normalize(matrix.dim(), data)?, rows.iter().map(|row| Some(self.sealed.items[*row])).collect()))
    }

    /// Vectors about some rows that lie apart from all of them, as those of texts do.
    fn apart(&self) -> Result<(Vectors, Vec<Option<i64>>)> {
        let (queries, items) = self.rows(TEXTS)?;
        let dim = queries.dim();
        let mut random = Random::plain(0);
        let mut direction = || Vectors::normalize(dim, random.direction(dim));
        let shared = direction()?;
        let rest = (1.0 - SHARED * SHARED - OWN * OWN).sqrt();
        let mut data = Vec::with_capacity(queries.as_slice().len());
        for row in queries.rows() {
            let own = direction()?;
            let parts = shared.row(0).iter().zip(row).zip(own.row(0));
            data.extend(parts.map(|((shared, row), own)| SHARED * shared + OWN * row + rest * own));
        }
        Ok((Vectors::normalize(dim, data)?, items))
    }

    /// Samples of all rows, and of the rare ones if they are enough to tell lists from codes.
    fn samples(
        &self,
        queries: Vectors,
        items: Vec<Option<i64>>,
        texts: bool,
        rare: [Among; RARE.len()],
    ) -> Result<Vec<Sample>> {
        let segment = Approximate::of(&self.snapshot)?;
        let probe = Probe { space: self.space, dim: queries.dim(), queries: queries.as_slice(), texts };
        let is_enough = |among: &Among| self.widest(among.len) > FACTORS[0];
        let among: Vec<Option<Among>> = iter::once(None).chain(rare.into_iter().filter(is_enough).map(Some)).collect();
        let all = self.sealed.len();
        let width = FURTHER * (TOP + 1) * all.div_ceil(self.snapshot.items().max(1));
        let selections: Vec<(Option<Selected<'_>>, usize)> = (among.iter().map(Option::as_ref))
            .map(|among| (among.map(Among::selected), width.min(among.map_or(all, |among| among.len))))
            .collect();
        let exact = self.pool.install(|| segment.exact(&probe, queries.len(), &selections))?;
        let sample = |(exact, among)| Self::sample(&queries, &items, exact, among);
        exact.into_iter().zip(among).map(sample).collect()
    }

    fn sample(
        queries: &Vectors,
        items: &[Option<i64>],
        exact: Vec<Vec<Candidate>>,
        among: Option<Among>,
    ) -> Result<Sample> {
        let others = exact.into_iter().zip(items).map(|(found, own)| {
            let others = found.into_iter().filter(|one| Some(one.item) != *own).collect();
            group(others, TOP, f32::NEG_INFINITY, Aggregate::Max)
        });
        let others: Vec<Vec<Candidate>> = others.collect();
        let is_copy = |top: &[Candidate]| top.first().is_some_and(|best| best.score > COPY);
        let copies = others.iter().filter(|top| is_copy(top)).count();
        let is_kept = |place: &usize| 2 * copies > others.len() || !is_copy(&others[*place]);
        let mut kept: Vec<usize> = (0..others.len()).filter(is_kept).collect();
        if among.is_some() {
            let each = kept.len().div_ceil(TEXTS).max(1);
            kept = kept.into_iter().step_by(each).collect();
        }
        let bar = |place: &usize| others[*place].last().map_or(f32::INFINITY, |last| last.score);
        Ok(Sample {
            queries: gathered(queries, &kept)?,
            items: kept.iter().map(|place| items[*place]).collect(),
            bars: kept.iter().map(bar).collect(),
            wanted: kept.iter().map(|place| others[*place].len()).collect(),
            among,
        })
    }

    /// The largest factor that is tried for so many rows that may be found: by a larger one most are compared.
    fn widest(&self, len: usize) -> f32 {
        let width = width(&self.snapshot, TOP + 1) as f32;
        let is_some = |factor: &&f32| 2.0 * width * **factor < len as f32;
        FACTORS.iter().rev().find(is_some).copied().unwrap_or(FACTORS[0])
    }

    fn recall(&self, sample: &Sample, texts: bool, looked: usize, k_factor: f32) -> Result<Recall> {
        let effort = Effort { nprobe: Some(looked), ef_search: Some(looked), k_factor: Some(k_factor) };
        let mut shares = Vec::with_capacity(sample.bars.len());
        // Within the pool, for a batch is shared out only if it takes long, which is not known yet.
        let found = self.pool.install(|| self.found(sample, texts, effort))?;
        for (((found, own), bar), wanted) in found.iter().zip(&sample.items).zip(&sample.bars).zip(&sample.wanted) {
            let others = found.iter().filter(|one| Some(one.item) != *own).take(TOP);
            let right = others.filter(|one| one.score >= bar - NEAR).count();
            shares.push(if *wanted == 0 { 1.0 } else { right as f32 / *wanted as f32 });
        }
        Ok(Recall::of(&shares))
    }

    /// Searches for each query of a sample.
    fn found(&self, sample: &Sample, texts: bool, effort: Effort) -> Result<Vec<Vec<Candidate>>> {
        let queries = &sample.queries;
        let Some(among) = &sample.among else {
            let weights = vec![1.0; queries.len()];
            let parts = [Part { space: self.space, vectors: queries, weights: &weights, bounded: false, texts }];
            let request = Request { effort, pool: Some(self.pool), ..Request::new(&parts, TOP + 1) };
            return self.snapshot.search(&request);
        };
        // A search of the snapshot would compare each of few rows.
        let segment = Approximate::of(&self.snapshot)?;
        let probe = Probe { space: self.space, dim: queries.dim(), queries: queries.as_slice(), texts };
        let width = width(&self.snapshot, TOP + 1).min(among.len);
        let best = segment.candidates(&[probe], 0..queries.len(), width, Some(among.selected()), &effort)?;
        Ok(segment.listed(&best, width).map(|found| group(found, TOP + 1, f32::NEG_INFINITY, Aggregate::Max)).collect())
    }

    /// The least that finds enough, from `least` on.
    fn setting(&self, sample: &Sample, recall: f32, texts: bool, least: Look) -> Result<Setting> {
        let factory = self.sealed.coded[self.space].factory();
        let most = match factory.kind {
            Kind::Codes => 1,
            Kind::Lists => factory.lists,
            Kind::Graph => self.sealed.len(),
        };
        let first = least.looked;
        let widest = match &sample.among {
            Some(among) => self.widest(among.len).max(least.k_factor),
            None => FACTORS[FACTORS.len() - 1],
        };
        // What the codes may lose comes on top of what the lists do. The last hundredth takes most of the lists: little is
        // asked beyond what is wanted.
        let goal = recall + (1.0 - recall) / 10.0;
        let (mut looked, mut failed) = (first, first);
        let mut last = self.recall(sample, texts, looked, widest)?;
        while last.least < goal && looked < most {
            failed = looked;
            looked = ((looked as f64 * GROWTH).ceil() as usize).min(most);
            let next = self.recall(sample, texts, looked, widest)?;
            // A graph that finds no more would be walked to its end.
            if factory.kind == Kind::Graph && next.mean >= recall && next.mean <= last.mean {
                break;
            }
            last = next;
        }
        let between = (failed + looked) / 2;
        if between > failed && self.recall(sample, texts, between, widest)?.least >= goal {
            looked = between;
        }
        for k_factor in FACTORS.into_iter().filter(|factor| *factor >= least.k_factor) {
            let found = self.recall(sample, texts, looked, k_factor)?;
            if found.least >= recall || k_factor >= widest {
                return Ok(Setting { looked, k_factor, recall: Some(found.mean), rare: [None; RARE.len()] });
            }
        }
        Err(Error::internal("no factor was tried"))
    }

    /// How many rows are compared in the time that a search takes.
    fn few(&self, setting: &Setting) -> Result<usize> {
        let (queries, _) = self.rows(TEXTS)?;
        let segment = Approximate::of(&self.snapshot)?;
        let probe = Probe { space: self.space, dim: queries.dim(), queries: queries.as_slice(), texts: false };
        let effort =
            Effort { nprobe: Some(setting.looked), ef_search: Some(setting.looked), k_factor: Some(setting.k_factor) };
        let width = width(&self.snapshot, TOP).min(self.sealed.len());
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
