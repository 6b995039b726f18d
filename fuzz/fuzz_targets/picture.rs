//! Decodes any bytes as a picture, whole and reduced.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plushie_search::picture::Source;

fuzz_target!(|data: &[u8]| {
    let source = Source::Bytes { name: "fuzz".into(), bytes: data.into() };
    if let Ok(whole) = source.decode(None) {
        assert_eq!(whole.pixels().len(), whole.width() as usize * whole.height() as usize * 3);
        let reduced = source.decode(Some((8, 8))).expect("a picture that is read whole is read reduced, too");
        assert_eq!(reduced.full_size(), whole.full_size());
        whole.thumbnail(16).expect("a picture has a thumbnail");
    }
});
