//! A file whose bytes are read as memory: the system brings its pages when they are looked at, and drops them when memory
//! is short.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::ops::Deref;
use std::path::Path;

/// The bytes of a file that nothing changes: it is replaced by others of its name, never written again.
#[derive(Debug)]
pub(super) struct Mapping(Bytes);

#[cfg(unix)]
#[derive(Debug)]
struct Bytes {
    start: *mut std::ffi::c_void,
    length: usize,
}

#[cfg(unix)]
// SAFETY: nothing writes to the bytes.
unsafe impl Send for Bytes {}
#[cfg(unix)]
// SAFETY: as above.
unsafe impl Sync for Bytes {}

#[cfg(unix)]
unsafe extern "C" {
    fn mmap(
        address: *mut std::ffi::c_void,
        length: usize,
        protection: std::ffi::c_int,
        flags: std::ffi::c_int,
        file: std::ffi::c_int,
        offset: i64,
    ) -> *mut std::ffi::c_void;
    fn munmap(address: *mut std::ffi::c_void, length: usize) -> std::ffi::c_int;
}

#[cfg(unix)]
impl Bytes {
    fn open(path: &Path) -> io::Result<Self> {
        use std::os::fd::AsRawFd;

        const READ: std::ffi::c_int = 1;
        const PRIVATE: std::ffi::c_int = 2;
        // To open a pipe would wait for its other end.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a plain file"));
        }
        let file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        if length == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        // SAFETY: a new mapping of a file that is open, which keeps the file after it is closed.
        let start = unsafe { mmap(std::ptr::null_mut(), length, READ, PRIVATE, file.as_raw_fd(), 0) };
        if start.addr() == usize::MAX { Err(io::Error::last_os_error()) } else { Ok(Self { start, length }) }
    }

    fn get(&self) -> &[u8] {
        // SAFETY: the mapping has this length as long as this lives.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.length) }
    }
}

#[cfg(unix)]
impl Drop for Bytes {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length, and nothing borrows it any more.
        unsafe { munmap(self.start, self.length) };
    }
}

/// Elsewhere the bytes are read into memory, as numbers so that they stand at multiples of 8.
#[cfg(not(unix))]
#[derive(Debug)]
struct Bytes {
    words: Vec<u64>,
    length: usize,
}

#[cfg(not(unix))]
impl Bytes {
    fn open(path: &Path) -> io::Result<Self> {
        use std::io::Read;

        let mut file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let mut words = vec![0_u64; length.div_ceil(8)];
        file.read_exact(&mut bytemuck::cast_slice_mut(&mut words)[..length])?;
        Ok(Self { words, length })
    }

    fn get(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }
}

impl Mapping {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Bytes::open(path)?))
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.get()
    }
}
