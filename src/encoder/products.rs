//! Keeps rows of vectors on a device of ONNX Runtime, and finds the best of them for queries there.
//!
//! The rows are bound to a session as its input once, so that a query moves only itself to the device, and as many numbers
//! as it asks for back. On NVIDIA GPUs they have 16 bits. Scores are therefore near the exact ones, by a bound that
//! [`DeviceRows::error`] knows: the caller compares the found rows as they are.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use half::f16;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session};
use ort::value::{DynValue, Tensor};

use crate::encoder::device::{Device, Place};
use crate::encoder::graph::best_rows;
use crate::encoder::provider::Setting;
use crate::encoder::runtime;
use crate::error::{Error, Result};

/// Added to the products of rows that may not be found: far below those of unit vectors.
const MASKED: f32 = -16.0;
/// A bound for the rounding of a product of unit vectors: of sums in 32 bits, and where results have 16 bits, of these and
/// of the partial sums that cuBLAS may keep in them.
const SUMS: f32 = 1e-5;
const SUMS_HALF: f32 = 2e-3;

/// The sessions that find rows, one for each place of a device. One search at a time runs in each.
pub struct Products {
    device: Device,
    half: bool,
    places: Vec<(Place, Mutex<Session>)>,
}

impl Products {
    /// Opens the device, to compute on so many threads where it is the processor.
    ///
    /// # Errors
    /// [`Error::Runtime`] if [`load_runtime`](crate::encoder::load_runtime) was not called, or the device cannot be used.
    pub fn open(device: &Device, threads: usize) -> Result<Arc<Self>> {
        let half = matches!(device, Device::Auto | Device::Cuda(_) | Device::TensorRt(_));
        Self::with_numbers(device, threads, half)
    }

    /// Opens it for rows of 16 or 32 bits.
    pub(crate) fn with_numbers(device: &Device, threads: usize, half: bool) -> Result<Arc<Self>> {
        let setting = Setting::new(device.places(), None, threads, None)?;
        let (environment, network) = (runtime::environment()?, best_rows(half));
        let open = |place: &Place| {
            runtime::logged();
            let built = setting.builder(&environment, place, None);
            let session = built.and_then(|mut builder| builder.commit_from_memory(&network));
            session.map(|session| (place.clone(), Mutex::new(session))).map_err(|error| {
                let reason = error.to_string();
                let advice = place.advice(reason.trim_end(), &runtime::logged());
                match advice.starts_with(':') {
                    true => Error::runtime(format!("vectors cannot be searched on {place}{advice}")),
                    false => {
                        Error::runtime(format!("vectors cannot be searched on {place}{advice} ({})", reason.trim_end()))
                    }
                }
            })
        };
        let places = setting.places.iter().map(open).collect::<Result<_>>()?;
        Ok(Arc::new(Self { device: device.clone(), half, places }))
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How many places share the rows.
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// Copies rows of unit vectors to a place, by its number.
    ///
    /// # Errors
    /// [`Error::Runtime`] if its memory does not suffice.
    pub fn hold(self: &Arc<Self>, place: usize, dim: usize, rows: &[f32]) -> Result<DeviceRows> {
        let count = rows.len() / dim;
        let (kept, error) = self.numbers(rows, dim);
        let hold = || -> ort::Result<IoBinding> {
            let session = self.places[place].1.lock().unwrap_or_else(PoisonError::into_inner);
            let mut binding = session.create_binding()?;
            binding.bind_input("rows", &kept.tensor([count, dim])?)?;
            binding.bind_input("mask", &self.mask(count, None).tensor([count])?)?;
            binding.synchronize_inputs()?;
            Ok(binding)
        };
        let binding = hold().map_err(|reason| self.blame(place, "hold so many vectors", &reason))?;
        let bound = Mutex::new(Bound { binding, selected: None });
        let error = error + if self.half { SUMS_HALF } else { SUMS };
        Ok(DeviceRows { products: Arc::clone(self), place, dim, count, error, bound })
    }

    /// Rows in the numbers of the device, and the greatest length of the difference that makes.
    fn numbers(&self, rows: &[f32], dim: usize) -> (Numbers, f32) {
        if !self.half {
            return (Numbers::Single(rows.to_vec()), 0.0);
        }
        let halves: Vec<f16> = rows.iter().map(|value| f16::from_f32(*value)).collect();
        let error = |(row, halves): (&[f32], &[f16])| -> f32 {
            row.iter().zip(halves).map(|(value, half)| (value - half.to_f32()).powi(2)).sum::<f32>().sqrt()
        };
        let error = rows.chunks_exact(dim).zip(halves.chunks_exact(dim)).map(error).fold(0.0, f32::max);
        (Numbers::Half(halves), error)
    }

    /// The mask of so many rows, of which those whose bit is not set are not found.
    fn mask(&self, count: usize, selected: Option<&[u8]>) -> Numbers {
        let is_selected = |row: usize| selected.is_none_or(|bits| bits[row / 8] & (1 << (row % 8)) != 0);
        let mask = (0..count).map(|row| if is_selected(row) { 0.0 } else { MASKED });
        match self.half {
            true => Numbers::Half(mask.map(f16::from_f32).collect()),
            false => Numbers::Single(mask.collect()),
        }
    }

    fn blame(&self, place: usize, work: &str, reason: &ort::Error) -> Error {
        let (place, reason) = (&self.places[place].0, reason.to_string());
        Error::runtime(format!(
            "device {place} could not {work}: {}; if its memory is full, free some of it, or open the engine with \
             index_device=\"cpu\"",
            reason.trim_end()
        ))
    }
}

impl fmt::Debug for Products {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Products on {}", self.device)
    }
}

/// Numbers that go to a device.
enum Numbers {
    Half(Vec<f16>),
    Single(Vec<f32>),
}

impl Numbers {
    fn tensor(self, shape: impl Into<Vec<usize>>) -> ort::Result<DynValue> {
        let shape: Vec<usize> = shape.into();
        Ok(match self {
            Self::Half(numbers) => Tensor::from_array((shape, numbers))?.into_dyn(),
            Self::Single(numbers) => Tensor::from_array((shape, numbers))?.into_dyn(),
        })
    }
}

/// Rows that lie on a device.
pub struct DeviceRows {
    products: Arc<Products>,
    place: usize,
    dim: usize,
    count: usize,
    error: f32,
    bound: Mutex<Bound>,
}

/// The inputs of a session, which stay from one search to the next.
struct Bound {
    binding: IoBinding,
    /// The bits of the mask that is bound; `None` if all rows may be found.
    selected: Option<Vec<u8>>,
}

impl DeviceRows {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The place that holds them.
    pub fn place(&self) -> usize {
        self.place
    }

    /// Bytes of the device's memory that they take.
    pub fn bytes(&self) -> usize {
        self.count * self.dim * if self.products.half { size_of::<f16>() } else { size_of::<f32>() }
    }

    /// By how much a score for a unit query may differ from the exact one: |x - x'| + |q - q'| and the rounding of the sum,
    /// where x' and q' are the rounded row and query (Cauchy and Schwarz).
    pub fn error(&self) -> f32 {
        // No number of a query is rounded by more than a 2048th of itself.
        self.error + if self.products.half { 1.0 / 2048.0 } else { 0.0 }
    }

    /// For each unit query, the `k` rows with the greatest scores, at most all, greatest first: their numbers and scores.
    /// Of rows whose bit is set in `selected`, if it is given; if these are fewer, others follow, with scores below -8.
    ///
    /// # Errors
    /// [`Error::Runtime`] if the device fails, as when its memory is full.
    pub fn best(&self, queries: &[f32], k: usize, selected: Option<&[u8]>) -> Result<Vec<Vec<(u32, f32)>>> {
        let (count, k) = (queries.len() / self.dim, k.min(self.count));
        if count == 0 || k == 0 {
            return Ok(vec![Vec::new(); count]);
        }
        let found = self.run(queries, count, k, selected);
        let (scores, places) = found.map_err(|reason| self.products.blame(self.place, "search", &reason))?;
        if scores.len() != count * k || places.iter().any(|row| !(0..self.count as i64).contains(row)) {
            return Err(Error::internal("a device has found rows that are not there"));
        }
        let pairs = places.iter().map(|row| *row as u32).zip(scores).collect::<Vec<_>>();
        Ok(pairs.chunks_exact(k).map(<[_]>::to_vec).collect())
    }

    fn run(
        &self,
        queries: &[f32],
        count: usize,
        k: usize,
        selected: Option<&[u8]>,
    ) -> ort::Result<(Vec<f32>, Vec<i64>)> {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        if bound.selected.as_deref() != selected {
            let mask = self.products.mask(self.count, selected).tensor([self.count])?;
            bound.binding.bind_input("mask", &mask)?;
            bound.selected = selected.map(<[_]>::to_vec);
        }
        let (queries, _) = self.products.numbers(queries, self.dim);
        bound.binding.bind_input("queries", &queries.tensor([count, self.dim])?)?;
        bound.binding.bind_input("k", &Tensor::from_array(([1], vec![k as i64]))?)?;
        // Bound anew, for a session would else write into the outputs of the last search, which have another shape.
        let host = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput)?;
        for output in ["scores", "places"] {
            bound.binding.bind_output_to_device(output, &host)?;
        }
        bound.binding.synchronize_inputs()?;
        let mut session = self.products.places[self.place].1.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run_binding(&bound.binding)?;
        bound.binding.synchronize_outputs()?;
        let scores = match self.products.half {
            true => outputs["scores"].try_extract_tensor::<f16>()?.1.iter().map(|score| score.to_f32()).collect(),
            false => outputs["scores"].try_extract_tensor::<f32>()?.1.to_vec(),
        };
        Ok((scores, outputs["places"].try_extract_tensor::<i64>()?.1.to_vec()))
    }
}

impl fmt::Debug for DeviceRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows of {} on {}", self.count, self.dim, self.products.places[self.place].0)
    }
}
