//! A model directory on disk: its manifest, its files, and what identifies it. No inference happens here.

mod onnx;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::preprocess::Preprocess;

/// The manifest of a model directory.
pub const MANIFEST: &str = "model.json";

/// The manifest format that this crate reads.
const FORMAT: u64 = 1;

/// How this crate makes vectors out of a manifest. Part of every fingerprint: raise it when a change of decoding,
/// resampling, tokenizing or batching gives other vectors for the same files.
const SCHEME: u32 = 1;

/// Protocol buffers, and so ONNX files, end at 2 GiB; more weights lie in external files.
const MAX_ONNX_BYTES: u64 = 1 << 31;

/// A checked model directory: manifest read, files present, fingerprint taken.
#[derive(Debug, Clone)]
pub struct Model {
    dir: PathBuf,
    manifest: Manifest,
    fingerprint: String,
}

/// What turns pictures into vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageTower {
    /// The ONNX file, relative to the model directory.
    pub file: String,
    /// The output to read; found by its name or shape when not given.
    #[serde(default)]
    pub output: Option<String>,
    /// How an output with a vector for each patch becomes one vector.
    #[serde(default)]
    pub pool: Option<Pool>,
    /// From picture to pixel tensor.
    pub preprocess: Preprocess,
}

/// What turns texts into vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextTower {
    /// The ONNX file, relative to the model directory.
    pub file: String,
    /// The output to read; found by its name or shape when not given.
    #[serde(default)]
    pub output: Option<String>,
    /// How an output with a vector for each token becomes one vector.
    #[serde(default)]
    pub pool: Option<Pool>,
    /// The tokenizer, in the format of the crate `tokenizers`, relative to the model directory.
    pub tokenizer: String,
    /// Longer texts lose their tail; the tokens that the tokenizer adds at the end stay.
    pub max_length: usize,
    /// To which length texts are padded.
    pub padding: Padding,
    /// The token that fills up padded texts.
    #[serde(default)]
    pub pad_id: u32,
}

/// How one vector for each token becomes one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// The first token's.
    Cls,
    /// The mean over the tokens that are not padding.
    Mean,
}

/// To which length texts are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// Only as far as the longest text of a run.
    Longest,
    /// To `max_length`, for models whose vectors depend on it.
    Fixed,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    #[serde(rename = "format")]
    _format: u64,
    name: String,
    version: String,
    dimension: usize,
    #[serde(default)]
    licence: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    languages: Vec<String>,
    #[serde(default)]
    image: Option<ImageTower>,
    #[serde(default)]
    text: Option<TextTower>,
}

/// Read before the manifest itself, so that a manifest of a later format is not blamed for its new keys.
#[derive(Deserialize)]
struct Header {
    format: u64,
}

impl Model {
    /// Reads and checks the model directory `dir`.
    ///
    /// # Errors
    /// [`Error::Model`] when the manifest or a file that it names is missing, damaged or outside the directory.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let blame = |reason: String| Error::model(dir.display(), reason);
        if !dir.is_dir() {
            return Err(blame("no such directory; a model is a directory with a model.json".into()));
        }
        let text = fs::read_to_string(dir.join(MANIFEST)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                blame(format!("{MANIFEST} is missing; a model is a directory with a {MANIFEST}"))
            }
            _ => blame(format!("{MANIFEST} cannot be read: {error}")),
        })?;
        Self::described(dir, &text, MANIFEST)
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
        Self::described(dir, manifest, "the manifest")
    }

    /// `called` is what errors call the manifest.
    fn described(dir: &Path, manifest: &str, called: &str) -> Result<Self> {
        let blame = |reason: String| Error::model(dir.display(), reason);
        let manifest = parse(manifest).map_err(|reason| blame(format!("{called}: {reason}")))?;
        let fingerprint = fingerprint(dir, &manifest, called).map_err(blame)?;
        Ok(Self { dir: dir.to_path_buf(), manifest, fingerprint })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where `file` of a tower lies.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
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

    /// Under which licence the model may be used, if it says so.
    pub fn licence(&self) -> Option<&str> {
        self.manifest.licence.as_deref()
    }

    /// What the model is, in its makers' words.
    pub fn description(&self) -> Option<&str> {
        self.manifest.description.as_deref()
    }

    /// The languages that the text tower understands, as BCP 47 tags.
    pub fn languages(&self) -> &[String] {
        &self.manifest.languages
    }
}

fn parse(text: &str) -> Result<Manifest, String> {
    let Header { format } = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if format != FORMAT {
        return Err(format!(
            "format {format} is not {FORMAT}, the one this version of plushie_search reads; update it"
        ));
    }
    let manifest: Manifest = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let check = |right: bool, reason: &str| if right { Ok(()) } else { Err(reason.to_string()) };
    for (key, value) in [("name", &manifest.name), ("version", &manifest.version)] {
        let plain = !value.trim().is_empty() && value.len() <= 200 && !value.chars().any(char::is_control);
        check(plain, &format!("{key} {value:?} must be 1 to 200 bytes of plain text"))?;
    }
    check((1..=1 << 16).contains(&manifest.dimension), "dimension must be 1 to 65536")?;
    check(manifest.image.is_some() || manifest.text.is_some(), "neither image nor text: a model needs one of them")?;
    if let Some(tower) = &manifest.text {
        check((1..=8192).contains(&tower.max_length), "text.max_length must be 1 to 8192")?;
    }
    Ok(manifest)
}

/// Checks that all files are there, and reads each of them once.
fn fingerprint(dir: &Path, manifest: &Manifest, called: &str) -> Result<String, String> {
    let mut recipe = format!("scheme {SCHEME}\ndimension {}\n", manifest.dimension);
    if let Some(ImageTower { file, output, pool, preprocess }) = &manifest.image {
        describe(&mut recipe, "image", &(output, pool, preprocess));
        network(&mut recipe, dir, file, called)?;
    }
    if let Some(TextTower { file, output, pool, tokenizer, max_length, padding, pad_id }) = &manifest.text {
        describe(&mut recipe, "text", &(output, pool, max_length, padding, pad_id));
        network(&mut recipe, dir, file, called)?;
        hash(&mut recipe, "tokenizer", &locate(dir, tokenizer, called)?)?;
    }
    Ok(hex(Sha256::digest(recipe)))
}

fn describe(recipe: &mut String, tower: &str, settings: &impl Serialize) {
    let settings = serde_json::to_string(settings).expect("strings, numbers and enums always serialise");
    let _ = writeln!(recipe, "{tower} {settings}");
}

fn network(recipe: &mut String, dir: &Path, file: &str, called: &str) -> Result<(), String> {
    let path = locate(dir, file, called)?;
    let length = fs::metadata(&path).map_err(|error| format!("{file} cannot be read: {error}"))?.len();
    if length > MAX_ONNX_BYTES {
        return Err(format!("{file} has {length} bytes; ONNX files end at 2 GiB"));
    }
    let bytes = fs::read(&path).map_err(|error| format!("{file} cannot be read: {error}"))?;
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(format!("{file} is a Git LFS pointer, not the file itself; run: git lfs pull"));
    }
    let locations: BTreeSet<String> =
        onnx::external_data(&bytes).ok_or_else(|| format!("{file} is not an ONNX file, or is cut short"))?;
    let _ = writeln!(recipe, "network {}", hex(Sha256::digest(&bytes)));
    drop(bytes);
    let beside = Path::new(file).parent().unwrap_or(Path::new(""));
    for location in locations {
        inside(&location).map_err(|reason| format!("{file} has weights in {location:?}: {reason}"))?;
        let data = beside.join(&location);
        let path = dir.join(&data);
        if !path.is_file() {
            return Err(format!("{} is missing; {file} keeps weights in it", data.display()));
        }
        hash(recipe, &format!("weights {location:?}"), &path)?;
    }
    Ok(())
}

/// The path of a file that the manifest names, which must lie in `dir` (links may lead elsewhere).
fn locate(dir: &Path, file: &str, called: &str) -> Result<PathBuf, String> {
    inside(file).map_err(|reason| format!("{called} names the file {file:?}: {reason}"))?;
    let path = dir.join(file);
    match path.is_file() {
        true => Ok(path),
        false => Err(format!("{file} is missing; copy the whole model directory, or correct {called}")),
    }
}

fn inside(file: &str) -> Result<(), String> {
    let plain = Path::new(file).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    match plain && !file.is_empty() && !file.contains(['\0', '\\']) {
        true => Ok(()),
        false => Err("it must be a path inside the model directory, with '/' and without '..'".into()),
    }
}

fn hash(recipe: &mut String, role: &str, path: &Path) -> Result<(), String> {
    let mut hasher = Sha256::new();
    fs::File::open(path)
        .and_then(|mut file| io::copy(&mut file, &mut HashWriter(&mut hasher)))
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let _ = writeln!(recipe, "{role} {}", hex(hasher.finalize()));
    Ok(())
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
