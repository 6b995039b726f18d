//! Exact segments: every vector as it is, in a flat faiss index for each space, and rounded.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::index::approximate::Sealed;
use crate::index::effort::Effort;
use crate::index::faiss::{BLAS_QUERIES, Best, Flat, add_products, use_huge_pages};
use crate::index::rounded::Rounded;
use crate::index::segment::{Probe, Segment, Selected};

/// Of selected rows up to one in so many, each is compared alone: faiss looks at the bits of all.
const FEW: usize = 8;

/// References whose vectors are compared one by one.
#[derive(Debug)]
pub(super) struct Exact {
    /// The vectors in each space, in the same order.
    spaces: Vec<Space>,
    references: Vec<i64>,
    items: Vec<i64>,
    /// Whether the items grow with the rows.
    sorted: bool,
}

/// The vectors in one space.
#[derive(Debug)]
struct Space {
    flat: Flat,
    rounded: Rounded,
}

impl Space {
    fn new(dim: usize) -> Result<Self> {
        Ok(Self { flat: Flat::new(dim)?, rounded: Rounded::new(dim) })
    }

    fn add(&mut self, vectors: &[f32]) -> Result<()> {
        self.rounded.add(vectors);
        self.flat.add(vectors)
    }

    fn copied(&self, rows: &[u32]) -> Result<Self> {
        Ok(Self { flat: self.flat.copied(rows)?, rounded: self.rounded.copied(rows) })
    }

    /// Matrices are multiplied sooner than rounded rows are compared.
    fn search(&self, queries: &[f32], dim: usize, width: usize, selected: Option<&[u8]>) -> Result<Best> {
        match queries.len() / dim < BLAS_QUERIES as usize {
            true => Ok(self.rounded.search(&self.flat, queries, width, selected)),
            false => self.flat.search(queries, width, selected),
        }
    }
}

impl Exact {
    /// An empty segment for vectors of `dims[i]` numbers in space `i`.
    pub(super) fn new(dims: &[usize]) -> Result<Self> {
        let spaces = dims.iter().map(|dim| Space::new(*dim)).collect::<Result<_>>()?;
        Ok(Self { spaces, references: Vec::new(), items: Vec::new(), sorted: true })
    }

    /// A segment of references with their items and, for each space, their vectors, or none in a space that is left out.
    pub(super) fn of(dims: &[usize], references: Vec<i64>, items: Vec<i64>, vectors: &[Vec<f32>]) -> Result<Self> {
        let mut segment = Self::new(dims)?;
        segment.spaces.iter_mut().zip(vectors).try_for_each(|(space, vectors)| space.add(vectors))?;
        let sorted = items.is_sorted();
        Ok(Self { references, items, sorted, ..segment })
    }

    fn of_rows(&self, rows: &[u32], spaces: &[usize]) -> Result<Self> {
        let copied = |(number, space): (usize, &Space)| space.copied(if spaces.contains(&number) { rows } else { &[] });
        let pick = |of: &[i64]| -> Vec<i64> { rows.iter().map(|row| of[*row as usize]).collect() };
        let items = pick(&self.items);
        Ok(Self {
            spaces: self.spaces.iter().enumerate().map(copied).collect::<Result<_>>()?,
            references: pick(&self.references),
            sorted: items.is_sorted(),
            items,
        })
    }
}

impl Segment for Exact {
    fn references(&self) -> &[i64] {
        &self.references
    }

    fn items(&self) -> &[i64] {
        &self.items
    }

    fn live(&self) -> Option<Selected<'_>> {
        None
    }

    fn is_sorted(&self) -> bool {
        self.sorted
    }

    fn grows(&self) -> bool {
        true
    }

    fn is_few(&self, _: &[Probe<'_>], selected: usize) -> bool {
        selected <= self.items.len() / FEW
    }

    fn compared(&self) -> usize {
        self.items.len()
    }

    fn add(&mut self, references: &[i64], items: &[i64], vectors: &[&[f32]]) -> Result<()> {
        self.sorted &= items.is_sorted() && self.items.last() <= items.first();
        self.spaces.iter_mut().zip(vectors).try_for_each(|(space, vectors)| space.add(vectors))?;
        self.references.extend(references);
        self.items.extend(items);
        Ok(())
    }

    fn seal(&mut self) {
        for Space { flat, rounded } in &self.spaces {
            use_huge_pages(flat.data());
            use_huge_pages(rounded.data());
        }
    }

    fn remove(&mut self, references: &[(i64, u32)]) -> Result<Vec<(i64, u32)>> {
        let mut moved: HashMap<i64, u32> = HashMap::new();
        let mut gaps = Vec::with_capacity(references.len());
        for (reference, row) in references {
            let row = moved.remove(reference).unwrap_or(*row);
            self.references.swap_remove(row as usize);
            self.items.swap_remove(row as usize);
            if let Some(last) = self.references.get(row as usize) {
                moved.insert(*last, row);
            }
            gaps.push(row as usize);
        }
        for space in &mut self.spaces {
            space.flat.swap_remove(&gaps)?;
            space.rounded.swap_remove(&gaps);
        }
        self.sorted = self.items.is_sorted();
        Ok(moved.into_iter().collect())
    }

    fn duplicate(&self) -> Result<Arc<dyn Segment>> {
        let rows: Vec<u32> = (0..self.items.len() as u32).collect();
        let spaces: Vec<usize> = (0..self.spaces.len()).collect();
        Ok(Arc::new(self.of_rows(&rows, &spaces)?))
    }

    fn gather(&self, rows: &[u32], spaces: &[usize]) -> Result<Box<dyn Segment>> {
        Ok(Box::new(self.of_rows(rows, spaces)?))
    }

    fn candidates(
        &self,
        probes: &[Probe<'_>],
        queries: Range<usize>,
        width: usize,
        selected: Option<Selected<'_>>,
        _: &Effort,
    ) -> Result<Best> {
        let selected = selected.map(|selected| selected.bits);
        if let [probe] = probes {
            return self.spaces[probe.space].search(probe.part(queries), probe.dim, width, selected);
        }
        let rows = self.items.len();
        let mut scores = vec![0.0; queries.len() * rows];
        probes.iter().for_each(|probe| self.add_scores(probe, queries.clone(), &mut scores));
        Ok(best(&scores, rows, width, selected))
    }

    fn add_scores(&self, probe: &Probe<'_>, queries: Range<usize>, scores: &mut [f32]) {
        add_products(self.spaces[probe.space].flat.data(), probe.dim, probe.part(queries), scores);
    }

    fn vector(&self, space: usize, row: usize) -> &[f32] {
        self.spaces[space].flat.row(row)
    }

    fn bytes(&self) -> usize {
        let bytes = |space: &Space| size_of_val(space.flat.data()) + space.rounded.bytes();
        let vectors: usize = self.spaces.iter().map(bytes).sum();
        vectors + size_of_val(&self.references[..]) + size_of_val(&self.items[..])
    }

    fn sealed(&self) -> Option<&Arc<Sealed>> {
        None
    }
}

/// The best `width` of `rows` scores for each query, of all or of those whose bit is set in `selected`; equal scores by
/// row.
fn best(scores: &[f32], rows: usize, width: usize, selected: Option<&[u8]>) -> Best {
    let mut best = Best::default();
    for scores in scores.chunks_exact(rows) {
        let is_selected = |row: u32| selected.is_none_or(|bits| bits[row as usize / 8] & (1 << (row % 8)) != 0);
        let pairs = (0..).zip(scores.iter().copied());
        best.push(pairs.filter(|(row, _)| is_selected(*row)).collect(), width);
    }
    best
}
