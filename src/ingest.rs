//! Folders and lists become items: batches, progress, resume.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::engine::{Draft, Engine};
use crate::error::{Error, Result};
use crate::picture::Source;

/// Pictures that are stored in one transaction: enough to keep every core busy, few enough that stopping is quick.
const BATCH: usize = 64;

/// File names that may be pictures; what they really hold is decided by their bytes.
const EXTENSIONS: [&str; 6] = ["jpg", "jpeg", "png", "webp", "gif", "bmp"];

/// How deep folders are searched; deeper trees are loops of links.
const MAX_DEPTH: usize = 32;

/// How far a long operation is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Pictures that are done with.
    pub done: usize,
    /// All pictures.
    pub total: usize,
    /// The item that comes next; empty at the end.
    pub item: &'a str,
}

/// What an ingest did.
#[derive(Debug, Default)]
pub struct Report {
    /// Items that are new in the catalog.
    pub items: usize,
    /// References that are new in the catalog.
    pub references: usize,
    /// Pictures that their item had already.
    pub duplicates: usize,
    /// Pictures that could not be used: their names and why.
    pub failed: Vec<(String, Error)>,
}

/// One draft for each folder under `root` that holds pictures, sorted by id: the folder's path from `root`, with `/`
/// between the parts. A picture in `root` itself is an item of its own, named by the file without its extension.
/// Hidden files and files that are no pictures by their extension are left out.
///
/// # Errors
/// [`Error::Io`] when a folder cannot be read, [`Error::Argument`] when there is no picture at all.
pub fn folder(root: &Path) -> Result<Vec<Draft>> {
    let mut items: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    walk(root, root, 0, &mut items)?;
    if items.is_empty() {
        return Err(Error::argument(format!(
            "no pictures in {}: expected {}/<item>/<picture> with one of the extensions {}",
            root.display(),
            root.display(),
            EXTENSIONS.join(", ")
        )));
    }
    let drafts = items.into_iter().map(|(id, mut paths)| {
        paths.sort();
        Draft { sources: paths.into_iter().map(Source::Path).collect(), ..Draft::new(id) }
    });
    Ok(drafts.collect())
}

fn walk(root: &Path, folder: &Path, depth: usize, items: &mut BTreeMap<String, Vec<PathBuf>>) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::argument(format!("{} is nested more than {MAX_DEPTH} levels deep", folder.display())));
    }
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        // Follows links, so that a folder of links to pictures elsewhere works.
        if path.is_dir() {
            walk(root, &path, depth + 1, items)?;
        } else if is_picture(&path) {
            items.entry(item_id(root, folder, &path)).or_default().push(path);
        }
    }
    Ok(())
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    EXTENSIONS.contains(&extension.as_str())
}

fn item_id(root: &Path, folder: &Path, path: &Path) -> String {
    let named = if folder == root { path.with_extension("") } else { folder.to_path_buf() };
    let inside = named.strip_prefix(root).unwrap_or(&named);
    inside.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Adds `drafts` in batches, each one transaction; `progress` is told before each batch and at the end, and may stop
/// the work. Pictures that are stored already cost only their reading, so running it again continues where it stopped.
/// A picture that cannot be used is reported and stops nothing.
///
/// # Errors
/// [`Error::Interrupted`] when `progress` breaks; the finished batches are kept. Otherwise those of
/// [`Engine::add_batch`].
pub fn run(
    engine: &Engine,
    drafts: Vec<Draft>,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Report> {
    let total = drafts.iter().map(|draft| draft.sources.len()).sum();
    let mut report = Report::default();
    let mut done = 0;
    for batch in batches(drafts) {
        let item = batch.first().map_or("", |draft| draft.id.as_str());
        if progress(Progress { done, total, item }).is_break() {
            return Err(Error::Interrupted);
        }
        done += batch.iter().map(|draft| draft.sources.len()).sum::<usize>();
        let added = engine.add_batch(&batch)?;
        report.items += added.items;
        report.references += added.references;
        report.duplicates += added.duplicates;
        report.failed.extend(added.failed);
    }
    if progress(Progress { done, total, item: "" }).is_break() {
        return Err(Error::Interrupted);
    }
    Ok(report)
}

/// Cuts `drafts` into groups of about [`BATCH`] pictures; an item with more than that is spread over several.
fn batches(drafts: Vec<Draft>) -> impl Iterator<Item = Vec<Draft>> {
    let mut rest = drafts.into_iter().flat_map(|mut draft| {
        let mut parts = Vec::new();
        while draft.sources.len() > BATCH {
            let sources = draft.sources.drain(..BATCH).collect();
            parts.push(Draft { sources, ..draft.clone() });
        }
        parts.push(draft);
        parts
    });
    std::iter::from_fn(move || {
        let mut batch = Vec::new();
        let mut pictures = 0;
        while pictures < BATCH {
            let Some(draft) = rest.next() else { break };
            pictures += draft.sources.len();
            batch.push(draft);
        }
        (!batch.is_empty()).then_some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"x").unwrap();
    }

    #[test]
    fn each_folder_of_pictures_is_an_item() {
        let root = tempfile::tempdir().unwrap();
        for name in
            ["兔子/2.PNG", "兔子/1.jpg", "toys/bear/a.webp", "toys/notes.txt", ".hidden/x.jpg", "lone.gif", "b/.a.jpg"]
        {
            touch(&root.path().join(name));
        }
        let drafts = folder(root.path()).unwrap();
        let ids: Vec<&str> = drafts.iter().map(|d| d.id.as_str()).collect();
        assert_eq!(ids, ["lone", "toys/bear", "兔子"]);
        let names: Vec<String> = drafts[2].sources.iter().map(Source::name).collect();
        assert!(names[0].ends_with("1.jpg") && names[1].ends_with("2.PNG"), "{names:?}");
    }

    #[test]
    fn a_folder_without_pictures_is_an_error_that_names_it() {
        let root = tempfile::tempdir().unwrap();
        touch(&root.path().join("a/readme.txt"));
        let error = folder(root.path()).unwrap_err().to_string();
        assert!(error.starts_with("no pictures in ") && error.contains(&*root.path().to_string_lossy()), "{error}");
        assert!(matches!(folder(&root.path().join("missing")), Err(Error::Io { .. })));
    }

    #[test]
    fn batches_keep_order_and_lose_nothing() {
        let sources = |n| (0..n).map(|i| Source::Path(format!("{i}").into())).collect::<Vec<_>>();
        let drafts = [3, 150, 0, 64, 1].map(|n| Draft { sources: sources(n), ..Draft::new(n.to_string()) });
        let batches: Vec<Vec<Draft>> = batches(drafts.to_vec()).collect();
        let flat: Vec<(String, usize)> =
            batches.iter().flatten().map(|draft| (draft.id.clone(), draft.sources.len())).collect();
        let expected = [("3", 3), ("150", 64), ("150", 64), ("150", 22), ("0", 0), ("64", 64), ("1", 1)];
        assert_eq!(flat, expected.map(|(id, n)| (id.to_string(), n)));
        assert!(batches.iter().all(|batch| batch.iter().map(|d| d.sources.len()).sum::<usize>() < 2 * BATCH));
    }
}
