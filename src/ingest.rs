//! Folders and lists become items: batches, of which the next are encoded while one is stored, progress, resume.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread;

use crate::engine::{Draft, Engine, Prepared};
use crate::error::{Error, Result};
use crate::picture::Source;
use crate::stop::{Job, Stop};

/// Pictures that are stored in one transaction, at least: fewer would cost more for storing them.
const LEAST: usize = 64;

/// The most: what is not stored yet is lost when the power goes.
const MOST: usize = 1024;

/// The most bytes of files in a batch, which are all in memory, but for a last file.
const BYTES: u64 = 128 << 20;

/// Batches that are encoded at a time: with two, nobody waits for the last picture of one.
const AHEAD: usize = 2;

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

/// Whoever watches a long operation.
pub trait Watch {
    /// Told before each batch is stored, and at the end; may stop the work.
    fn progress(&mut self, now: Progress<'_>) -> ControlFlow<()>;

    /// Asked now and then, and may stop the work.
    fn tick(&mut self) -> ControlFlow<()>;
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

/// A batch that is being encoded.
struct Begun<'scope> {
    item: String,
    pictures: usize,
    job: Job<'scope, Prepared>,
}

/// Adds `drafts` in batches, each one transaction and one after the other, while the next are encoded; `watch` may stop
/// the work. Pictures that are stored already cost only their reading, so running it again continues where it stopped.
/// A picture that cannot be used is reported and stops nothing.
///
/// # Errors
/// [`Error::Interrupted`] when `watch` breaks; what is stored is kept. Otherwise those of [`Engine::prepare`] and
/// [`Engine::commit`]: then the batches before are stored, and none after.
pub fn run(engine: &Engine, drafts: Vec<Draft>, watch: &mut dyn Watch) -> Result<Report> {
    let total = drafts.iter().map(|draft| draft.sources.len()).sum();
    let mut waiting = batches(drafts, (2 * engine.at_once()).clamp(LEAST, MOST), BYTES).peekable();
    let mut report = Report::default();
    let mut done = 0;
    let (stop, outer) = (Stop::default(), Stop::current());
    thread::scope(|scope| {
        let begin = |batch: Vec<Draft>| {
            let pictures = batch.iter().map(|draft| draft.sources.len()).sum();
            let item = first(&batch).to_owned();
            Ok(Begun { item, pictures, job: Job::begin(scope, &stop, || engine.prepare(batch))? })
        };
        let mut begun: VecDeque<Begun<'_>> = VecDeque::new();
        let mut work = || loop {
            let next =
                begun.front().map(|batch| batch.item.as_str()).or_else(|| waiting.peek().map(|batch| first(batch)));
            if watch.progress(Progress { done, total, item: next.unwrap_or_default() }).is_break() {
                return Err(Error::Interrupted);
            }
            let few = AHEAD - begun.len();
            for batch in waiting.by_ref().take(few) {
                begun.push_back(begin(batch)?);
            }
            let Some(Begun { pictures, job, .. }) = begun.pop_front() else { return Ok(()) };
            let prepared = job.join(|| outer.check().is_err() || watch.tick().is_break())?;
            if let Some(batch) = waiting.next() {
                begun.push_back(begin(batch)?);
            }
            let added = engine.commit(prepared)?;
            done += pictures;
            report.items += added.items;
            report.references += added.references;
            report.duplicates += added.duplicates;
            report.failed.extend(added.failed);
        };
        // What is begun and will not be stored ends soon.
        work().inspect_err(|_| stop.call_off())
    })?;
    Ok(report)
}

fn first(batch: &[Draft]) -> &str {
    batch.first().map_or("", |draft| draft.id.as_str())
}

/// Cuts `drafts` into groups of about so many pictures, or bytes of files if they are large; an item with more than that
/// is spread over several.
fn batches(drafts: Vec<Draft>, pictures: usize, bytes: u64) -> impl Iterator<Item = Vec<Draft>> {
    let mut rest = drafts.into_iter().flat_map(move |draft| parts(draft, pictures, bytes));
    std::iter::from_fn(move || {
        let mut batch = Vec::new();
        let (mut count, mut size) = (0, 0);
        while count < pictures && size < bytes {
            let Some((draft, weight)) = rest.next() else { break };
            count += draft.sources.len();
            size += weight;
            batch.push(draft);
        }
        (!batch.is_empty()).then_some(batch)
    })
}

/// The same item several times, each with some of its pictures and the bytes of their files.
fn parts(mut draft: Draft, pictures: usize, bytes: u64) -> Vec<(Draft, u64)> {
    let mut parts = Vec::new();
    let mut size = 0;
    let sources = std::mem::take(&mut draft.sources);
    let bare = draft.clone();
    for source in sources {
        if draft.sources.len() == pictures || size >= bytes {
            parts.push((std::mem::replace(&mut draft, bare.clone()), size));
            size = 0;
        }
        // What is no file is in memory already.
        size += if let Source::Path(path) = &source { fs::metadata(path).map_or(0, |file| file.len()) } else { 0 };
        draft.sources.push(source);
    }
    parts.push((draft, size));
    parts
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
        let batches: Vec<Vec<Draft>> = batches(drafts.to_vec(), 64, BYTES).collect();
        let flat: Vec<(String, usize)> =
            batches.iter().flatten().map(|draft| (draft.id.clone(), draft.sources.len())).collect();
        let expected = [("3", 3), ("150", 64), ("150", 64), ("150", 22), ("0", 0), ("64", 64), ("1", 1)];
        assert_eq!(flat, expected.map(|(id, n)| (id.to_string(), n)));
        assert!(batches.iter().all(|batch| batch.iter().map(|d| d.sources.len()).sum::<usize>() < 2 * 64));
        let names: Vec<String> =
            batches.iter().flatten().skip(1).take(3).flat_map(|d| &d.sources).map(Source::name).collect();
        assert_eq!(names, (0..150).map(|i| i.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn batches_of_large_files_are_small() {
        let root = tempfile::tempdir().unwrap();
        let paths: Vec<Source> = (0..7)
            .map(|number| {
                let path = root.path().join(number.to_string());
                fs::write(&path, [0; 40]).unwrap();
                Source::Path(path)
            })
            .collect();
        let one = |sources: &[Source]| Draft { sources: sources.to_vec(), ..Draft::new("a") };
        let missing = Draft { sources: vec![Source::Path("missing".into())], ..Draft::new("b") };
        let counts = |drafts: Vec<Draft>| -> Vec<Vec<usize>> {
            batches(drafts, 64, 100).map(|batch| batch.iter().map(|draft| draft.sources.len()).collect()).collect()
        };
        assert_eq!(counts(vec![one(&paths)]), [[3], [3], [1]]);
        assert_eq!(
            counts(paths.iter().map(|path| one(std::slice::from_ref(path))).collect()),
            [vec![1; 3], vec![1; 3], vec![1]]
        );
        assert_eq!(counts(vec![one(&paths[..2]), missing, one(&paths[..1])]), [[2, 1, 1]]);
    }
}
