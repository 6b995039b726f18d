//! Reads any text as the model.json of a directory that has no networks.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use plushie_search::model::Model;
use tempfile::TempDir;

static EMPTY: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("model");
    std::fs::create_dir(&path).expect("a directory");
    std::fs::write(path.join("tokenizer.json"), "{}").expect("a file");
    (directory, path)
});

fuzz_target!(|data: &str| {
    let _ = Model::with_manifest(&EMPTY.1, data);
    if let Ok(model) = Model::without_networks(&EMPTY.1, Some(data), Some("{}")) {
        let again = Model::without_networks(&EMPTY.1, Some(&model.manifest()), Some("{}")).expect("its own manifest");
        assert_eq!(again.fingerprint(), model.fingerprint());
    }
});
