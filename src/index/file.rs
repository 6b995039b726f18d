//! The file that keeps an approximate segment: arrays, each with its checksums, and behind them a header in JSON.
//!
//! It can be made again at any time: a file that is not whole, or is of another catalog, is left alone. A new one takes its
//! name at once, so that nobody reads half of one. Vectors are most of it: they are written first, and the index is learned
//! from the pages of the file; when it is opened they are not read, but checked in blocks as searches come upon them.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
use crate::index::matrix::{Matrix, block_rows};

/// Tells the files apart that engines of this process write at a time: one that was cut would be zeros to another's search.
static FILES: AtomicU64 = AtomicU64::new(0);

/// How such a file begins, with a number that tells the order of bytes.
const MAGIC: &[u8; 24] = b"plushie_search index  2\n";
const ORDER: u64 = 0x0102_0304_0506_0708;
/// The beginning: magic, order, and of the header its place, length and checksum.
const BEGIN: usize = 64;
/// Arrays begin at multiples of this.
const ALIGN: usize = 64;
/// Bytes that one thread checks at a time.
const PIECE: usize = 16 << 20;
/// Arrays of each space: codes, vectors, and the checksums of their blocks.
const ARRAYS: usize = 3;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    /// What the owner says of it.
    about: Value,
    rows: usize,
    spaces: Vec<Space>,
    /// References, items, and those of each space.
    arrays: Vec<Array>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Space {
    dim: usize,
    factory: String,
    tuned: Tuned,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Array {
    start: usize,
    length: usize,
    /// Those of its pieces; none for vectors, whose blocks have theirs in another array.
    checksums: Vec<u64>,
}

impl Array {
    fn range(&self) -> Range<usize> {
        self.start..self.start + self.length
    }
}

/// A file of an index that is being written, under another name until it is whole.
#[derive(Debug)]
pub struct IndexFile {
    path: PathBuf,
    new: PathBuf,
    file: BufWriter<File>,
    written: usize,
    /// The vectors of each space so far, and the checksums of their blocks.
    vectors: Vec<(Array, Vec<u64>)>,
}

impl IndexFile {
    /// Begins a file that is to have this path.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn new(path: &Path) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let new = path.with_extension(format!("new-{}-{}", std::process::id(), FILES.fetch_add(1, Ordering::Relaxed)));
        let file = BufWriter::new(File::create(&new).map_err(Error::io(path))?);
        let mut file = Self { path: path.into(), new, file, written: 0, vectors: Vec::new() };
        file.write(&[0; BEGIN]).map_err(Error::io(path))?;
        Ok(file)
    }

    /// Writes the vectors of the next space, and returns them as pages of the file.
    ///
    /// # Errors
    /// [`Error::Io`] when they cannot be written.
    pub(super) fn add<'a>(&mut self, dim: usize, rows: impl Iterator<Item = &'a [f32]>) -> Result<Matrix> {
        self.add_rows(dim, rows).map_err(Error::io(&self.path))
    }

    fn add_rows<'a>(&mut self, dim: usize, rows: impl Iterator<Item = &'a [f32]>) -> io::Result<Matrix> {
        let (start, each) = (self.written, block_rows(dim) * dim);
        let (mut block, mut checksums) = (Vec::with_capacity(each), Vec::new());
        let mut finish = |file: &mut Self, block: &mut Vec<f32>| {
            checksums.extend(Matrix::checksums(dim, block));
            file.write(bytemuck::cast_slice(block))?;
            block.clear();
            io::Result::Ok(())
        };
        for row in rows {
            block.extend_from_slice(row);
            if block.len() == each {
                finish(self, &mut block)?;
            }
        }
        finish(self, &mut block)?;
        let array = Array { start, length: self.written - start, checksums: Vec::new() };
        self.pad()?;
        self.file.flush()?;
        let matrix = Matrix::written(dim, &Arc::new(Mapping::open(&self.new)?), array.range());
        self.vectors.push((array, checksums));
        Ok(matrix)
    }

    /// Writes the rest of a segment whose vectors were added, with what its owner says of it, and gives the file its name;
    /// the segment knows its checksum from then on.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written: then there is none, or the one that was there before.
    pub fn finish(mut self, sealed: &mut Sealed, about: &Value) -> Result<()> {
        sealed.written = Some(self.write_rest(sealed, about).map_err(Error::io(&self.path))?);
        Ok(())
    }

    fn write_rest(&mut self, sealed: &Sealed, about: &Value) -> io::Result<u64> {
        let mut arrays = vec![
            self.write_array(bytemuck::cast_slice(&sealed.references))?,
            self.write_array(bytemuck::cast_slice(&sealed.items))?,
        ];
        let vectors = std::mem::take(&mut self.vectors);
        for (coded, (vectors, checksums)) in sealed.coded.iter().zip(vectors) {
            let codes = coded.to_bytes().map_err(io::Error::other)?;
            arrays.extend([self.write_array(&codes)?, vectors, self.write_array(bytemuck::cast_slice(&checksums))?]);
        }
        let space = |(coded, tuned): (&Coded, &Tuned)| Space {
            dim: coded.dim(),
            factory: coded.factory().as_str().to_owned(),
            tuned: *tuned,
        };
        let spaces = sealed.coded.iter().zip(&sealed.tuned).map(space).collect();
        let header = Header { about: about.clone(), rows: sealed.len(), arrays, spaces };
        let header = serde_json::to_vec(&header).map_err(io::Error::other)?;
        let checksum = xxh3_64(&header);
        let numbers = [ORDER, self.written as u64, header.len() as u64, checksum];
        self.write(&header)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(MAGIC)?;
        numbers.iter().try_for_each(|number| self.file.write_all(&number.to_ne_bytes()))?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fs::rename(&self.new, &self.path)?;
        Ok(checksum)
    }

    fn write_array(&mut self, data: &[u8]) -> io::Result<Array> {
        let array = Array { start: self.written, length: data.len(), checksums: checksums(data) };
        self.write(data)?;
        self.pad()?;
        Ok(array)
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.written += data.len();
        self.file.write_all(data)
    }

    /// Writes as many zeros as are missing to a multiple of [`ALIGN`].
    fn pad(&mut self) -> io::Result<()> {
        let missing = self.written.next_multiple_of(ALIGN) - self.written;
        self.write(&[0; ALIGN][..missing])
    }
}

impl Drop for IndexFile {
    fn drop(&mut self) {
        // Once it has its name it is not there any more.
        drop(fs::remove_file(&self.new));
    }
}

impl Sealed {
    /// Opens the file of an [`IndexFile`]. All but its vectors is read and checked; these stay pages of the file, and each is checked
    /// when it is first looked at ([`is_damaged`](Self::is_damaged)). Returns what its owner has said of it, too.
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
        let start = usize::try_from(number(1)).ok();
        let end = start.and_then(|start| start.checked_add(usize::try_from(number(2)).ok()?));
        let header = start.zip(end).and_then(|(start, end)| file.get(start..end));
        let header = header.filter(|header| xxh3_64(header) == number(3)).ok_or_else(|| damaged("a damaged header"))?;
        let header: Header = serde_json::from_slice(header).map_err(|error| damaged(&error.to_string()))?;
        if header.arrays.len() != 2 + ARRAYS * header.spaces.len() {
            return Err(damaged("missing arrays"));
        }
        // The header may be of another program, which has written a right checksum, too.
        if header.spaces.iter().any(|space| !(1..=1 << 16).contains(&space.dim)) || header.rows > file.len() {
            return Err(damaged("a number out of its bounds"));
        }
        let of_space =
            |place: usize| place.checked_sub(2).map(|place| (&header.spaces[place / ARRAYS], place % ARRAYS));
        for (place, array) in header.arrays.iter().enumerate() {
            let wanted = match of_space(place) {
                None => Some(8 * header.rows),
                Some((space, 1)) => Some(4 * header.rows * space.dim),
                Some((space, 2)) => Some(8 * header.rows.div_ceil(block_rows(space.dim))),
                Some(_) => None,
            };
            let data = array.start.checked_add(array.length).and_then(|end| file.get(array.start..end));
            let data = data.filter(|data| wanted.is_none_or(|length| length == data.len()));
            let data = data.ok_or_else(|| damaged("cut short"))?;
            let is_vectors = of_space(place).is_some_and(|(_, kind)| kind == 1);
            if !array.start.is_multiple_of(ALIGN) || (!is_vectors && checksums(data) != array.checksums) {
                return Err(damaged("a damaged array"));
            }
        }
        let range = |place: usize| header.arrays[place].range();
        let (mut vectors, mut coded) = (Vec::new(), Vec::new());
        for (number, space) in header.spaces.iter().enumerate() {
            let first = 2 + ARRAYS * number;
            let factory = Factory::parse(&space.factory, space.dim)?;
            coded.push(Coded::from_bytes(&factory, space.dim, &file[range(first)])?);
            vectors.push(Matrix::mapped(space.dim, &file, range(first + 1), range(first + 2)));
        }
        let sealed = Self {
            references: bytemuck::pod_collect_to_vec(&file[range(0)]),
            items: bytemuck::pod_collect_to_vec(&file[range(1)]),
            vectors,
            coded,
            tuned: header.spaces.iter().map(|space| space.tuned).collect(),
            resident: None,
            written: Some(number(3)),
        };
        Ok((sealed, header.about))
    }

    /// The checksum that a file begins with, which tells it from any other; none if there is no such file.
    pub fn checksum(path: &Path) -> Option<u64> {
        let mut begin = [0; BEGIN];
        File::open(path).and_then(|mut file| file.read_exact(&mut begin)).ok()?;
        let numbers = begin.strip_prefix(MAGIC)?.as_chunks().0;
        Some(u64::from_ne_bytes(*numbers.get(3)?))
    }

    /// Reads a whole file, its vectors too.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), also for a damaged vector.
    pub fn check(path: &Path) -> Result<()> {
        let (sealed, _) = Self::open(path)?;
        sealed.vectors.iter().for_each(Matrix::check);
        if sealed.is_damaged() {
            let reason = "it is not a whole index file (a damaged vector)";
            return Err(Error::io(path)(io::Error::new(io::ErrorKind::InvalidData, reason)));
        }
        Ok(())
    }
}

fn checksums(data: &[u8]) -> Vec<u64> {
    data.par_chunks(PIECE).map(xxh3_64).collect()
}
