//! A model directory on disk: its manifest, its files, and what identifies it. No inference happens here.

mod facts;
mod fingerprint;
mod layout;
mod manifest;
mod onnx;
mod quantization;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use self::facts::Facts;
pub use self::manifest::{Clean, ImageTower, Mask, Padding, Pool, Side, TextTower};
pub use self::quantization::{Precision, Quantization};

use self::fingerprint::{Identity, identify};
use self::manifest::Manifest;
use crate::error::{Error, Result};

/// The manifest of a model directory.
pub const MANIFEST: &str = "model.json";

/// What a model directory may say of its networks: see [`Facts`].
pub const FACTS: &str = "probe.json";

/// The outputs that have the vectors of pictures, best first, by the names that exporters give them.
pub const IMAGE_OUTPUTS: &[&str] = &["image_embeds", "image_embeddings", "image_embedding", "pooler_output"];
/// The outputs that have the vectors of texts, best first.
pub const TEXT_OUTPUTS: &[&str] =
    &["text_embeds", "text_embeddings", "text_embedding", "sentence_embedding", "pooler_output"];

/// What the names of networks of 16 bits end with.
const HALF: &str = "_fp16";

/// The most bytes of a manifest.
const MAX_SETTINGS: u64 = 64 << 20;

/// A checked model directory: manifest read, files present, fingerprint taken.
#[derive(Debug, Clone)]
pub struct Model {
    dir: PathBuf,
    manifest: Manifest,
    fingerprint: String,
    facts: Facts,
    /// Networks that are not here.
    absent: BTreeSet<String>,
    /// Networks whose numbers are of several sizes.
    mixed: BTreeSet<String>,
}

/// The text of a file with settings: nothing that never ends, as a device or a pipe.
fn settings(path: &Path) -> io::Result<String> {
    let facts = fs::metadata(path)?;
    match facts.is_file() && facts.len() <= MAX_SETTINGS {
        true => fs::read_to_string(path),
        false => Err(io::Error::other("it is no file, or one of more than 64 MiB")),
    }
}

impl Model {
    /// Reads and checks the model directory `dir`: as its `model.json` says or, where there is none, as far as its
    /// files tell by the layout of the model hubs, of immich or of clip-as-service.
    ///
    /// # Errors
    /// [`Error::Model`] when the manifest or a file that it names is missing, damaged or outside the directory, or
    /// when there is no manifest and a setting cannot be told from the files.
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

    /// Reads and checks a model directory whose networks may lie elsewhere, because they run there: as
    /// [`open`](Self::open), or as [`with_manifest`](Self::with_manifest) if there is one.
    ///
    /// Digests in `facts`, or in the directory's `probe.json` if there are none, stand for the networks that are not
    /// here: the fingerprint is then that of the complete directory. Without them it tells the settings and the tokenizer
    /// only.
    ///
    /// # Errors
    /// [`Error::Model`] as those, and when the facts cannot be read.
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

    /// Reads and checks the model directory `dir`, which `manifest` describes instead of a file in it: the directory
    /// may be shared with others, and nothing is written into it. The fingerprint is that of the same manifest in a
    /// file.
    ///
    /// # Errors
    /// [`Error::Model`] as [`open`](Self::open), of the manifest that is given.
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

    /// A model of which nothing is here, because a server takes pictures and texts themselves: called `name`, with vectors
    /// of `dim` numbers, and known by what the server is `asked` for.
    ///
    /// # Errors
    /// [`Error::Argument`] when the name cannot be one.
    pub fn of_service(name: &str, dim: usize, asked: &str) -> Result<Self> {
        let manifest = Manifest::without_towers(name, dim).map_err(Error::Argument)?;
        let fingerprint = fingerprint::of_service(asked, dim);
        let (facts, absent, mixed) = (Facts::default(), BTreeSet::new(), BTreeSet::new());
        Ok(Self { dir: PathBuf::new(), manifest, fingerprint, facts, absent, mixed })
    }

    /// `called` is what errors call the manifest; with facts, networks may be missing.
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

    /// Whether the network `file` is here.
    pub fn has(&self, file: &str) -> bool {
        !self.absent.contains(file)
    }

    /// Whether the network `file`, which is here, computes in floats of 16 bits or casts what it has transposed.
    pub fn is_mixed(&self, file: &str) -> bool {
        self.mixed.contains(file)
    }

    /// What is known of the networks without running them.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The same model by the networks of 16 bits that lie beside its own: `image_fp16.onnx` beside `image.onnx`, for
    /// one tower or both; itself if its own are of 16 bits. Nothing if there are none.
    ///
    /// # Errors
    /// [`Error::Model`] when such a file is damaged, or keeps weights outside of the directory.
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
        if !any && self.manifest.precision != Some(Precision::Fp16) {
            return Ok(None);
        }
        let facts = (!self.absent.is_empty()).then(|| self.facts.clone());
        Self::complete(&self.dir, manifest, MANIFEST, facts).map(Some)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where `file` of a tower lies.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// The manifest as JSON, with everything that was found out: saved as `model.json`, it describes the same model.
    pub fn manifest(&self) -> String {
        serde_json::to_string_pretty(&self.manifest).expect("strings, numbers and enums always serialize")
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// The model's version.
    pub fn version(&self) -> &str {
        &self.manifest.version
    }

    /// Numbers in a vector.
    pub fn dim(&self) -> usize {
        self.manifest.dimension
    }

    /// Whether vectors are the beginnings of longer ones that the networks give.
    pub fn matryoshka(&self) -> bool {
        self.manifest.matryoshka
    }

    /// SHA-256, as hexadecimal digits, of everything that changes vectors: the networks with their weights, the
    /// tokenizer, and the settings of both towers. Two directories with the same fingerprint give the same vectors.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The tower for pictures, if the model has one.
    pub fn image(&self) -> Option<&ImageTower> {
        self.manifest.image.as_ref()
    }

    /// The tower for texts, if the model has one.
    pub fn text(&self) -> Option<&TextTower> {
        self.manifest.text.as_ref()
    }

    /// Under which license the model may be used, if it says so.
    pub fn license(&self) -> Option<&str> {
        self.manifest.license.as_deref()
    }

    /// What the model is, in its makers' words.
    pub fn description(&self) -> Option<&str> {
        self.manifest.description.as_deref()
    }

    /// The languages that the text tower understands, as BCP 47 tags.
    pub fn languages(&self) -> &[String] {
        &self.manifest.languages
    }

    /// The numbers in which the networks compute, if the model says so.
    pub fn precision(&self) -> Option<Precision> {
        self.manifest.precision
    }

    /// What a model of fewer bits was made of and what it loses.
    pub fn quantization(&self) -> Option<&Quantization> {
        self.manifest.quantized.as_ref()
    }
}
