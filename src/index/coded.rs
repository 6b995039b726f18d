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
use crate::index::factory::{Factory, Kind};
use crate::index::faiss::{Best, faiss_error, single_threaded, with_threads};
use crate::index::matrix::Matrix;

/// Rows that are learned from for each list, and at least.
const LEARNED: usize = 64;
const LEAST_LEARNED: usize = 20_000;
/// Centers that the graph over them keeps in view: enough to find nearly all of the nearest ones.
const LOOKED: usize = 64;
/// Of centers that are compared by codes, so many times as many as are wanted are compared by their vectors: that finds the
/// nearest one of 7,943 for 997 in 1000 rows of 512 numbers.
const REFINED: usize = 8;
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
                single_threaded(|| add_centers(&index, dim, centers))?;
            }
            index.train(&spread(rows, learned_rows(factory, rows.len()))).map_err(faiss_error)
        })?;
        if factory.has_graph {
            set_parameter(&index, c"quantizer_efSearch", LOOKED)?;
        }
        if factory.has_codes {
            set_parameter(&index, c"quantizer_k_factor_rf", REFINED)?;
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
            for start in (0..rows.len()).step_by(STEP) {
                Cancel::current().check()?;
                index.add(rows.rows(start..rows.len().min(start + STEP))).map_err(faiss_error)?;
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
        BYTES.set(Vec::new());
        let mut writer = ptr::null_mut();
        // SAFETY: the callback copies what faiss hands it on this thread, and the writer is freed here.
        let code = unsafe {
            checked(faiss_sys::faiss_CustomIOWriter_new(&mut writer, Some(take)))?;
            let code = faiss_sys::faiss_write_index_custom(self.index.inner_ptr(), writer.cast(), 0);
            faiss_sys::faiss_CustomIOWriter_free(writer);
            code
        };
        let bytes = BYTES.take();
        checked(code).map(|()| bytes)
    }

    /// Makes an index from its bytes: the caller has checked that they are as they were written, since faiss does not.
    pub(super) fn from_bytes(factory: &Factory, dim: usize, bytes: &[u8]) -> Result<Self> {
        REST.set((bytes.as_ptr(), bytes.len()));
        let (mut reader, mut index) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the callback reads `bytes` on this thread, within their length, and the reader is freed here; faiss hands
        // the index over.
        let index = unsafe {
            checked(faiss_sys::faiss_CustomIOReader_new(&mut reader, Some(give)))?;
            let code = faiss_sys::faiss_read_index_custom(reader.cast(), 0, &mut index);
            faiss_sys::faiss_CustomIOReader_free(reader);
            REST.set((ptr::null(), 0));
            checked(code)?;
            IndexImpl::from_inner_ptr(index)
        };
        Ok(Self { factory: factory.clone(), dim, index, bytes: bytes.len(), ef_search: RwLock::new(0) })
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

/// Puts the centers of an index's lists in place, so that they are not learned again.
fn add_centers(index: &IndexImpl, dim: usize, centers: &[f32]) -> Result<()> {
    // SAFETY: a factory of lists without transforms makes an IndexIVF, which owns its quantizer; faiss copies the centers.
    // Codes of centers are learned from these, and others have nothing to learn.
    unsafe {
        let lists = faiss_sys::faiss_IndexIVF_cast(index.inner_ptr());
        if lists.is_null() {
            return Err(faiss_error("an index without lists"));
        }
        let quantizer = faiss_sys::faiss_IndexIVF_quantizer(lists);
        let count = (centers.len() / dim) as i64;
        checked(faiss_sys::faiss_Index_train(quantizer, count, centers.as_ptr()))?;
        checked(faiss_sys::faiss_Index_add(quantizer, count, centers.as_ptr()))
    }
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

    /// Codes of centers lead rows into the lists, and queries to them, that a comparison of all centers does.
    #[test]
    fn codes_of_centers_find_the_nearest_lists() {
        const DIM: usize = 64;
        let mut random = Random::plain(7);
        let centers: Vec<f32> = (0..1000).flat_map(|_| random.direction(DIM)).collect();
        let near = |_: usize| -> Vec<f32> {
            let (center, apart) = (&centers[random.below(1000) * DIM..][..DIM], random.direction(DIM));
            center.iter().zip(apart).map(|(center, apart)| center + 0.8 * apart).collect()
        };
        let rows = Matrix::new(DIM, (0..4000).flat_map(near).collect());
        let queries = rows.rows(0..400);
        for code in ["Flat", "SQ8", "PQ32x4fs"] {
            let built = |lists: &str| {
                let factory = Factory::parse(&format!("{lists},{code}"), DIM).unwrap();
                Coded::build(&factory, DIM, &rows, Some(&centers), 2).unwrap()
            };
            let (coded, all) = (built("IVF1000(PQ32x4fs,RFlat)"), built("IVF1000"));
            let kept = Coded::from_bytes(coded.factory(), DIM, &coded.to_bytes().unwrap()).unwrap();
            let again = Coded::like(&coded, &rows, 2).unwrap();
            for effort in [1, 20, 1000] {
                let wanted = all.search(queries, 10, None, effort).unwrap().rows;
                for coded in [&coded, &kept, &again] {
                    let found = coded.search(queries, 10, None, effort).unwrap().rows;
                    let pairs: Vec<_> = found.iter().zip(&wanted).filter(|(_, row)| row.is_some()).collect();
                    let same = pairs.iter().filter(|(found, wanted)| found == wanted).count();
                    let all = pairs.len();
                    assert!(all > 1000 && same * 100 > all * 98, "{code} with {effort}: {same} of {all}");
                }
            }
        }
    }
}
