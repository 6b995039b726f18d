//! Vectors of the models that a catalog is to be moved to, in `reencode.vectors` until all of them are there.
//!
//! The file may be deleted: the vectors are computed again. A header tells the catalog and the models. It is followed by
//! slots of one length, each with a checksum, so that a slot that was not written to its end counts as free.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::error::{Error, Result};

/// The bytes of the header.
const HEADER: u64 = 32;
/// The bytes of a slot beside its vectors: key and origin before them, the checksum behind.
const FRAME: usize = 24;
/// The slots of the file for each reference until all are written: as much again is left for the catalog itself.
const SLOTS: u64 = 2;
/// The bytes that are reserved at a time.
const STEP: usize = 1 << 20;

/// The source of a reference's vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The file that it was added from.
    File,
    /// The original in `media/`.
    Media,
    /// The thumbnail.
    Thumbnail,
    /// The vectors that the catalog has.
    Stored,
}

impl Origin {
    const ALL: [Self; 4] = [Self::File, Self::Media, Self::Thumbnail, Self::Stored];
}

/// The vectors of a reference.
#[derive(Debug, Clone)]
pub struct StagedRow {
    /// The reference.
    pub reference: i64,
    /// SHA-256 of its content.
    pub digest: [u8; 32],
    /// The source of the vectors.
    pub origin: Origin,
    /// The vectors, one model after another.
    pub vectors: Vec<f32>,
}

/// The vectors that are there, in a file that no other process uses meanwhile.
#[derive(Debug)]
pub struct Staged {
    catalog: PathBuf,
    path: PathBuf,
    file: File,
    /// The bytes of a slot.
    slot: usize,
    /// The slots that are written, by their keys.
    written: HashMap<u64, u64>,
    /// The first free slot.
    next: u64,
}

impl Staged {
    /// Opens the file of the catalog in `directory`. Begins anew if it was written for another catalog or for other models,
    /// each a fingerprint and a dimension.
    ///
    /// # Errors
    /// [`Error::Catalog`] if another process uses it, or it cannot be written.
    pub fn open(directory: &Path, id: [u8; 16], models: &[(&str, usize)]) -> Result<Self> {
        let path = directory.join("reencode.vectors");
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|error| fail(directory, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let reason = "is being moved to another model by another call or process; wait until that has ended";
                return Err(Error::catalog(directory, reason));
            }
            Err(TryLockError::Error(error)) => return Err(fail(directory, &error)),
        }
        let mut header = Sha256::new().chain_update(b"plushie_search reencode 1").chain_update(id);
        for (fingerprint, dim) in models {
            header.update(fingerprint.len().to_le_bytes());
            header.update(fingerprint);
            header.update(dim.to_le_bytes());
        }
        let slot = FRAME + 4 * models.iter().map(|(_, dim)| dim).sum::<usize>();
        let mut staged = Self { catalog: directory.into(), path, file, slot, written: HashMap::new(), next: 0 };
        staged.load(&header.finalize().into()).map_err(|error| fail(directory, &error))?;
        Ok(staged)
    }

    /// Finds the slots that are written.
    fn load(&mut self, header: &[u8; 32]) -> io::Result<()> {
        let mut found = [0; HEADER as usize];
        let mut reader = BufReader::with_capacity(STEP, &self.file);
        match reader.read_exact(&mut found) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            read if read.is_err() || found != *header => {
                self.file.set_len(0)?;
                self.file.rewind()?;
                return self.file.write_all(header);
            }
            _ => {}
        }
        let mut bytes = vec![0; self.slot];
        for number in 0.. {
            match reader.read_exact(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                read => read?,
            }
            if let Some((key, _, _)) = parse(&bytes) {
                self.written.insert(key, number);
                self.next = number + 1;
            }
        }
        Ok(())
    }

    /// Takes the disk space for so many references, and as much again for the catalog, until the file is
    /// [trimmed](Self::trim).
    ///
    /// # Errors
    /// [`Error::Catalog`] if the disk has less.
    pub fn reserve(&mut self, references: usize) -> Result<()> {
        let wanted = HEADER + SLOTS * references as u64 * self.slot as u64;
        let zeros = vec![0; STEP];
        let fill = |mut file: &File| -> io::Result<()> {
            let mut length = file.seek(SeekFrom::End(0))?;
            while length < wanted {
                let step = (wanted - length).min(STEP as u64);
                file.write_all(&zeros[..step as usize])?;
                length += step;
            }
            Ok(())
        };
        fill(&self.file).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::catalog(
                &self.catalog,
                format!(
                    "to move it to another model takes {wanted} bytes of disk space, and there are less; free some space \
                     and try again"
                ),
            ),
            _ => fail(&self.catalog, &error),
        })
    }

    /// Gives back the disk space that is reserved.
    ///
    /// # Errors
    /// [`Error::Catalog`] if the file cannot be changed.
    pub fn trim(&mut self) -> Result<()> {
        self.file.set_len(self.place(self.next)).map_err(|error| fail(&self.catalog, &error))
    }

    /// Returns whether the vectors of a reference are there.
    pub fn has(&self, reference: i64, digest: &[u8; 32]) -> bool {
        self.written.contains_key(&key(reference, digest))
    }

    /// Writes vectors.
    ///
    /// # Errors
    /// [`Error::Catalog`] if the file cannot be written.
    pub fn put(&mut self, rows: &[StagedRow]) -> Result<()> {
        let mut bytes = Vec::with_capacity(rows.len() * self.slot);
        for StagedRow { reference, digest, origin, vectors } in rows {
            let start = bytes.len();
            bytes.extend(key(*reference, digest).to_le_bytes());
            bytes.extend((*origin as u64).to_le_bytes());
            bytes.extend(vectors.iter().flat_map(|value| value.to_le_bytes()));
            bytes.extend(xxh3_64(&bytes[start..]).to_le_bytes());
            if bytes.len() - start != self.slot {
                return Err(Error::internal("vectors of another dimension were computed than their models say"));
            }
        }
        let place = self.place(self.next);
        let write = |mut file: &File| {
            file.seek(SeekFrom::Start(place))?;
            file.write_all(&bytes)
        };
        write(&self.file).map_err(|error| fail(&self.catalog, &error))?;
        for row in rows {
            self.written.insert(key(row.reference, &row.digest), self.next);
            self.next += 1;
        }
        Ok(())
    }

    /// Returns the source and the bytes of a reference's vectors, one model after another.
    ///
    /// # Errors
    /// [`Error::Catalog`] if they are not there, or not as they were written.
    pub fn get(&mut self, reference: i64, digest: &[u8; 32]) -> Result<(Origin, Vec<u8>)> {
        let key = key(reference, digest);
        let mut bytes = vec![0; self.slot];
        if let Some(number) = self.written.get(&key) {
            let place = self.place(*number);
            let read = self.file.seek(SeekFrom::Start(place)).and_then(|_| self.file.read_exact(&mut bytes));
            read.map_err(|error| fail(&self.catalog, &error))?;
        }
        match parse(&bytes) {
            Some((found, origin, vectors)) if found == key => Ok((origin, vectors.to_vec())),
            _ => Err(Error::catalog(
                &self.catalog,
                "reencode.vectors is damaged, so that the catalog was not moved; run it again, which computes what is \
                 missing",
            )),
        }
    }

    /// Removes the file.
    pub fn remove(mut self) {
        self.next = 0;
    }

    fn place(&self, number: u64) -> u64 {
        HEADER + number * self.slot as u64
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // The next run begins with what is there, whether or not this works.
        let _ = if self.next == 0 { fs::remove_file(&self.path) } else { self.file.set_len(self.place(self.next)) };
        // A child of a fork may have the file open, too.
        let _ = self.file.unlock();
    }
}

/// Tells the content of a reference from every other.
fn key(reference: i64, digest: &[u8; 32]) -> u64 {
    xxh3_64_with_seed(digest, reference.cast_unsigned())
}

/// Returns the key, the source and the vectors of a slot, if it was written to its end.
fn parse(slot: &[u8]) -> Option<(u64, Origin, &[u8])> {
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_le_bytes);
    let (content, checksum) = slot.split_at(slot.len() - 8);
    if number(checksum)? != xxh3_64(content) {
        return None;
    }
    let origin = Origin::ALL.get(usize::try_from(number(&content[8..16])?).ok()?)?;
    Some((number(&content[..8])?, *origin, &content[16..]))
}

fn fail(catalog: &Path, error: &io::Error) -> Error {
    let cure = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full; free some space and run it again, which goes on there"
        }
        _ => "make the catalog's directory writable and run it again",
    };
    Error::catalog(catalog, format!("reencode.vectors cannot be written ({error}): {cure}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODELS: [(&str, usize); 2] = [("a", 2), ("b", 1)];

    fn row(reference: i64, value: f32) -> StagedRow {
        StagedRow { reference, digest: [7; 32], origin: Origin::Media, vectors: vec![value, -value, 1.0] }
    }

    fn bytes(row: &StagedRow) -> Vec<u8> {
        row.vectors.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[cfg(unix)] // elsewhere a locked file cannot be read by others
    #[test]
    fn vectors_outlive_the_process_and_torn_ones_count_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Staged::open(folder.path(), [1; 16], &MODELS).unwrap();
        let mut staged = open();
        staged.reserve(10).unwrap();
        staged.put(&[row(1, 0.5), row(2, 0.25)]).unwrap();
        staged.put(&[row(3, 2.0)]).unwrap();
        // As a process leaves it that is killed: with the space that it has reserved.
        let length = fs::metadata(&staged.path).unwrap().len();
        assert_eq!(length, 32 + 20 * 36);
        let left = fs::read(&staged.path).unwrap();
        drop(staged);
        assert_eq!(fs::metadata(folder.path().join("reencode.vectors")).unwrap().len(), 32 + 3 * 36, "trimmed");
        fs::write(folder.path().join("reencode.vectors"), &left).unwrap();
        let mut staged = open();
        assert_eq!(staged.get(2, &[7; 32]).unwrap(), (Origin::Media, bytes(&row(2, 0.25))));
        assert!(staged.has(3, &[7; 32]) && !staged.has(3, &[8; 32]) && !staged.has(4, &[7; 32]));
        staged.put(&[row(4, 4.0)]).unwrap();
        drop(staged);
        let mut torn = fs::read(folder.path().join("reencode.vectors")).unwrap();
        torn[32 + 36 + 20] ^= 1;
        torn.truncate(32 + 4 * 36 - 1);
        fs::write(folder.path().join("reencode.vectors"), &torn).unwrap();
        let mut staged = open();
        assert_eq!([1, 2, 3, 4].map(|reference| staged.has(reference, &[7; 32])), [true, false, true, false]);
        staged.put(&[row(2, 8.0)]).unwrap();
        assert_eq!(staged.get(2, &[7; 32]).unwrap().1, bytes(&row(2, 8.0)));
        assert_eq!(staged.get(3, &[7; 32]).unwrap().1, bytes(&row(3, 2.0)));
        assert!(staged.get(4, &[7; 32]).unwrap_err().to_string().contains("reencode.vectors is damaged"));
        staged.remove();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn another_catalog_or_model_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let fill = |id: u8, models: &[(&str, usize)], vectors: usize| {
            let mut staged = Staged::open(folder.path(), [id; 16], models).unwrap();
            let there = staged.has(1, &[7; 32]);
            staged.put(&[StagedRow { vectors: vec![1.0; vectors], ..row(1, 1.0) }]).unwrap();
            there
        };
        assert!(!fill(1, &MODELS, 3));
        assert!(fill(1, &MODELS, 3));
        assert!(!fill(2, &MODELS, 3));
        assert!(!fill(2, &[("a", 1), ("b", 2)], 3));
        assert!(!fill(2, &[("ab", 3)], 3));
        assert!(fill(2, &[("ab", 3)], 3));
        let wrong = std::panic::catch_unwind(|| fill(2, &[("ab", 3)], 4));
        assert!(wrong.is_err());
    }

    #[test]
    fn one_at_a_time_uses_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = Staged::open(folder.path(), [1; 16], &MODELS).unwrap();
        let second = Staged::open(folder.path(), [1; 16], &MODELS).unwrap_err();
        assert!(second.to_string().contains("is being moved to another model by another"), "{second}");
        drop(first);
        Staged::open(folder.path(), [1; 16], &MODELS).unwrap();
    }
}
