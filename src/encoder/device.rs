//! On what networks are computed, and in which numbers.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The device that runs networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Device {
    /// The processor, by ONNX Runtime's own provider.
    #[default]
    Cpu,
    /// The first NVIDIA GPU if it can be used, or else the processor; [`Encoder::fallback`](super::Encoder::fallback)
    /// says why.
    Auto,
    /// NVIDIA GPUs by their numbers, which share the work.
    Cuda(Vec<u32>),
    /// NVIDIA GPUs by their numbers, through TensorRT: slow to open, fast afterwards.
    TensorRt(Vec<u32>),
    /// A device of OpenVINO, as that calls it: `CPU`, `GPU`, `GPU.1`, `NPU`.
    OpenVino(String),
}

/// The numbers that a device is asked to compute in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    Fp32,
    /// 16 bits, more of them for digits.
    Fp16,
    /// 16 bits, as large and as small as 32 bits reach.
    Bf16,
}

/// One thing that runs a network; there are several where GPUs share the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Cpu,
    Cuda(u32),
    TensorRt(u32),
    OpenVino(String),
}

impl Device {
    /// Everything that the work is shared between; of `Auto`, what it tries.
    pub(super) fn places(&self) -> Vec<Place> {
        match self {
            Self::Cpu => vec![Place::Cpu],
            Self::Auto => vec![Place::Cuda(0)],
            Self::Cuda(numbers) => numbers.iter().copied().map(Place::Cuda).collect(),
            Self::TensorRt(numbers) => numbers.iter().copied().map(Place::TensorRt).collect(),
            Self::OpenVino(name) => vec![Place::OpenVino(name.clone())],
        }
    }
}

impl Place {
    /// Whether it has memory of its own, so that batches pay and copying takes time.
    pub(super) fn is_apart(&self) -> bool {
        matches!(self, Self::Cuda(_) | Self::TensorRt(_))
    }

    /// Says why it cannot compute in `precision`, if it cannot.
    pub(super) fn check(&self, precision: Option<Precision>) -> Result<()> {
        match (self, precision) {
            (Self::TensorRt(_), _) | (_, None | Some(Precision::Fp32 | Precision::Fp16)) => Ok(()),
            (Self::OpenVino(name), Some(Precision::Bf16)) if name != "CPU" || has_bf16() => Ok(()),
            (Self::OpenVino(_), Some(Precision::Bf16)) => Err(Error::argument(
                "precision bf16: this processor has no instructions for it (avx512_bf16 or amx_bf16); leave it out",
            )),
            _ => Err(Error::argument(format!(
                "precision bf16 is not for device {self}: it is for openvino and tensorrt; fp16 may be what you want"
            ))),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_bf16() -> bool {
    std::arch::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_bf16() -> bool {
    false
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, which) = text.split_once(':').map_or((text, None), |(kind, which)| (kind, Some(which)));
        let device = match (kind, which) {
            ("cpu", None) => Some(Self::Cpu),
            ("auto", None) => Some(Self::Auto),
            ("cuda", which) => numbers(which).map(Self::Cuda),
            ("tensorrt", which) => numbers(which).map(Self::TensorRt),
            ("openvino", None) => Some(Self::OpenVino("CPU".into())),
            ("openvino", Some(name)) if is_openvino(name) => Some(Self::OpenVino(name.into())),
            _ => None,
        };
        device.ok_or_else(|| {
            Error::argument(format!(
                "unknown device {text:?}: give cpu, auto, cuda, cuda:1, cuda:0,1, tensorrt, tensorrt:0, openvino or \
                 openvino:GPU"
            ))
        })
    }
}

/// Numbers of GPUs, each once; the first GPU by default.
fn numbers(which: Option<&str>) -> Option<Vec<u32>> {
    let Some(which) = which else { return Some(vec![0]) };
    let mut numbers = Vec::new();
    for number in which.split(',') {
        // A plus sign would do for `parse`.
        let digits = !number.is_empty() && number.len() <= 4 && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|number| digits && !numbers.contains(number))?;
        numbers.push(number);
    }
    Some(numbers)
}

/// Whether it can be a name of OpenVINO's: the name goes into its configuration.
fn is_openvino(name: &str) -> bool {
    let (kind, number) = name.split_once('.').unwrap_or((name, "0"));
    matches!(kind, "CPU" | "GPU" | "NPU") && number.len() <= 4 && number.parse::<u16>().is_ok()
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Auto => f.write_str("auto"),
            Self::Cuda(numbers) => write!(f, "cuda:{}", listed(numbers)),
            Self::TensorRt(numbers) => write!(f, "tensorrt:{}", listed(numbers)),
            Self::OpenVino(name) => write!(f, "openvino:{name}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::TensorRt(number) => write!(f, "tensorrt:{number}"),
            Self::OpenVino(name) => write!(f, "openvino:{name}"),
        }
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "fp32" => Ok(Self::Fp32),
            "fp16" => Ok(Self::Fp16),
            "bf16" => Ok(Self::Bf16),
            _ => Err(Error::argument(format!(
                "unknown precision {text:?}: give fp32, fp16 or bf16; a network of 8 bits is a model of its own"
            ))),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_written() {
        let known = [
            ("cpu", Device::Cpu, "cpu"),
            ("auto", Device::Auto, "auto"),
            ("cuda", Device::Cuda(vec![0]), "cuda:0"),
            ("cuda:1", Device::Cuda(vec![1]), "cuda:1"),
            ("cuda:2,0", Device::Cuda(vec![2, 0]), "cuda:2,0"),
            ("tensorrt", Device::TensorRt(vec![0]), "tensorrt:0"),
            ("tensorrt:3", Device::TensorRt(vec![3]), "tensorrt:3"),
            ("openvino", Device::OpenVino("CPU".into()), "openvino:CPU"),
            ("openvino:GPU.1", Device::OpenVino("GPU.1".into()), "openvino:GPU.1"),
        ];
        for (text, device, written) in known {
            assert_eq!(text.parse::<Device>().unwrap(), device);
            assert_eq!(device.to_string(), written);
        }
        assert_eq!(Device::Cuda(vec![2, 0]).places(), [Place::Cuda(2), Place::Cuda(0)]);
    }

    #[test]
    fn what_is_no_device_is_refused_with_a_list() {
        let unknown =
            ["", "gpu", "CPU", "cpu:0", "auto:1", "cuda:", "cuda:x", "cuda:-1", "cuda:+1", "cuda:0,0", "cuda:1,"];
        for text in unknown.into_iter().chain(["cuda:0;1", "cuda:99999", "openvino:", "openvino:\"", "openvino:GPU.x"])
        {
            let error = text.parse::<Device>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("unknown device {text:?}: give cpu, ")), "{error}");
        }
    }

    #[test]
    fn a_place_says_which_numbers_it_cannot_compute_in() {
        for precision in ["fp32", "fp16", "bf16"] {
            assert_eq!(precision.parse::<Precision>().unwrap().to_string(), precision);
        }
        assert!("int8".parse::<Precision>().unwrap_err().to_string().contains("a model of its own"));
        for place in [Place::Cpu, Place::Cuda(0)] {
            assert!(place.check(None).is_ok() && place.check(Some(Precision::Fp32)).is_ok());
            let error = place.check(Some(Precision::Bf16)).unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "precision bf16 is not for device {place}: it is for openvino and tensorrt; fp16 may be what you want"
                )
            );
        }
        assert!(Place::TensorRt(0).check(Some(Precision::Bf16)).is_ok());
        assert!(Place::OpenVino("GPU".into()).check(Some(Precision::Bf16)).is_ok());
        assert_eq!(Place::OpenVino("CPU".into()).check(Some(Precision::Bf16)).is_ok(), has_bf16());
    }
}
