//! An approximate faiss index over rows numbered from 0: made from a factory string, searched by several threads at once,
//! among selected rows if wanted, and turned into bytes and back.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::{PoisonError, RwLock};

use faiss::index::{FromInnerPtr, IndexImpl};
use faiss::selector::IdSelector;
use faiss::{Idx, Index, MetricType, index_factory};

use crate::cancel::Cancel;
use crate::error::Result;
use crate::index::budget::{MANY, PAIRED};
use crate::index::factory::{Factory, Kind};
use crate::index::faiss::{Best, faiss_error, single_threaded, with_threads};
use crate::index::matrix::Matrix;

/// Rows that are learned from for each list, and at least.
const LEARNED: usize = 64;
const LEAST_LEARNED: usize = 20_000;
/// Centers that the graph over them keeps in view: enough to find nearly all of the nearest ones.
const LOOKED: usize = 64;
/// Centers that are compared with a row by their vectors.
const REFINED: usize = 32;
/// Rows that are added between two looks at whether the work was called off.
const STEP: usize = 8192;

/// An index of codes.
#[derive(Debug)]
pub(super) struct Coded {
    factory: Factory,
    dim: usize,
    index: IndexImpl,
    /// Its length as bytes.
    bytes: usize,
    /// The graph's `efSearch`, which faiss knows for the whole index only.
    ef_search: RwLock<usize>,
}

impl Coded {
    /// Learns an index from its rows and adds them, by so many threads. `centers` are those of its lists, if they are known.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::error::Error::Interrupted) when it is called off; those of faiss.
    pub(super) fn build(
        factory: &Factory,
        dim: usize,
        rows: &Matrix,
        centers: Option<&[f32]>,
        threads: usize,
    ) -> Result<Self> {
        let mut index = index_factory(dim as u32, factory.as_str(), MetricType::InnerProduct).map_err(faiss_error)?;
        // Codes alone are learned in many small steps, after each of which threads would wait for each other.
        with_threads(if centers.is_some() { 1 } else { threads }, || {
            if let Some(centers) = centers {
                add_centers(&index, dim, centers)?;
            }
            index.train(&spread(rows, learned_rows(factory, rows.len()))).map_err(faiss_error)
        })?;
        if factory.has_graph {
            set_parameter(&index, c"quantizer_efSearch", LOOKED)?;
        }
        Self::filled(factory, dim, index, rows, threads)
    }

    /// An index of other rows by what was learned for another one.
    ///
    /// # Errors
    /// Those of [`build`](Self::build).
    pub(super) fn like(other: &Self, rows: &Matrix, threads: usize) -> Result<Self> {
        let mut copy = ptr::null_mut();
        // SAFETY: faiss copies the index, which nothing changes, and hands the copy over.
        let index = unsafe {
            checked(faiss_sys::faiss_clone_index(other.index.inner_ptr(), &mut copy))?;
            checked(faiss_sys::faiss_Index_reset(copy))?;
            IndexImpl::from_inner_ptr(copy)
        };
        Self::filled(&other.factory, other.dim, index, rows, threads)
    }

    fn filled(factory: &Factory, dim: usize, mut index: IndexImpl, rows: &Matrix, threads: usize) -> Result<Self> {
        with_threads(threads, || {
            let mut twin = match twin_centers(dim) {
                Some(centers) if factory.is_plain && factory.lists > MANY && rows.len() > factory.lists => {
                    Some(with_centers(&index, dim, &centers)?)
                }
                _ => None,
            };
            for start in (0..rows.len()).step_by(STEP) {
                Cancel::current().check()?;
                let some = rows.rows(start..rows.len().min(start + STEP));
                twin.as_mut().unwrap_or(&mut index).add(some).map_err(faiss_error)?;
            }
            if let Some(twin) = twin {
                move_rows(&index, &twin)?;
            }
            let coded = Self { factory: factory.clone(), dim, index, bytes: 0, ef_search: RwLock::new(0) };
            Ok(Self { bytes: coded.to_bytes()?.len(), ..coded })
        })
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn factory(&self) -> &Factory {
        &self.factory
    }

    /// The best `width` rows for each query by their codes, of all or of those whose bit is set in `selected`. `effort` is
    /// the number of lists that are probed, or of rows that the graph keeps in view.
    pub(super) fn search(&self, queries: &[f32], width: usize, selected: Option<&[u8]>, effort: usize) -> Result<Best> {
        let effort = effort.max(1);
        single_threaded(|| match self.factory.kind {
            Kind::Codes => self.plain(queries, width, selected),
            Kind::Lists => self.lists(queries, width, selected, effort.min(self.factory.lists)),
            Kind::Graph => {
                {
                    let set = self.ef_search.read().unwrap_or_else(PoisonError::into_inner);
                    if *set == effort {
                        return self.plain(queries, width, selected);
                    }
                }
                let mut set = self.ef_search.write().unwrap_or_else(PoisonError::into_inner);
                // Nothing else uses the index while this lock is held for writing.
                set_parameter(&self.index, c"efSearch", effort)?;
                *set = effort;
                self.plain(queries, width, selected)
            }
        })
    }

    fn plain(&self, queries: &[f32], width: usize, selected: Option<&[u8]>) -> Result<Best> {
        let selector = selected.map(IdSelector::bitmap).transpose().map_err(faiss_error)?;
        let pointer = selector.as_ref().map_or(ptr::null_mut(), IdSelector::inner_ptr);
        let mut parameters = ptr::null_mut();
        // SAFETY: the selector and the bits it points to outlive the parameters, which are freed here.
        unsafe {
            checked(faiss_sys::faiss_SearchParameters_new(&mut parameters, pointer))?;
            let best = self.with_parameters(queries, width, parameters);
            faiss_sys::faiss_SearchParameters_free(parameters);
            best
        }
    }

    fn lists(&self, queries: &[f32], width: usize, selected: Option<&[u8]>, probed: usize) -> Result<Best> {
        let selector = selected.map(IdSelector::bitmap).transpose().map_err(faiss_error)?;
        let pointer = selector.as_ref().map_or(ptr::null_mut(), IdSelector::inner_ptr);
        let mut parameters = ptr::null_mut();
        // SAFETY: as in `plain`; these parameters are a subclass of those.
        unsafe {
            checked(faiss_sys::faiss_SearchParametersIVF_new_with(&mut parameters, pointer, probed, 0))?;
            let best = self.with_parameters(queries, width, parameters.cast());
            faiss_sys::faiss_SearchParametersIVF_free(parameters);
            best
        }
    }

    /// # Safety
    /// The parameters must be such as the index takes, and valid.
    unsafe fn with_parameters(
        &self,
        queries: &[f32],
        width: usize,
        parameters: *mut faiss_sys::FaissSearchParameters,
    ) -> Result<Best> {
        let count = queries.len() / self.dim;
        let mut best = Best { scores: vec![0.0; count * width], rows: vec![Idx::none(); count * width] };
        // SAFETY: faiss reads `count` queries and writes `count * width` scores and rows (`Idx` is a transparent i64).
        checked(unsafe {
            faiss_sys::faiss_Index_search_with_params(
                self.index.inner_ptr(),
                count as i64,
                queries.as_ptr(),
                width as i64,
                parameters,
                best.scores.as_mut_ptr(),
                best.rows.as_mut_ptr().cast(),
            )
        })?;
        Ok(best)
    }

    /// The index as bytes, from which [`from_bytes`](Self::from_bytes) makes it again.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        // SAFETY: the index lives.
        unsafe { written(self.index.inner_ptr()) }
    }

    /// Makes an index from its bytes: the caller has checked that they are as they were written, since faiss does not.
    pub(super) fn from_bytes(factory: &Factory, dim: usize, bytes: &[u8]) -> Result<Self> {
        let index = read(bytes)?;
        Ok(Self { factory: factory.clone(), dim, index, bytes: bytes.len(), ef_search: RwLock::new(0) })
    }
}

/// An index as bytes.
///
/// # Safety
/// The index must be valid.
unsafe fn written(index: *const faiss_sys::FaissIndex) -> Result<Vec<u8>> {
    BYTES.set(Vec::new());
    let mut writer = ptr::null_mut();
    // SAFETY: the callback copies what faiss hands it on this thread, and the writer is freed here.
    let code = unsafe {
        checked(faiss_sys::faiss_CustomIOWriter_new(&mut writer, Some(take)))?;
        let code = faiss_sys::faiss_write_index_custom(index, writer.cast(), 0);
        faiss_sys::faiss_CustomIOWriter_free(writer);
        code
    };
    let bytes = BYTES.take();
    checked(code).map(|()| bytes)
}

/// The index that was written as these bytes.
fn read(bytes: &[u8]) -> Result<IndexImpl> {
    REST.set((bytes.as_ptr(), bytes.len()));
    let (mut reader, mut index) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the callback reads `bytes` on this thread, within their length, and the reader is freed here; faiss hands
    // the index over.
    unsafe {
        checked(faiss_sys::faiss_CustomIOReader_new(&mut reader, Some(give)))?;
        let code = faiss_sys::faiss_read_index_custom(reader.cast(), 0, &mut index);
        faiss_sys::faiss_CustomIOReader_free(reader);
        REST.set((ptr::null(), 0));
        checked(code)?;
        Ok(IndexImpl::from_inner_ptr(index))
    }
}

thread_local! {
    /// The bytes written on this thread: faiss hands its callbacks no state of their own.
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The bytes left to be read on this thread.
    static REST: RefCell<(*const u8, usize)> = const { RefCell::new((ptr::null(), 0)) };
}

unsafe extern "C" fn take(data: *const c_void, size: usize, count: usize) -> usize {
    // SAFETY: faiss hands over `count` things of `size` bytes.
    let bytes = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), size * count) };
    BYTES.with_borrow_mut(|all| all.extend_from_slice(bytes));
    count
}

unsafe extern "C" fn give(data: *mut c_void, size: usize, count: usize) -> usize {
    REST.with_borrow_mut(|(rest, length)| {
        let given = count.min(length.checked_div(size).unwrap_or(0));
        // SAFETY: faiss has room for `count` things of `size` bytes, and as much is left.
        unsafe {
            ptr::copy_nonoverlapping(*rest, data.cast::<u8>(), given * size);
            *rest = rest.add(given * size);
        }
        *length -= given * size;
        given
    })
}

/// Sets a parameter of an index that nothing else uses.
fn set_parameter(index: &IndexImpl, name: &CStr, number: usize) -> Result<()> {
    let mut space = ptr::null_mut();
    // SAFETY: the name ends with NUL, and the parameter space is freed here.
    unsafe {
        checked(faiss_sys::faiss_ParameterSpace_new(&mut space))?;
        let code =
            faiss_sys::faiss_ParameterSpace_set_index_parameter(space, index.inner_ptr(), name.as_ptr(), number as f64);
        faiss_sys::faiss_ParameterSpace_free(space);
        checked(code)
    }
}

/// How the centers of many lists are compared with rows: by codes of 4 bits for 2 numbers, and the best by their vectors.
/// That finds the list of 999 in 1000 rows, in a tenth of the time that a comparison in half precision takes, and a fifth of
/// that of a graph.
fn twin_centers(dim: usize) -> Option<String> {
    (dim.is_multiple_of(2) && dim >= PAIRED).then(|| format!("PQ{}x4fs,RFlat", dim / 2))
}

/// The same index, without rows, with other means to find its lists. faiss cannot exchange what finds the lists of an index,
/// but it stands on its own within the bytes.
fn with_centers(index: &IndexImpl, dim: usize, factory: &str) -> Result<IndexImpl> {
    let mut other = index_factory(dim as u32, factory, MetricType::InnerProduct).map_err(faiss_error)?;
    // SAFETY: an index with lists owns what finds them, with as many centers as it says, and room for them is made.
    let (bytes, quantizer) = unsafe {
        let quantizer = quantizer_of(index)?;
        let count = faiss_sys::faiss_Index_ntotal(quantizer);
        let mut centers = vec![0.0; count as usize * dim];
        checked(faiss_sys::faiss_Index_reconstruct_n(quantizer, 0, count, centers.as_mut_ptr()))?;
        single_threaded(|| other.train(&centers)).map_err(faiss_error)?;
        other.add(&centers).map_err(faiss_error)?;
        (written(index.inner_ptr())?, written(quantizer)?)
    };
    set_parameter(&other, c"k_factor_rf", REFINED)?;
    // SAFETY: it lives.
    let other = unsafe { written(other.inner_ptr()) }?;
    let place = bytes.windows(quantizer.len()).position(|window| window == quantizer);
    let place = place.ok_or_else(|| faiss_error("an index whose centers are not within its bytes"))?;
    read(&[&bytes[..place], &other, &bytes[place + quantizer.len()..]].concat())
}

/// Moves the rows of an index to another one without rows, with the same centers and codes. One that has rows would not do:
/// faiss 1.12 writes beyond the end of a list of 4-bit codes whose length is a multiple of the size of a block.
fn move_rows(to: &IndexImpl, from: &IndexImpl) -> Result<()> {
    // SAFETY: nothing else uses either; faiss refuses those with other centers.
    unsafe {
        let (to, from) =
            (faiss_sys::faiss_IndexIVF_cast(to.inner_ptr()), faiss_sys::faiss_IndexIVF_cast(from.inner_ptr()));
        if to.is_null() || from.is_null() {
            return Err(faiss_error("an index without lists"));
        }
        checked(faiss_sys::faiss_IndexIVF_merge_from(to, from, 0))
    }
}

/// The index that finds the lists of another one.
///
/// # Safety
/// The index must outlive it.
unsafe fn quantizer_of(index: &IndexImpl) -> Result<*mut faiss_sys::FaissIndex> {
    // SAFETY: the cast gives null unless the index has lists.
    unsafe {
        let lists = faiss_sys::faiss_IndexIVF_cast(index.inner_ptr());
        if lists.is_null() {
            return Err(faiss_error("an index without lists"));
        }
        Ok(faiss_sys::faiss_IndexIVF_quantizer(lists))
    }
}

/// Puts the centers of an index's lists in place, so that they are not learned again.
fn add_centers(index: &IndexImpl, dim: usize, centers: &[f32]) -> Result<()> {
    // SAFETY: a factory of lists without transforms makes an IndexIVF, which owns its quantizer; faiss copies the centers.
    unsafe { checked(faiss_sys::faiss_Index_add(quantizer_of(index)?, (centers.len() / dim) as i64, centers.as_ptr())) }
}

/// From how many of `all` rows an index is learned, evenly spread: a tenth is left to measure it. Centers are learned
/// before, from others.
pub(super) fn learned_rows(factory: &Factory, all: usize) -> usize {
    let wanted = if factory.is_plain { LEAST_LEARNED } else { (LEARNED * factory.lists).max(LEAST_LEARNED) };
    wanted.min(all - all / 10)
}

/// Some rows, evenly spread.
fn spread(rows: &Matrix, count: usize) -> Vec<f32> {
    (0..count).flat_map(|place| rows.row(place * rows.len() / count)).copied().collect()
}

fn checked(code: i32) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the text is that of this thread's last failure, and stays until the next one.
    let text = unsafe {
        let text = faiss_sys::faiss_get_last_error();
        if text.is_null() { None } else { Some(CStr::from_ptr(text).to_string_lossy().into_owned()) }
    };
    Err(faiss_error(text.unwrap_or_else(|| format!("code {code}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Rows get into the lists whose centers are nearest, with the codes that they have there.
    #[test]
    fn rows_find_one_of_many_lists() {
        const DIM: usize = 32;
        let mut random = Random::plain(7);
        let centers: Vec<f32> = (0..1001).flat_map(|_| random.direction(DIM)).collect();
        let near = |_: usize| -> Vec<f32> {
            let (center, apart) = (&centers[random.below(1001) * DIM..][..DIM], random.direction(DIM));
            center.iter().zip(apart).map(|(center, apart)| center + 0.8 * apart).collect()
        };
        let rows = Matrix::new(DIM, (0..4000).flat_map(near).collect());
        let lists = ["IVF1001", "IVF1001(SQfp16)", "IVF1001_HNSW16"];
        for text in lists.iter().flat_map(|lists| ["Flat", "SQ8", "PQ16x4fs"].map(|codes| format!("{lists},{codes}"))) {
            let factory = Factory::parse(&text, DIM).unwrap();
            let coded = Coded::build(&factory, DIM, &rows, Some(&centers), 2).unwrap();
            let mut alone = Coded::like(&coded, &Matrix::new(DIM, Vec::new()), 1).unwrap();
            alone.index.add(rows.rows(0..rows.len())).unwrap();
            let queries = rows.rows(0..400);
            for effort in [1, 1001] {
                let (found, wanted) =
                    (coded.search(queries, 10, None, effort), alone.search(queries, 10, None, effort));
                let (found, wanted) = (found.unwrap(), wanted.unwrap());
                let places = found.rows.iter().zip(&found.scores).zip(wanted.rows.iter().zip(&wanted.scores));
                let wanted: Vec<_> = places.filter(|(_, (row, _))| row.is_some()).collect();
                let same = wanted.iter().filter(|((row, score), (other, best))| row == other && score == best).count();
                assert!(
                    wanted.len() > 1000 && same * 100 > wanted.len() * 99,
                    "{text} with {effort}: {same} of {}",
                    wanted.len()
                );
            }
        }
    }
}
