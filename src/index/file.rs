//! The file that keeps an approximate segment: a header in JSON, then arrays, each with its checksum.
//!
//! It can be made again at any time: a file that is not whole, or is of another catalog, is left alone. A new one takes its
//! name at once, so that nobody reads half of one.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::index::approximate::Sealed;
use crate::index::coded::Coded;
use crate::index::effort::Tuned;
use crate::index::factory::Factory;
use crate::index::mapping::Mapping;
use crate::index::matrix::Matrix;

/// How such a file begins, with a number that tells the order of bytes.
const MAGIC: &[u8; 24] = b"plushie_search index  1\n";
const ORDER: u64 = 0x0102_0304_0506_0708;
/// The beginning: magic, order, length of the header and its checksum.
const BEGIN: usize = 48;
/// Arrays begin at multiples of this.
const ALIGN: usize = 64;
/// Bytes that one thread checks at a time.
const PIECE: usize = 16 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    /// What the owner says of it.
    about: Value,
    rows: usize,
    spaces: Vec<Space>,
    /// References, items, and for each space codes and vectors.
    arrays: Vec<Array>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Space {
    dim: usize,
    factory: String,
    tuned: Tuned,
}

#[derive(Debug, Serialize, Deserialize)]
struct Array {
    start: usize,
    length: usize,
    /// Those of its pieces.
    checksums: Vec<u64>,
}

impl Array {
    fn range(&self) -> Range<usize> {
        self.start..self.start + self.length
    }
}

impl Sealed {
    /// Writes it to a file, with what its owner says of it.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written: then there is none, or the one that was there before.
    pub fn save(&self, path: &Path, about: &Value) -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let new = path.with_extension(format!("new-{}", std::process::id()));
        self.write(&new, about).and_then(|()| fs::rename(&new, path)).map_err(|error| {
            drop(fs::remove_file(&new));
            Error::io(path)(error)
        })
    }

    fn write(&self, path: &Path, about: &Value) -> io::Result<()> {
        let codes = self.coded.iter().map(|coded| coded.to_bytes().map_err(io::Error::other));
        let codes = codes.collect::<io::Result<Vec<_>>>()?;
        let mut parts: Vec<&[u8]> = vec![bytemuck::cast_slice(&self.references), bytemuck::cast_slice(&self.items)];
        for (codes, vectors) in codes.iter().zip(&self.vectors) {
            parts.extend([codes.as_slice(), bytemuck::cast_slice(vectors)]);
        }
        let mut start = 0;
        let arrays = parts.iter().map(|part| {
            let array = Array { start, length: part.len(), checksums: checksums(part) };
            start = (start + part.len()).next_multiple_of(ALIGN);
            array
        });
        let space = |(coded, tuned): (&Coded, &Tuned)| Space {
            dim: coded.dim(),
            factory: coded.factory().as_str().to_owned(),
            tuned: *tuned,
        };
        let header = Header {
            about: about.clone(),
            rows: self.len(),
            arrays: arrays.collect(),
            spaces: self.coded.iter().zip(&self.tuned).map(space).collect(),
        };
        let header = serde_json::to_vec(&header).map_err(io::Error::other)?;
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(MAGIC)?;
        for number in [ORDER, header.len() as u64, xxh3_64(&header)] {
            file.write_all(&number.to_ne_bytes())?;
        }
        file.write_all(&header)?;
        pad(&mut file, BEGIN + header.len())?;
        for part in parts {
            file.write_all(part)?;
            pad(&mut file, part.len())?;
        }
        file.into_inner().map_err(|error| error.into_error())?.sync_all()
    }

    /// Reads a file of [`save`](Self::save), whose vectors stay there; checks every byte of it. Returns what its owner has
    /// said of it, too.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, and when it is not as it was written.
    pub fn open(path: &Path) -> Result<(Self, Value)> {
        let damaged = |reason: &str| {
            let reason = format!("it is not a whole index file ({reason})");
            Error::io(path)(io::Error::new(io::ErrorKind::InvalidData, reason))
        };
        let file = Arc::new(Mapping::open(path).map_err(Error::io(path))?);
        let numbers = file.get(MAGIC.len()..BEGIN).filter(|_| file.starts_with(MAGIC));
        let numbers = numbers.ok_or_else(|| damaged("another beginning"))?;
        let number = |place: usize| u64::from_ne_bytes(numbers.as_chunks().0[place]);
        if number(0) != ORDER {
            return Err(damaged("from another kind of processor"));
        }
        let length = usize::try_from(number(1)).ok().and_then(|length| BEGIN.checked_add(length));
        let header = length.and_then(|end| file.get(BEGIN..end)).filter(|header| xxh3_64(header) == number(2));
        let header = header.ok_or_else(|| damaged("a damaged header"))?;
        let first = (BEGIN + header.len()).next_multiple_of(ALIGN);
        let header: Header = serde_json::from_slice(header).map_err(|error| damaged(&error.to_string()))?;
        if header.arrays.len() != 2 + 2 * header.spaces.len() {
            return Err(damaged("missing arrays"));
        }
        let wanted = |place: usize| match place {
            0 | 1 => Some(8 * header.rows),
            place if place % 2 == 1 => Some(4 * header.rows * header.spaces[place / 2 - 1].dim),
            _ => None,
        };
        for (place, array) in header.arrays.iter().enumerate() {
            let end = first.checked_add(array.start).and_then(|start| start.checked_add(array.length));
            let data = end.and_then(|end| file.get(first + array.start..end));
            let data = data.filter(|data| wanted(place).is_none_or(|length| length == data.len()));
            let data = data.ok_or_else(|| damaged("cut short"))?;
            if !array.start.is_multiple_of(ALIGN) || checksums(data) != array.checksums {
                return Err(damaged("a damaged array"));
            }
        }
        let range = |place: usize| {
            let range = header.arrays[place].range();
            first + range.start..first + range.end
        };
        let (mut vectors, mut coded) = (Vec::new(), Vec::new());
        for (number, space) in header.spaces.iter().enumerate() {
            let factory = Factory::parse(&space.factory, space.dim)?;
            coded.push(Coded::from_bytes(&factory, space.dim, &file[range(2 + 2 * number)])?);
            vectors.push(Matrix::mapped(space.dim, &file, range(3 + 2 * number)));
        }
        let sealed = Self {
            references: bytemuck::pod_collect_to_vec(&file[range(0)]),
            items: bytemuck::pod_collect_to_vec(&file[range(1)]),
            vectors,
            coded,
            tuned: header.spaces.iter().map(|space| space.tuned).collect(),
            resident: None,
        };
        Ok((sealed, header.about))
    }
}

fn checksums(data: &[u8]) -> Vec<u64> {
    data.par_chunks(PIECE).map(xxh3_64).collect()
}

/// Writes as many zeros as are missing to a multiple of [`ALIGN`].
fn pad(file: &mut impl Write, written: usize) -> io::Result<()> {
    file.write_all(&[0; ALIGN][..written.next_multiple_of(ALIGN) - written])
}
