//! Opens any bytes as the file of an approximate index, whose header has the right checksum.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plushie_search::index::Sealed;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 24] = b"plushie_search index  2\n";

fuzz_target!(|data: &[u8]| {
    let mut file = data.to_vec();
    if file.len() >= 64 {
        file[..24].copy_from_slice(MAGIC);
        file[24..32].copy_from_slice(&0x0102_0304_0506_0708_u64.to_ne_bytes());
        let number = |place: usize| u64::from_ne_bytes(file[place..place + 8].try_into().unwrap()) as usize;
        let (start, length) = (number(32), number(40));
        if let Some(header) = start.checked_add(length).and_then(|end| file.get(start..end)) {
            let checksum = xxh3_64(header);
            file[48..56].copy_from_slice(&checksum.to_ne_bytes());
        }
    }
    let path = std::env::temp_dir().join(format!("plushie-fuzz-{}", std::process::id()));
    std::fs::write(&path, &file).expect("a file");
    let _ = Sealed::open(&path);
    let _ = Sealed::check(&path);
});
