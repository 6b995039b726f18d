//! A flat faiss index with what its C API and the faiss crate leave out: removal in place, search among selected rows
//! by several threads at once, and no threads of its own.
#![allow(unsafe_code)]

use std::cmp::Ordering;
use std::ffi::{c_char, c_int, c_void};
use std::fmt::Display;
use std::iter;
use std::ptr;
use std::sync::Once;

use faiss::index::NativeIndex;
use faiss::selector::IdSelector;
use faiss::{ConcurrentIndex, FlatIndex, Idx, Index};

use crate::error::{Error, Result};

/// From this many queries on, faiss multiplies matrices instead of scanning the rows once for each query.
pub(super) const BLAS_QUERIES: c_int = 4;

unsafe extern "C" {
    /// Part of libgomp, which faiss links.
    fn omp_get_max_threads() -> c_int;
    fn omp_set_num_threads(threads: c_int);
    /// Part of BLAS, which faiss links: C := alpha · op(A) · op(B) + beta · C, all of them by columns.
    fn sgemm_(
        transpose_a: *const c_char,
        transpose_b: *const c_char,
        m: *const c_int,
        n: *const c_int,
        k: *const c_int,
        alpha: *const f32,
        a: *const f32,
        rows_a: *const c_int,
        b: *const f32,
        rows_b: *const c_int,
        beta: *const f32,
        c: *mut f32,
        rows_c: *const c_int,
    );
    /// Part of the C library.
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    #[cfg(target_os = "linux")]
    fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
}

/// Rows of vectors, numbered from 0.
#[derive(Debug)]
pub(super) struct Flat {
    dim: usize,
    index: FlatIndex,
}

/// The best rows for each query, best first: `width` scores and rows for each, where fewer rows exist padded with -1.
#[derive(Default)]
pub(super) struct Best {
    pub(super) scores: Vec<f32>,
    pub(super) rows: Vec<Idx>,
}

impl Flat {
    pub(super) fn new(dim: usize) -> Result<Self> {
        set_up();
        let size = u32::try_from(dim).ok().filter(|&size| size > 0 && size <= 1 << 16);
        let size = size.ok_or_else(|| Error::argument(format!("vectors of {dim} numbers cannot be indexed")))?;
        Ok(Self { dim, index: FlatIndex::new_ip(size).map_err(faiss_error)? })
    }

    pub(super) fn len(&self) -> usize {
        self.index.ntotal() as usize
    }

    /// Appends rows.
    pub(super) fn add(&mut self, vectors: &[f32]) -> Result<()> {
        self.index.add(vectors).map_err(faiss_error)
    }

    /// All rows, one after another.
    pub(super) fn data(&self) -> &[f32] {
        if self.len() == 0 { &[] } else { self.index.xb() }
    }

    /// One row.
    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self.data()[row * self.dim..(row + 1) * self.dim]
    }

    /// The best `width` rows for each query, of all or of those whose bit is set in `selected`.
    pub(super) fn search(&self, queries: &[f32], width: usize, selected: Option<&[u8]>) -> Result<Best> {
        single_threaded(|| {
            let Some(selected) = selected else {
                let found = ConcurrentIndex::search(&self.index, queries, width).map_err(faiss_error)?;
                return Ok(Best { scores: found.distances, rows: found.labels });
            };
            let selector = IdSelector::bitmap(selected).map_err(faiss_error)?;
            let count = queries.len() / self.dim;
            let mut best = Best { scores: vec![0.0; count * width], rows: vec![Idx::none(); count * width] };
            let mut parameters = ptr::null_mut();
            // SAFETY: the selector and the bits it points to live until the end of this block, where the parameters
            // are freed; faiss reads `count` queries and writes `count * width` scores and rows (`Idx` is a
            // transparent i64). The faiss crate's own wrapper would leak the selector at each search.
            let code = unsafe {
                match faiss_sys::faiss_SearchParameters_new(&mut parameters, selector.inner_ptr()) {
                    0 => {
                        let code = faiss_sys::faiss_Index_search_with_params(
                            self.index.inner_ptr(),
                            count as i64,
                            queries.as_ptr(),
                            width as i64,
                            parameters,
                            best.scores.as_mut_ptr(),
                            best.rows.as_mut_ptr().cast(),
                        );
                        faiss_sys::faiss_SearchParameters_free(parameters);
                        code
                    }
                    code => code,
                }
            };
            if code == 0 { Ok(best) } else { Err(faiss_error(format!("code {code}"))) }
        })
    }

    /// A copy of some rows, whose numbers grow.
    pub(super) fn copied(&self, rows: &[u32]) -> Result<Self> {
        let mut copy = Self::new(self.dim)?;
        let data = self.data();
        for run in rows.chunk_by(|a, b| a + 1 == *b) {
            let start = run[0] as usize * self.dim;
            copy.add(&data[start..start + run.len() * self.dim])?;
        }
        Ok(copy)
    }

    /// Removes row `rows[i]` for each i in order, each time moving the last row into its place. faiss itself would move
    /// all rows behind the first gap.
    pub(super) fn swap_remove(&mut self, rows: &[usize]) -> Result<()> {
        let (before, after) = (self.len(), self.len() - rows.len());
        if rows.is_empty() {
            return Ok(());
        }
        let (mut data, mut length) = (ptr::null_mut(), 0);
        // SAFETY: faiss returns its rows, which nothing else sees while we hold `&mut self`; the bounds are checked.
        let data = unsafe {
            faiss_sys::faiss_IndexFlat_xb(self.index.inner_ptr(), &mut data, &mut length);
            std::slice::from_raw_parts_mut(data, length)
        };
        for (last, &row) in (after..before).rev().zip(rows) {
            data.copy_within(last * self.dim..(last + 1) * self.dim, row * self.dim);
        }
        let tail = IdSelector::range(Idx::new(after as u64), Idx::new(before as u64)).map_err(faiss_error)?;
        self.index.remove_ids(&tail).map_err(faiss_error).map(|_| ())
    }
}

/// Asks the system to lay rows on huge pages, where a scan is a third faster; for rows that grow no more.
pub(super) fn use_huge_pages<T>(rows: &[T]) {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        const HUGE_PAGE: c_int = 14;
        const COLLAPSE: c_int = 25;
        let start = rows.as_ptr().addr().next_multiple_of(PAGE);
        let length = (rows.as_ptr_range().end.addr() / PAGE * PAGE).saturating_sub(start);
        // SAFETY: both change how the pages within our rows are mapped, and never what is in them. A system that has no
        // huge pages says so, and all stays as it was.
        unsafe {
            madvise(ptr::without_provenance_mut(start), length, HUGE_PAGE);
            madvise(ptr::without_provenance_mut(start), length, COLLAPSE);
        }
    }
}

impl Best {
    /// Appends the best `width` of a query's rows, best first, equal ones by row.
    pub(super) fn push(&mut self, mut pairs: Vec<(u32, f32)>, width: usize) {
        keep_best(&mut pairs, width);
        pairs.sort_unstable_by(by_score);
        let missing = width - pairs.len();
        self.scores.extend(pairs.iter().map(|(_, score)| *score).chain(iter::repeat_n(0.0, missing)));
        let rows = pairs.iter().map(|(row, _)| Idx::new(u64::from(*row)));
        self.rows.extend(rows.chain(iter::repeat_n(Idx::none(), missing)));
    }
}

/// Leaves the best `width` rows, in any order.
pub(super) fn keep_best(pairs: &mut Vec<(u32, f32)>, width: usize) {
    if pairs.len() > width {
        pairs.select_nth_unstable_by(width, by_score);
        pairs.truncate(width);
    }
}

fn by_score(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// Adds each query's inner product with each row of `data` to `scores`, which has a number for each row, query after query.
pub(super) fn add_products(data: &[f32], dim: usize, queries: &[f32], scores: &mut [f32]) {
    let (rows, count) = (data.len() / dim, queries.len() / dim);
    assert!(scores.len() == count * rows && queries.len() == count * dim && data.len() == rows * dim);
    if rows == 0 {
        return;
    }
    if count < BLAS_QUERIES as usize {
        let mut products = vec![0.0; rows];
        for (query, scores) in queries.chunks_exact(dim).zip(scores.chunks_exact_mut(rows)) {
            inner_products(query, data, &mut products);
            scores.iter_mut().zip(&products).for_each(|(score, product)| *score += product);
        }
        return;
    }
    let (rows, count, dim) = (rows as c_int, count as c_int, dim as c_int);
    let (transposed, plain) = (b'T' as c_char, b'N' as c_char);
    // SAFETY: by columns, the rows are a matrix of dim × rows, the queries one of dim × count and the scores one of
    // rows × count, whose lengths were checked above; a segment has few enough rows for these numbers.
    unsafe {
        sgemm_(
            &transposed,
            &plain,
            &rows,
            &count,
            &dim,
            &1.0,
            data.as_ptr(),
            &dim,
            queries.as_ptr(),
            &dim,
            &1.0,
            scores.as_mut_ptr(),
            &rows,
        );
    }
}

/// The inner products of a query with each row of `data`, in `products`.
pub(super) fn inner_products(query: &[f32], data: &[f32], products: &mut [f32]) {
    assert!(data.len() == query.len() * products.len());
    // SAFETY: faiss reads `dim` numbers of the query and of each row, and writes one for each row.
    unsafe {
        faiss_sys::faiss_fvec_inner_products_ny(
            products.as_mut_ptr(),
            query.as_ptr(),
            data.as_ptr(),
            query.len(),
            products.len(),
        );
    }
}

/// The squared Euclidean distances of a query from each row of `data`, in `distances`.
pub(super) fn squared_distances(query: &[f32], data: &[f32], distances: &mut [f32]) {
    assert!(data.len() == query.len() * distances.len());
    // SAFETY: faiss reads `dim` numbers of the query and of each row, and writes one for each row.
    unsafe {
        faiss_sys::faiss_fvec_L2sqr_ny(
            distances.as_mut_ptr(),
            query.as_ptr(),
            data.as_ptr(),
            query.len(),
            distances.len(),
        );
    }
}

/// The inner product of two vectors, summed as in a search.
pub(super) fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    let mut product = [0.0];
    inner_products(a, b, &mut product);
    product[0]
}

/// Once per process: where faiss changes its method, and no threads inside BLAS.
pub(super) fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the first sets a number inside faiss. A BLAS other than OpenBLAS lacks the looked-up function, which
        // has the signature void(int) in every release of OpenBLAS.
        unsafe {
            faiss_sys::faiss_set_distance_compute_blas_threshold(BLAS_QUERIES);
            let set = dlsym(ptr::null_mut(), c"openblas_set_num_threads".as_ptr());
            if !set.is_null() {
                std::mem::transmute::<*mut c_void, extern "C" fn(c_int)>(set)(1);
            }
        }
    });
}

/// Runs `work` without OpenMP's threads, which would compete with ours.
pub(super) fn single_threaded<T>(work: impl FnOnce() -> T) -> T {
    with_threads(1, work)
}

/// Runs `work` with so many of OpenMP's threads: the setting belongs to the calling thread.
pub(super) fn with_threads<T>(threads: usize, work: impl FnOnce() -> T) -> T {
    struct Restore(c_int);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: sets a number for this thread.
            unsafe { omp_set_num_threads(self.0) };
        }
    }
    // SAFETY: reads and sets a number for this thread.
    let _restore = unsafe {
        let before = omp_get_max_threads();
        omp_set_num_threads(threads as c_int);
        Restore(before)
    };
    work()
}

pub(super) fn faiss_error(error: impl Display) -> Error {
    Error::internal(format!("faiss: {error}"))
}
