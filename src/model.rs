//! Reads a model directory: its manifest, its files and its fingerprint. It runs no inference.

mod facts;
mod fingerprint;
mod layout;
mod manifest;
mod onnx;
mod quantization;
mod tail;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use self::facts::Facts;
pub use self::manifest::{Clean, ImageTower, Mask, PadSide, Padding, Pool, Prompts, TextTower};
pub use self::quantization::{NetworkPrecision, Quantization};
pub use self::tail::{Part, Tail};

use self::fingerprint::{Identity, identify};
use self::manifest::Manifest;
use crate::calibrate::Typical;
use crate::error::{Error, Result};

/// The manifest file of a model directory.
pub const MANIFEST: &str = "model.json";

/// The file with facts about the networks: see [`Facts`].
pub const FACTS: &str = "probe.json";

/// The names of outputs with image vectors, best first.
pub const IMAGE_OUTPUTS: &[&str] = &["image_embeds", "image_embeddings", "image_embedding", "pooler_output"];
/// The names of outputs with text vectors, best first.
pub const TEXT_OUTPUTS: &[&str] =
    &["text_embeds", "text_embeddings", "text_embedding", "sentence_embedding", "pooler_output"];

/// The suffix of fp16 networks.
const HALF: &str = "_fp16";

/// The largest manifest, in bytes.
const MAX_SETTINGS: u64 = 64 << 20;

/// A checked model directory: its manifest is read, its files exist, its fingerprint is computed.
#[derive(Debug, Clone)]
pub struct Model {
    dir: PathBuf,
    manifest: Manifest,
    fingerprint: String,
    facts: Facts,
    /// Networks that are not in the directory.
    absent: BTreeSet<String>,
    /// Networks that have fp16 tensors, or cast a transposed tensor.
    mixed: BTreeSet<String>,
}

/// Reads a settings file, which must be a regular file: a device or a pipe may never end.
fn settings(path: &Path) -> io::Result<String> {
    let facts = fs::metadata(path)?;
    match facts.is_file() && facts.len() <= MAX_SETTINGS {
        true => fs::read_to_string(path),
        false => Err(io::Error::other("it is not a regular file of at most 64 MiB")),
    }
}

impl Model {
    /// Opens and checks the model directory `dir`. Without a `model.json`, the manifest is derived from the files if
    /// they have the layout of the model hubs, of immich or of clip-as-service.
    ///
    /// # Errors
    /// [`Error::Model`] if the manifest or a file that it names is missing, damaged or outside the directory, or if a
    /// setting cannot be derived from the files.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let blame = |reason: String| Error::model(dir.display(), reason);
        if !dir.is_dir() {
            return Err(blame(format!("no such directory; a model is a directory with a {MANIFEST}")));
        }
        match settings(&dir.join(MANIFEST)) {
            Ok(text) => Self::described(dir, &text, MANIFEST, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let manifest = layout::recognized(dir).map_err(blame)?;
                Self::complete(dir, manifest, "the manifest made from its files", None)
            }
            Err(error) => Err(blame(format!("{MANIFEST} cannot be read: {error}"))),
        }
    }

    /// Opens and checks a model directory whose networks may be missing, because a service runs them. It reads
    /// `manifest` if there is one, like [`with_manifest`](Self::with_manifest), otherwise the directory, like
    /// [`open`](Self::open).
    ///
    /// `facts`, by default the directory's `probe.json`, gives the digests of the missing networks: the fingerprint is
    /// then that of the complete directory. Without digests, it covers only the settings and the tokenizer.
    ///
    /// # Errors
    /// [`Error::Model`] as for those, and if the facts cannot be read.
    pub fn without_networks(dir: impl AsRef<Path>, manifest: Option<&str>, facts: Option<&str>) -> Result<Self> {
        let dir = dir.as_ref();
        let read = |text: &str| Facts::read(text).map_err(|reason| Error::model(dir.display(), reason));
        let facts = match facts {
            Some(facts) => read(facts)?,
            None => match settings(&dir.join(FACTS)) {
                Ok(text) => read(&text)?,
                Err(_) => Facts::default(),
            },
        };
        match manifest {
            Some(manifest) => Self::described(dir, manifest, "the manifest", Some(facts)),
            None => match settings(&dir.join(MANIFEST)) {
                Ok(text) => Self::described(dir, &text, MANIFEST, Some(facts)),
                Err(_) => Ok(Self { facts, ..Self::open(dir)? }),
            },
        }
    }

    /// Opens and checks the model directory `dir` with `manifest` instead of its `model.json`. Nothing is written, so
    /// several users may share the directory. The fingerprint is that of the same manifest in a file.
    ///
    /// # Errors
    /// [`Error::Model`] as for [`open`](Self::open).
    pub fn with_manifest(dir: impl AsRef<Path>, manifest: &str) -> Result<Self> {
        let dir = dir.as_ref();
        if !dir.is_dir() {
            return Err(Error::model(
                dir.display(),
                "no such directory; it must hold the files that the manifest names",
            ));
        }
        Self::described(dir, manifest, "the manifest", None)
    }

    /// Opens a directory with a manifest, which errors call `called`. With facts, networks may be missing.
    fn described(dir: &Path, manifest: &str, called: &str, facts: Option<Facts>) -> Result<Self> {
        let manifest =
            layout::read(dir, manifest).map_err(|reason| Error::model(dir.display(), format!("{called}: {reason}")))?;
        Self::complete(dir, manifest, called, facts)
    }

    fn complete(dir: &Path, manifest: Manifest, called: &str, facts: Option<Facts>) -> Result<Self> {
        let mut absent = BTreeSet::new();
        if facts.is_some() {
            let files =
                [manifest.image.as_ref().map(|tower| &tower.file), manifest.text.as_ref().map(|tower| &tower.file)];
            absent.extend(files.into_iter().flatten().filter(|file| !dir.join(file).is_file()).cloned());
        }
        let facts = facts.unwrap_or_default();
        let Identity { fingerprint, mixed } = identify(dir, &manifest, called, &absent, &facts.sha256)
            .map_err(|reason| Error::model(dir.display(), reason))?;
        Ok(Self { dir: dir.to_path_buf(), manifest, fingerprint, facts, absent, mixed })
    }

    /// Returns whether the network `file` is in the directory.
    pub fn has(&self, file: &str) -> bool {
        !self.absent.contains(file)
    }

    /// Returns whether the network `file`, which must be in the directory, uses fp16 or casts a transposed tensor.
    pub fn is_mixed(&self, file: &str) -> bool {
        self.mixed.contains(file)
    }

    /// Returns how an output of the network `file` is made of feature maps, and the bytes of the network with these as
    /// further outputs; None if it is made otherwise, or its weights are in files of their own.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read.
    pub fn with_maps(&self, file: &str, output: &str) -> Result<Option<(Tail, Vec<u8>)>> {
        let path = self.path(file);
        let mut bytes = fs::read(&path).map_err(Error::io(&path))?;
        let apart = onnx::contents(&bytes).is_none_or(|contents| !contents.locations.is_empty());
        let Some(tail) = tail::tail(&bytes, output).filter(|_| !apart) else { return Ok(None) };
        let (maps, others) = tail.part.tensors();
        let known = onnx::interface(&bytes).unwrap_or_default();
        let mut names: Vec<&str> = maps.into_iter().chain(others).chain([tail.vector.as_str()]).collect();
        names.retain(|name| known.output(&[name]).is_none());
        bytes.extend(tail::outputs(&names));
        Ok(Some((tail, bytes)))
    }

    /// Returns the facts about the networks.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Returns the same model with its fp16 networks: `image_fp16.onnx` beside `image.onnx`, for one tower or both.
    /// Returns the model itself if its own networks are fp16, and `None` if there are none.
    ///
    /// # Errors
    /// [`Error::Model`] if such a file is damaged, or keeps weights outside the directory.
    pub fn half(&self) -> Result<Option<Self>> {
        let mut manifest = self.manifest.clone();
        let image = manifest.image.as_mut().map(|tower| &mut tower.file);
        let text = manifest.text.as_mut().map(|tower| &mut tower.file);
        let mut any = false;
        for file in [image, text].into_iter().flatten() {
            let stem = file.strip_suffix(".onnx").unwrap_or(file);
            any |= stem.ends_with(HALF);
            let half = format!("{stem}{HALF}.onnx");
            if self.dir.join(&half).is_file() {
                (*file, any) = (half, true);
            }
        }
        if !any && self.manifest.precision != Some(NetworkPrecision::Fp16) {
            return Ok(None);
        }
        let facts = (!self.absent.is_empty()).then(|| self.facts.clone());
        Self::complete(&self.dir, manifest, MANIFEST, facts).map(Some)
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the path of `file`, which a tower names.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// Returns the manifest as JSON, with all derived settings. Saved as `model.json`, it describes the same model.
    pub fn manifest(&self) -> String {
        serde_json::to_string_pretty(&self.manifest).expect("strings, numbers and enums always serialize")
    }

    /// Returns the name of the model.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// Returns the version of the model.
    pub fn version(&self) -> &str {
        &self.manifest.version
    }

    /// Returns the dimension of the vectors.
    pub fn dim(&self) -> usize {
        self.manifest.dimension
    }

    /// Returns whether vectors are truncated outputs of the networks (Matryoshka).
    pub fn matryoshka(&self) -> bool {
        self.manifest.matryoshka
    }

    /// Returns the fingerprint: the SHA-256, in hexadecimal digits, of everything that changes vectors, which is the
    /// networks with their weights, the tokenizer, and the settings of both towers. Two directories with the same
    /// fingerprint give the same vectors.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Returns the image tower, if the model has one.
    pub fn image(&self) -> Option<&ImageTower> {
        self.manifest.image.as_ref()
    }

    /// Returns the text tower, if the model has one.
    pub fn text(&self) -> Option<&TextTower> {
        self.manifest.text.as_ref()
    }

    /// Returns the license, if the manifest names one.
    pub fn license(&self) -> Option<&str> {
        self.manifest.license.as_deref()
    }

    /// Returns the description by the model's authors.
    pub fn description(&self) -> Option<&str> {
        self.manifest.description.as_deref()
    }

    /// Returns the languages of the text tower, as BCP 47 tags.
    pub fn languages(&self) -> &[String] {
        &self.manifest.languages
    }

    /// Returns the precision of the networks, if the manifest names it.
    pub fn precision(&self) -> Option<NetworkPrecision> {
        self.manifest.precision
    }

    /// Returns the scores that are typical of the model, if the manifest has them.
    pub fn calibration(&self) -> Option<&Typical> {
        self.manifest.calibration.as_ref()
    }

    /// Returns the templates of sentences around a text, if the manifest has some.
    pub fn prompts(&self) -> Option<&Prompts> {
        Some(&self.manifest.prompts).filter(|prompts| !prompts.is_empty())
    }

    /// Returns the record of the quantization, if the model is quantized.
    pub fn quantization(&self) -> Option<&Quantization> {
        self.manifest.quantized.as_ref()
    }
}
