//! How ONNX Runtime is told to use a device, and what its refusals mean.

use std::env;
use std::path::PathBuf;

use ort::environment::Environment;
use ort::ep::cuda::ConvAlgorithmSearch;
use ort::ep::{ArbitrarilyConfigurableExecutionProvider, CUDA, ExecutionProvider, OpenVINO, TensorRT};
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{AutoDevicePolicy, SessionBuilder};

use crate::encoder::device::{Place, Precision};
use crate::encoder::runtime;
use crate::error::{Error, Result};

/// How the networks of an encoder are run: what its options come to on this machine.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// The devices that share the work; never empty.
    pub(super) places: Vec<Place>,
    pub(super) precision: Option<Precision>,
    pub(super) threads: usize,
    /// The most rows that go through a network together; `None` is one, or few where that changes no bit.
    pub(super) max_batch: Option<usize>,
}

/// Rows that go through a GPU together by default.
const BATCH: usize = 32;

/// The most rows that can be asked for.
const MOST: usize = 1024;

type IsAvailable = fn() -> ort::Result<bool>;

impl Setting {
    /// Returns the session options for `places`, of an encoder that computes on so many threads.
    ///
    /// # Errors
    /// [`Error::Argument`] when `max_batch` is no number of rows; otherwise as [`check`](Self::check).
    pub(super) fn new(
        places: Vec<Place>,
        precision: Option<Precision>,
        threads: usize,
        max_batch: Option<usize>,
    ) -> Result<Self> {
        if let Some(rows) = max_batch.filter(|rows| !(1..=MOST).contains(rows)) {
            return Err(Error::argument(format!("max_batch {rows}: give 1 to {MOST}")));
        }
        let max_batch = max_batch.or_else(|| places.iter().any(Place::is_apart).then_some(BATCH));
        let setting = Self { places, precision, threads, max_batch };
        setting.check()?;
        Ok(setting)
    }

    /// Whether the places have memory of their own.
    pub(super) fn is_apart(&self) -> bool {
        self.places.iter().any(Place::is_apart)
    }

    /// Whether networks are compiled for the sizes that go in.
    pub(super) fn compiles(&self) -> bool {
        self.places.iter().any(|place| matches!(place, Place::TensorRt(_)))
    }

    /// Whether a network needs files of its own to compute in `precision`.
    pub(super) fn wants_half(&self) -> bool {
        let by_itself = |place: &Place| match place {
            Place::TensorRt(_) => true,
            Place::OpenVino(name) => name != "CPU",
            Place::Cpu | Place::Cuda(_) => false,
        };
        self.precision == Some(Precision::Fp16) && !self.places.iter().all(by_itself)
    }

    /// Makes sure that the open runtime knows the places, and that they know the precision.
    ///
    /// # Errors
    /// [`Error::Argument`] for a precision that is not for the device, [`Error::Runtime`] when the runtime lacks a
    /// provider.
    fn check(&self) -> Result<()> {
        for place in &self.places {
            place.check(self.precision)?;
            let Some((name, package, is_available)) = place.provider() else { continue };
            if !runtime::environment().and_then(|_| is_available().map_err(Error::runtime))? {
                // Both packages have a library of one name if they are of one version, and the last that was installed
                // has its own: then the other is installed, but not there.
                let (library, plain) = (runtime::library(), package.split('[').next().unwrap_or(package));
                return Err(Error::runtime(format!(
                    "device {place}: {library} has no {name}; pip uninstall onnxruntime {plain}, then pip install \
                     '{package}', which has it and takes its place"
                )));
            }
        }
        Ok(())
    }

    /// The builder of a session at `place`. TensorRT is only for networks in which all but the batch has one size, since
    /// it compiles each for the sizes that it has seen; they are given a name, by which the result is kept.
    pub(super) fn builder(
        &self,
        environment: &Environment,
        place: &Place,
        compiled: Option<&str>,
    ) -> ort::Result<SessionBuilder> {
        // A session works on the thread that calls it and starts none of its own: the caller's threads are the only
        // ones. OpenVINO computes on its own instead, as many, while the callers wait.
        let builder = Session::builder(environment)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            // Patterns are kept for each length of text; what they save is not worth it.
            .with_memory_pattern(false)?
            // Errors reach the caller, and do not belong on stderr as well.
            .with_log_level(LogLevel::Fatal)?;
        Ok(match place {
            Place::Cpu => builder.with_auto_device(AutoDevicePolicy::PreferCPU)?,
            Place::Cuda(number) => builder.with_execution_providers([cuda(*number).build().error_on_failure()])?,
            Place::TensorRt(number) => {
                let compiled = compiled.map(|name| self.tensorrt(*number, name).build().error_on_failure());
                let all: Vec<_> = compiled.into_iter().chain([cuda(*number).build().error_on_failure()]).collect();
                builder.with_execution_providers(all)?
            }
            // Nodes that it does not take would be computed by the other provider without a word.
            Place::OpenVino(name) => builder
                .with_execution_providers([self.openvino(name).build().error_on_failure()])?
                .with_disable_cpu_fallback()?,
        })
    }

    fn tensorrt(&self, number: u32, name: &str) -> TensorRT {
        let provider = TensorRT::default()
            .with_device_id(number as i32)
            .with_fp16(self.precision == Some(Precision::Fp16))
            .with_bf16(self.precision == Some(Precision::Bf16));
        // Compiling takes minutes; what was compiled once is kept. What the provider calls it does not depend on the
        // weights: two models of one architecture must not share a folder.
        let numbers = self.precision.unwrap_or(Precision::Fp32);
        match cache() {
            Some(folder) => provider
                .with_engine_cache(true)
                .with_engine_cache_path(folder.join(format!("{name}-{numbers}")).display())
                .with_timing_cache(true)
                .with_timing_cache_path(folder.display()),
            None => provider,
        }
    }

    fn openvino(&self, name: &str) -> OpenVINO {
        // Left to itself, it takes the fastest that the device has.
        let numbers = match self.precision {
            Some(Precision::Bf16) => "bf16",
            Some(Precision::Fp16) if name != "CPU" => "f16",
            _ => "f32",
        };
        let kind = name.split('.').next().unwrap_or(name);
        let threads = match kind {
            "CPU" => format!(r#", "INFERENCE_NUM_THREADS": "{0}", "NUM_STREAMS": "{0}""#, self.threads),
            _ => String::new(),
        };
        let config = format!(r#"{{"{kind}": {{"INFERENCE_PRECISION_HINT": "{numbers}"{threads}}}}}"#);
        OpenVINO::default().with_device_type(name).with_arbitrary_config("load_config", config)
    }
}

/// Where networks that TensorRT has compiled are kept.
fn cache() -> Option<PathBuf> {
    let user = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let user = user.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(user.join("plushie_search").join("tensorrt"))
}

/// For networks whose numbers are of several sizes. Where a `Transpose` leads to a `MatMul` through a `Cast`, which the
/// processor needs for numbers of 16 bits, this optimization swaps the two for new nodes even if it then fuses nothing, and
/// leaves these without what the next one looks at: ONNX Runtime 1.23 to 1.31, and perhaps others, crash in opening
/// such a network.
pub(super) fn unfused(builder: SessionBuilder) -> ort::Result<SessionBuilder> {
    Ok(builder.with_disabled_optimizers("MatmulTransposeFusion")?)
}

/// In the digits that a processor computes in, not in TensorFloat-32: a catalog may be made on one and searched on the
/// other. The search for the best convolution would be done again for every number of rows.
fn cuda(number: u32) -> CUDA {
    CUDA::default()
        .with_device_id(number as i32)
        .with_tf32(false)
        .with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic)
}

impl Place {
    /// Its provider's name, the package that has that, and a way to find out whether the open runtime does.
    fn provider(&self) -> Option<(&'static str, &'static str, IsAvailable)> {
        let gpu = "onnxruntime-gpu[cuda,cudnn]";
        match self {
            Self::Cpu => None,
            Self::Cuda(_) => Some((CUDA::NAME, gpu, CUDA::is_available)),
            Self::TensorRt(_) => Some((TensorRT::NAME, gpu, TensorRT::is_available)),
            Self::OpenVino(_) => Some((OpenVINO::NAME, "onnxruntime-openvino", OpenVINO::is_available)),
        }
    }

    /// Returns the cure for a network that could not be opened here: `error`, and what the runtime logged before that.
    pub(super) fn advice(&self, error: &str, logged: &str) -> String {
        let all = format!("{error} {logged}");
        // Files of a newer format are refused with: "Unsupported model IR version: 999, max ...", "ONNX Runtime
        // only *guarantees* support for models stamped with official released onnx opset versions".
        if ["IR version", "opset"].iter().any(|word| error.contains(word)) {
            return "; it may be too old: pip install --upgrade onnxruntime".into();
        }
        if error.contains("NOT_IMPLEMENTED") || error.contains("Could not find an implementation") {
            return "; if the network is of 16 bits, use its files of 32 bits or a GPU".into();
        }
        // "com.example:Frob(-1) is not a registered function/op", "No Op registered for Frob with domain_version of 18"
        if ["not a registered function/op", "No Op registered"].iter().any(|words| error.contains(words)) {
            return "; its operators are not all those of ONNX, or newer: export it with standard ones, or pip install \
                    --upgrade onnxruntime"
                .into();
        }
        let weights = ["External data path", "External initializer", "Deserialize tensor weights failed"];
        if weights.iter().any(|words| error.contains(words)) {
            return "; the file with its weights is damaged, of another network, or linked to a place outside: copy the \
                    whole model directory again"
                .into();
        }
        match self {
            Self::Cpu => String::new(),
            Self::OpenVino(_) if all.contains("fallback to CPU EP has been explicitly disabled") => {
                "; OpenVINO cannot compute all of this network: use device cpu".into()
            }
            Self::OpenVino(name) => format!("; if there is no {name} for OpenVINO here, use device cpu"),
            Self::Cuda(_) | Self::TensorRt(_) => match missing_library(&all) {
                Some("libcuda.so.1") => {
                    ": there is no NVIDIA driver on this machine (libcuda.so.1); use device cpu, or auto".into()
                }
                Some(library) if library.starts_with("libnv") && library != "libnvrtc.so" => {
                    format!(": {library} is missing; install TensorRT (pip install tensorrt), or use device cuda")
                }
                Some(library) => {
                    format!(
                        ": {library} is missing; pip install 'onnxruntime-gpu[cuda,cudnn]' brings it, or use device cpu"
                    )
                }
                None if all.contains("driver version is insufficient") => {
                    ": the NVIDIA driver is too old for the CUDA of this runtime; update the driver, or use device cpu"
                        .into()
                }
                None => "; see with nvidia-smi -L whether there is such a GPU, or use device cpu".into(),
            },
        }
    }
}

/// The library that the loader did not find: "libcublasLt.so.13: cannot open shared object file: No such file ...".
fn missing_library(text: &str) -> Option<&str> {
    let before = &text[..text.find(": cannot open shared object file")?];
    before.rsplit([' ', '/']).next().filter(|name| name.contains(".so"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGGED: &str = "Failed to load library /x/libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot \
                          open shared object file: No such file or directory";

    #[test]
    fn a_library_that_is_missing_is_named_with_its_cure() {
        assert_eq!(missing_library(LOGGED), Some("libcublasLt.so.13"));
        assert_eq!(missing_library("all is well"), None);
        let said = |library: &str| Place::Cuda(0).advice("no", &LOGGED.replace("libcublasLt.so.13", library));
        assert!(said("libcublasLt.so.13").contains("pip install 'onnxruntime-gpu[cuda,cudnn]'"));
        assert!(said("libcuda.so.1").contains("no NVIDIA driver"));
        assert!(said("libnvinfer.so.10").contains("pip install tensorrt"));
        let old = "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version";
        assert!(Place::Cuda(0).advice(old, "").contains("update the driver"));
        assert!(Place::Cuda(1).advice("CUDA failure 101: invalid device ordinal", "").contains("nvidia-smi -L"));
    }

    #[test]
    fn networks_that_a_runtime_cannot_do_get_advice() {
        for (error, cure) in [
            ("Unsupported model IR version: 999, max supported IR version: 10", "pip install --upgrade onnxruntime"),
            ("Current official support for domain ai.onnx is till opset 21.", "pip install --upgrade onnxruntime"),
            ("NOT_IMPLEMENTED : Could not find an implementation for Conv(11) node", "its files of 32 bits"),
            ("Fatal error: com.example:Frob(-1) is not a registered function/op", "export it with standard ones"),
            ("External data path escapes model directory.", "copy the whole model directory again"),
        ] {
            assert!(Place::Cpu.advice(error, "").contains(cure), "{error}");
        }
        assert_eq!(Place::Cpu.advice("damaged", ""), "");
    }
}
