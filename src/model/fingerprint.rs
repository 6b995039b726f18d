//! Computes the fingerprint of a model: a digest of its files and of the settings that change vectors.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::cancel::Cancel;

use super::manifest::{ImageTower, Manifest, Mask, PadSide, TextTower};
use super::onnx::{self, Contents};

/// The version of this crate's encoding. It is part of every fingerprint: raise it if a change of decoding,
/// resampling, tokenizing or batching gives other vectors for the same files.
const SCHEME: u32 = 1;

/// The largest ONNX file: a protocol buffer ends at 2 GiB, and more weights are in external files.
const MAX_ONNX_BYTES: u64 = 1 << 31;

/// The largest tokenizer, which is read as a whole; those known have up to 33 MB.
const MAX_TOKENIZER_BYTES: u64 = 256 << 20;

/// The properties of a model's files.
pub(super) struct Identity {
    pub(super) fingerprint: String,
    /// Networks that have fp16 tensors, or cast a transposed tensor.
    pub(super) mixed: BTreeSet<String>,
}

/// Checks that all files exist, and reads each of them once. Errors call the manifest `called`.
///
/// Newer settings are included only if they are not the default, so that older models keep their fingerprints. The
/// `digests` replace networks that are `absent`; without a digest, such a network is not part of the fingerprint.
pub(super) fn identify(
    dir: &Path,
    manifest: &Manifest,
    called: &str,
    absent: &BTreeSet<String>,
    digests: &BTreeMap<String, String>,
) -> Result<Identity, String> {
    let mut mixed = BTreeSet::new();
    let mut network = |recipe: &mut String, file: &str| {
        if absent.contains(file) {
            return told(recipe, file, digests);
        }
        if network(recipe, dir, file, called)? {
            mixed.insert(file.to_string());
        }
        Ok(())
    };
    let mut recipe = format!("scheme {SCHEME}\ndimension {}\n", manifest.dimension);
    if manifest.matryoshka {
        recipe.push_str("matryoshka\n");
    }
    if let Some(ImageTower { file, output, pool, preprocess }) = &manifest.image {
        describe(&mut recipe, "image", &(output, pool, preprocess));
        network(&mut recipe, file)?;
    }
    if let Some(tower) = &manifest.text {
        let TextTower { file, output, pool, tokenizer, clean, max_length, padding, pad_id, pad_side, mask } = tower;
        describe(&mut recipe, "text", &(output, pool, max_length, padding, pad_id));
        if !clean.is_empty() {
            describe(&mut recipe, "clean", clean);
        }
        if *pad_side != PadSide::default() {
            describe(&mut recipe, "pad_side", pad_side);
        }
        if *mask != Mask::default() {
            describe(&mut recipe, "mask", mask);
        }
        network(&mut recipe, file)?;
        let path = locate(dir, tokenizer, called)?;
        let length = fs::metadata(&path).map_err(|error| format!("{tokenizer} cannot be read: {error}"))?.len();
        if length > MAX_TOKENIZER_BYTES {
            return Err(format!(
                "{tokenizer} has {length} bytes, and a tokenizer at most {MAX_TOKENIZER_BYTES}; copy it from the model's \
                 source again"
            ));
        }
        hash(&mut recipe, "tokenizer", &path)?;
    }
    Ok(Identity { fingerprint: hex(Sha256::digest(recipe)), mixed })
}

fn describe(recipe: &mut String, tower: &str, settings: &impl Serialize) {
    let settings = serde_json::to_string(settings).expect("strings, numbers and enums always serialize");
    // The recipe keeps the key's first spelling, because stored catalogs have fingerprints made with it.
    let settings = settings.replace(r#""center":"#, r#""centre":"#);
    let _ = writeln!(recipe, "{tower} {settings}");
}

/// Writes a network into the recipe; returns whether it has fp16 tensors or casts a transposed one.
fn network(recipe: &mut String, dir: &Path, file: &str, called: &str) -> Result<bool, String> {
    let bytes = read_network(&locate(dir, file, called)?, file)?;
    let Contents { locations, mixed, random } =
        onnx::contents(&bytes).ok_or_else(|| format!("{file} is not an ONNX file, or is cut short"))?;
    if let Some(operator) = random {
        return Err(format!(
            "{file} has the operator {operator}, which gives a picture another vector each time; export the model \
             for inference, without it"
        ));
    }
    let _ = writeln!(recipe, "network {}", hex(Sha256::digest(&bytes)));
    drop(bytes);
    let beside = Path::new(file).parent().unwrap_or(Path::new(""));
    for location in locations {
        inside(&location).map_err(|reason| format!("{file} has weights in {location:?}: {reason}"))?;
        let data = beside.join(&location);
        let path = dir.join(&data);
        let data = data.display().to_string();
        if !is_there(&path, &data)? {
            return Err(format!("{data} is missing; {file} keeps weights in it: copy it, too"));
        }
        hash(recipe, &format!("weights {location:?}"), &path)?;
    }
    Ok(mixed)
}

/// Writes the same as [`network`] from the digests of the files; external weights are the files named after the
/// network.
fn told(recipe: &mut String, file: &str, digests: &BTreeMap<String, String>) -> Result<(), String> {
    inside(file).map_err(|reason| format!("the file {file:?}: {reason}"))?;
    let _ = writeln!(recipe, "network {}", digests.get(file).map_or("elsewhere", String::as_str));
    for end in [".data", "_data"] {
        for (path, digest) in digests.range(format!("{file}{end}")..) {
            if !path.starts_with(&format!("{file}{end}")) {
                break;
            }
            let location = path.rsplit('/').next().unwrap_or(path);
            let _ = writeln!(recipe, "weights {location:?} {digest}");
        }
    }
    Ok(())
}

/// Reads an ONNX file, which errors call `file`.
pub(super) fn read_network(path: &Path, file: &str) -> Result<Vec<u8>, String> {
    let length = fs::metadata(path).map_err(|error| format!("{file} cannot be read: {error}"))?.len();
    if length > MAX_ONNX_BYTES {
        return Err(format!("{file} has {length} bytes; ONNX files end at 2 GiB"));
    }
    let bytes = fs::read(path).map_err(|error| format!("{file} cannot be read: {error}"))?;
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(format!("{file} is a Git LFS pointer, not the file itself; run: git lfs pull"));
    }
    Ok(bytes)
}

/// Returns the path of a file in the manifest, which must be in `dir` (links may lead elsewhere).
pub(super) fn locate(dir: &Path, file: &str, called: &str) -> Result<PathBuf, String> {
    inside(file).map_err(|reason| format!("{called} names the file {file:?}: {reason}"))?;
    let path = dir.join(file);
    is_there(&path, file)?
        .then_some(path)
        .ok_or_else(|| format!("{file} is missing; copy the whole model directory, or correct {called}"))
}

/// Returns whether a file, which errors call `file`, exists. An unreadable file is an error.
fn is_there(path: &Path, file: &str) -> Result<bool, String> {
    match fs::metadata(path) {
        Ok(facts) if facts.is_file() => Ok(true),
        Ok(_) => Err(format!("{file} is a directory or a device, not a file; copy the whole model directory")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("{file} cannot be read: {error}")),
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
    let cancel = Cancel::current();
    fs::File::open(path)
        .and_then(|mut file| io::copy(&mut file, &mut HashWriter(&mut hasher, &cancel)))
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let _ = writeln!(recipe, "{role} {}", hex(hasher.finalize()));
    Ok(())
}

/// Checks for cancellation between writes, because gigabytes of weights take a minute.
struct HashWriter<'a>(&'a mut Sha256, &'a Cancel);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.check().map_err(io::Error::other)?;
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
