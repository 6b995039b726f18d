//! Folders and rows become items: batches, of which the next are encoded while one is stored, progress, resume.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::{self, File};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread;

use crate::cancel::{Cancel, Job};
use crate::engine::{Draft, Engine, Prepared, shown};
use crate::error::{Error, Result};
use crate::mesh;
use crate::picture::{self, Source};
use crate::render::studio::VIEWS;

/// Pictures that are stored in one transaction, at least: fewer would cost more for storing them.
const LEAST: usize = 64;

/// The most: what is not stored yet is lost when the power goes.
const MOST: usize = 1024;

/// The most bytes of files in a batch, which are all in memory, but for a last file.
const BYTES: u64 = 128 << 20;

/// How much more a byte that comes in memory weighs than one of a file: pixels are held besides the caller's.
const IN_MEMORY: u64 = 4;

/// Batches that are encoded at a time: with two, no thread waits for the last picture of one.
const AHEAD: usize = 2;

/// How much of a file tells its format.
const HEAD: u64 = 64;

/// Endings of pictures in lower case, whether or not their format can be read: those that cannot are reported by the
/// decoder. Any other file is a picture if its first bytes say so.
const ENDINGS: [&str; 71] = [
    "jpg", "jpeg", "jpe", "jfif", "jif", "pjpeg", "pjp", "png", "apng", "webp", "gif", "bmp", "dib", "heic", "heif",
    "hif", "avif", "tif", "tiff", "jxl", "jp2", "j2k", "jpx", "psd", "psb", "xcf", "svg", "tga", "exr", "dds", "dng",
    "cr2", "cr3", "crw", "nef", "nrw", "arw", "sr2", "srf", "orf", "rw2", "raf", "pef", "srw", "x3f", "3fr", "iiq",
    "rwl", "ico", "cur", "icns", "ppm", "pgm", "pbm", "pnm", "pcx", "qoi", "jxr", "wdp", "hdp", "hdr", "wmf", "emf",
    "heics", "avifs", "jpf", "jpm", "j2c", "jpc", "ras", "sgi",
];

/// Folders that storage devices and operating systems keep for themselves: thumbnails, snapshots, bins.
const SYSTEM: [&str; 22] = [
    "@eaDir",
    "@tmp",
    "@appstore",
    "@database",
    "@sharebin",
    "@SynoResource",
    "@SynoEAStream",
    "Network Trash Folder",
    "Temporary Items",
    "Recycled",
    "$Extend",
    "@Recycle",
    "@Recently-Snapshot",
    "@__thumb",
    "#recycle",
    "#snapshot",
    "~snapshot",
    "$RECYCLE.BIN",
    "RECYCLER",
    "System Volume Information",
    "__MACOSX",
    LOST,
];

/// Where a file system check puts files without names, which may be pictures: left out, but not without a word.
const LOST: &str = "lost+found";

/// How far a long operation is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Pictures that are done with.
    pub done: usize,
    /// All pictures, if their number is known.
    pub total: Option<usize>,
    /// The item that comes next; empty at the end.
    pub item: &'a str,
}

/// Watches a long operation.
pub trait Watch {
    /// Told before each batch is stored, and at the end; may stop the work.
    fn progress(&mut self, now: Progress<'_>) -> ControlFlow<()>;

    /// Asked now and then, and may stop the work.
    fn tick(&mut self) -> ControlFlow<()>;
}

/// The outcome of an ingest.
#[derive(Debug, Default)]
pub struct Report {
    /// Items that are new in the catalog.
    pub items: usize,
    /// References that are new in the catalog.
    pub references: usize,
    /// Pictures that their item had already.
    pub duplicates: usize,
    /// Pictures, files and rows that could not be used: their names and why.
    pub failed: Vec<(String, Error)>,
    /// Of the duplicates, those whose reference got the name of the file that was added, for the old one is gone.
    pub renamed: usize,
    /// References that were removed, for their file holds another picture now.
    pub replaced: usize,
    /// References that were taken out of other items, for their files are in these now.
    pub moved: usize,
    /// Meshes of which something was left out: their names and what.
    pub notes: Vec<(String, String)>,
}

/// Something that cannot be added.
#[derive(Debug)]
pub struct Failure {
    /// Its name: a path, an item's picture, or a row.
    pub name: String,
    /// Why it cannot be added.
    pub error: Error,
    /// How many pictures are not added because of it, as far as the total counts them.
    pub pictures: usize,
}

/// The next input of an ingest.
pub type Next = std::result::Result<Draft, Failure>;

/// The contents of a folder.
#[derive(Debug, Default)]
pub struct Folder {
    /// An item for each folder with pictures, sorted by id.
    pub drafts: Vec<Draft>,
    /// Entries that could not be listed, followed or named, sorted by path.
    pub failed: Vec<(String, Error)>,
}

/// One draft for each folder under `root` that holds pictures, sorted by id: the folder's path from `root`, with `/`
/// between the parts. A picture in `root` itself is an item of its own, named by the file without its extension, which
/// stays where two files differ by it alone. So is each mesh of a folder that has several: one stands for its folder, as
/// pictures do.
///
/// A file is a picture by its ending or by its first bytes, and a mesh by its ending; other files are left out, and so are hidden ones and
/// folders that systems keep for themselves. Links are followed. Each folder is taken once: a link to one that is taken
/// already is reported, as everything that cannot be listed or named.
///
/// # Errors
/// [`Error::Io`] when `root` cannot be read, [`Error::Argument`] when there is no picture at all and nothing to report.
pub fn folder(root: &Path) -> Result<Folder> {
    if std::path::absolute(root).map_err(Error::io(root))?.to_str().is_none() {
        return Err(unnamed(root));
    }
    let mut walk = Walk { root, items: BTreeMap::new(), lone: Vec::new(), meshes: HashMap::new(), failed: Vec::new() };
    let mut taken = HashSet::new();
    // Folders by their own names first, so that a link does not give its name to a folder of the tree.
    let (mut folders, mut links) =
        (vec![(root.to_path_buf(), fs::canonicalize(root).map_err(Error::io(root))?)], Vec::new());
    loop {
        while let Some((folder, place)) = folders.pop() {
            if !taken.insert(place.clone()) {
                walk.fail(&folder, |path| again(path, &place));
                continue;
            }
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if folder == root => return Err(Error::io(root)(error)),
                Err(error) => {
                    walk.fail(&folder, |path| Error::io(path)(error));
                    continue;
                }
            };
            for entry in entries {
                match entry {
                    Ok(entry) => match walk.entry(&folder, &entry) {
                        Some(Kind::Folder) => folders.push((entry.path(), place.join(entry.file_name()))),
                        Some(Kind::Link) => links.push(entry.path()),
                        None => {}
                    },
                    Err(error) => {
                        walk.fail(&folder, |path| Error::io(path)(error));
                        break;
                    }
                }
            }
        }
        links.sort_unstable_by(|one, other| other.cmp(one));
        let Some(link) = links.pop() else { break };
        match fs::canonicalize(&link) {
            Ok(place) => folders.push((link, place)),
            Err(error) => walk.fail(&link, |path| Error::io(path)(error)),
        }
    }
    walk.finish()
}

/// A folder that is to be searched.
enum Kind {
    Folder,
    Link,
}

struct Walk<'a> {
    root: &'a Path,
    items: BTreeMap<String, Vec<PathBuf>>,
    /// Pictures in the root itself, and meshes that do not stand for their folder.
    lone: Vec<PathBuf>,
    /// Meshes by their folders.
    meshes: HashMap<PathBuf, Vec<PathBuf>>,
    failed: Vec<(PathBuf, Error)>,
}

impl Walk<'_> {
    /// Takes a picture, and says if it is a folder.
    fn entry(&mut self, folder: &Path, entry: &fs::DirEntry) -> Option<Kind> {
        let (name, path) = (entry.file_name(), entry.path());
        if name.as_encoded_bytes().starts_with(b".") {
            return None;
        }
        // Follows links, so that a folder of links to pictures elsewhere works.
        let found = match fs::metadata(&path) {
            Ok(found) => found,
            Err(error) => {
                if path.extension().is_none() || has_ending(&path) {
                    self.fail(&path, |path| Error::io(path)(error));
                }
                return None;
            }
        };
        if found.is_dir() {
            if is_system(&name.to_string_lossy()) {
                if name.eq_ignore_ascii_case(LOST)
                    && let Err(error) = fs::read_dir(&path)
                {
                    self.fail(&path, |path| Error::io(path)(error));
                }
                return None;
            }
            // The files in it would have no names either.
            if name.to_str().is_none() {
                self.fail(&path, unnamed);
                return None;
            }
            return Some(if entry.file_type().is_ok_and(|kind| kind.is_symlink()) { Kind::Link } else { Kind::Folder });
        }
        // A pipe, which would be waited for, is no picture.
        let picture = match has_ending(&path) || !found.is_file() {
            true => Ok(has_ending(&path)),
            false => starts_as_picture(&path),
        };
        match picture {
            Ok(true) => self.picture(folder, path),
            Ok(false) => {}
            // A file with another ending is most likely no picture.
            Err(error) if path.extension().is_none() => self.fail(&path, |path| Error::io(path)(error)),
            Err(_) => {}
        }
        None
    }

    fn picture(&mut self, folder: &Path, path: PathBuf) {
        if mesh::has_ending(&path) {
            self.meshes.entry(folder.to_path_buf()).or_default().push(path);
        } else if folder == self.root {
            self.lone.push(path);
        } else {
            self.take(folder, path);
        }
    }

    /// Takes a picture of the item that is named by a path below the root.
    fn take(&mut self, named: &Path, path: PathBuf) {
        let inside = named.strip_prefix(self.root).unwrap_or(named);
        match inside.iter().map(|part| part.to_str()).collect::<Option<Vec<_>>>() {
            Some(parts) => self.items.entry(parts.join("/")).or_default().push(path),
            None => self.fail(&path, unnamed),
        }
    }

    /// Takes meshes: one alone is its folder's.
    fn take_meshes(&mut self) {
        for (folder, mut meshes) in std::mem::take(&mut self.meshes) {
            match meshes.pop() {
                Some(mesh) if meshes.is_empty() && folder != self.root => self.take(&folder, mesh),
                last => self.lone.extend(meshes.into_iter().chain(last)),
            }
        }
    }

    /// Takes the pictures in the root and meshes, each as an item of its own.
    fn take_lone(&mut self) {
        let lone = std::mem::take(&mut self.lone);
        let mut alike: HashMap<PathBuf, usize> = HashMap::new();
        for path in &lone {
            *alike.entry(path.with_extension("")).or_default() += 1;
        }
        for path in lone {
            let short = path.with_extension("");
            let named = if alike[&short] == 1 { short } else { path.clone() };
            self.take(&named, path);
        }
    }

    fn fail(&mut self, path: &Path, error: impl FnOnce(&Path) -> Error) {
        self.failed.push((path.to_path_buf(), error(path)));
    }

    fn finish(mut self) -> Result<Folder> {
        self.take_meshes();
        self.take_lone();
        let mut drafts = Vec::with_capacity(self.items.len());
        for (id, mut paths) in self.items {
            paths.sort();
            let folder = paths[0].parent().unwrap_or(self.root);
            let place = if folder == self.root { paths[0].clone() } else { folder.to_path_buf() };
            let draft = Draft { sources: paths.into_iter().map(Source::Path).collect(), ..Draft::new(id) };
            match draft.check() {
                Ok(()) => drafts.push(draft),
                Err(error) => self.failed.push((place, error)),
            }
        }
        if drafts.is_empty() && self.failed.is_empty() {
            let root = self.root.display();
            return Err(Error::argument(format!(
                "no pictures in {root}: expected {root}/<item>/<picture>, JPEG, PNG, WebP, GIF or BMP files, or meshes"
            )));
        }
        self.failed.sort_by(|(one, _), (other, _)| one.cmp(other));
        let failed = self.failed.into_iter().map(|(path, error)| (shown(&path), error)).collect();
        Ok(Folder { drafts, failed })
    }
}

fn unnamed(path: &Path) -> Error {
    Error::argument(format!(
        "{}: its name is not UTF-8, so that no item or reference can have it; rename it (convmv does so for whole trees)",
        shown(path)
    ))
}

fn again(path: &Path, place: &Path) -> Error {
    Error::argument(format!(
        "{}: leads to the folder {}, which is added by another name already; remove the link, or add that folder by itself",
        shown(path),
        shown(place)
    ))
}

fn has_ending(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    ENDINGS.contains(&ending.as_str()) || mesh::has_ending(path)
}

/// Whether a system keeps a folder of this name for itself. Snapshots have a date in theirs, and found files a number.
fn is_system(name: &str) -> bool {
    let starts = |start: &str| name.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
    let is_found = starts("FOUND.") && name.len() == 9 && name.bytes().skip(6).all(|byte| byte.is_ascii_digit());
    SYSTEM.iter().any(|system| name.eq_ignore_ascii_case(system)) || starts("@GMT-") || is_found
}

fn starts_as_picture(path: &Path) -> std::io::Result<bool> {
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head))?;
    Ok(picture::sniff(&head).is_some() || is_unread(&head))
}

/// Whether it is a picture of a format that is not read at all, so that the report names it.
fn is_unread(head: &[u8]) -> bool {
    let at = |place: usize, bytes: &[u8]| head.get(place..).is_some_and(|rest| rest.starts_with(bytes));
    // A raw photo of Canon, JPEG 2000 and Photoshop.
    at(4, b"ftypcrx ") || at(0, b"\0\0\0\x0cjP  \r\n\x87\n") || at(0, b"8BPS")
}

/// Drafts that are stored in one transaction.
#[derive(Default)]
struct Batch {
    drafts: Vec<Draft>,
    failed: Vec<(String, Error)>,
    pictures: usize,
}

impl Batch {
    fn item(&self) -> &str {
        self.drafts.first().map_or("", |draft| draft.id.as_str())
    }
}

/// A batch that is being encoded.
struct Begun<'scope> {
    item: String,
    pictures: usize,
    failed: Vec<(String, Error)>,
    job: Job<'scope, Prepared>,
}

/// Adds what `next` gives until that is None, in batches, each one transaction and one after the other, while the next
/// are encoded; `watch` may stop the work. No more is taken than a few batches hold. Pictures that are stored already
/// cost only their reading, so running it again continues where it stopped. What cannot be used is reported and stops
/// nothing.
///
/// # Errors
/// [`Error::Interrupted`] when `watch` breaks; what is stored is kept. Otherwise those of `next`, of [`Engine::prepare`]
/// and of [`Engine::commit`]: then some batches before are stored, and none after.
pub fn run(
    engine: &Engine,
    next: impl FnMut() -> Result<Option<Next>>,
    total: Option<usize>,
    watch: &mut dyn Watch,
) -> Result<Report> {
    let mut waiting = Batches::new(next, (2 * engine.at_once()).clamp(LEAST, MOST), BYTES);
    let mut report = Report::default();
    let mut done = 0;
    let (cancel, outer) = (Cancel::default(), Cancel::current());
    let since = engine.newest()?;
    let ended = thread::scope(|scope| {
        let begin = |Batch { drafts, failed, pictures }: Batch, item| {
            Ok(Begun { item, pictures, failed, job: Job::begin(scope, &cancel, || engine.prepare(drafts))? })
        };
        let mut begun: VecDeque<Begun<'_>> = VecDeque::new();
        let mut work = || loop {
            while begun.len() < AHEAD
                && let Some(batch) = waiting.next()?
            {
                let item = batch.item().to_owned();
                begun.push_back(begin(batch, item)?);
            }
            let item = begun.front().map_or("", |batch| batch.item.as_str());
            if watch.progress(Progress { done, total, item }).is_break() {
                return Err(Error::Interrupted);
            }
            let Some(Begun { pictures, failed, job, .. }) = begun.pop_front() else { return Ok(()) };
            let prepared = job.join(|| outer.check().is_err() || watch.tick().is_break())?;
            if let Some(batch) = waiting.next()? {
                let item = batch.item().to_owned();
                begun.push_back(begin(batch, item)?);
            }
            let added = engine.commit(prepared).map_err(|error| match done {
                0 => error,
                _ => error.after(format!("{} new references were stored", report.references)),
            })?;
            done += pictures;
            report.items += added.items;
            report.references += added.references;
            report.duplicates += added.duplicates;
            report.renamed += added.renamed;
            report.replaced += added.replaced;
            report.notes.extend(added.notes);
            report.failed.extend(failed);
            report.failed.extend(added.failed);
        };
        // Work that was begun and will not be stored ends soon.
        work().inspect_err(|_| cancel.cancel())
    });
    // Of what is stored, even if not all is: the next run would not know any more that it was new.
    let moved = engine.settle_moved(since);
    ended?;
    report.moved = moved?;
    Ok(report)
}

/// Groups of about so many pictures, or bytes if they are large; an item with more than that is spread over several.
struct Batches<F> {
    source: F,
    pictures: usize,
    bytes: u64,
    /// Parts of the item that was taken last, with their bytes.
    rest: VecDeque<(Draft, u64)>,
}

impl<F: FnMut() -> Result<Option<Next>>> Batches<F> {
    fn new(source: F, pictures: usize, bytes: u64) -> Self {
        Self { source, pictures, bytes, rest: VecDeque::new() }
    }

    fn next(&mut self) -> Result<Option<Batch>> {
        let mut batch = Batch::default();
        let (mut count, mut size) = (0, 0);
        while count < self.pictures && size < self.bytes {
            if let Some((draft, weight)) = self.rest.pop_front() {
                batch.pictures += draft.sources.len();
                count += draft.sources.iter().map(pictures).sum::<usize>().max(1);
                size += weight;
                batch.drafts.push(draft);
                continue;
            }
            match (self.source)()? {
                Some(Ok(draft)) => self.rest = parts(draft, self.pictures, self.bytes),
                Some(Err(Failure { name, error, pictures })) => {
                    batch.pictures += pictures;
                    count += 1;
                    batch.failed.push((name, error));
                }
                None => break,
            }
        }
        Ok((count > 0).then_some(batch))
    }
}

/// How many pictures are encoded of a source: a mesh has many views.
fn pictures(source: &Source) -> usize {
    match source {
        Source::Path(path) if mesh::has_ending(path) => VIEWS,
        _ => 1,
    }
}

/// The same item several times, each with some of its pictures and what they weigh; once if it is to be exactly that.
fn parts(mut draft: Draft, pictures: usize, bytes: u64) -> VecDeque<(Draft, u64)> {
    let mut parts = VecDeque::new();
    let mut size = 0;
    let sources = std::mem::take(&mut draft.sources);
    let bare = draft.clone();
    for source in sources {
        if (draft.sources.len() == pictures || size >= bytes) && !draft.upsert {
            parts.push_back((std::mem::replace(&mut draft, bare.clone()), size));
            size = 0;
        }
        size += weight(&source);
        draft.sources.push(source);
    }
    parts.push_back((draft, size));
    parts
}

/// The share of a picture in the bytes of its batch.
fn weight(source: &Source) -> u64 {
    match source {
        Source::Path(path) => fs::metadata(path).map_or(0, |file| file.len()),
        _ => IN_MEMORY * in_memory(source),
    }
}

/// How many bytes of a picture are in memory before it is read.
pub fn in_memory(source: &Source) -> u64 {
    match source {
        Source::Path(_) => 0,
        Source::Bytes { bytes, .. } => bytes.len() as u64,
        Source::Pixels { picture, .. } => picture.pixels().len() as u64,
        Source::Part { of, .. } => in_memory(of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"x").unwrap();
    }

    fn batches(drafts: Vec<Draft>, pictures: usize, bytes: u64) -> Vec<Vec<Draft>> {
        let mut drafts = drafts.into_iter().map(Ok);
        let mut batches = Batches::new(|| Ok(drafts.next()), pictures, bytes);
        std::iter::from_fn(|| batches.next().unwrap()).map(|batch| batch.drafts).collect()
    }

    #[test]
    fn each_folder_of_pictures_is_an_item() {
        let root = tempfile::tempdir().unwrap();
        for name in
            ["兔子/2.PNG", "兔子/1.jpg", "toys/bear/a.webp", "toys/notes.txt", ".hidden/x.jpg", "lone.gif", "b/.a.jpg"]
        {
            touch(&root.path().join(name));
        }
        let drafts = folder(root.path()).unwrap().drafts;
        let ids: Vec<&str> = drafts.iter().map(|d| d.id.as_str()).collect();
        assert_eq!(ids, ["lone", "toys/bear", "兔子"]);
        let names: Vec<String> = drafts[2].sources.iter().map(Source::name).collect();
        assert!(names[0].ends_with("1.jpg") && names[1].ends_with("2.PNG"), "{names:?}");
    }

    #[test]
    fn a_mesh_stands_for_its_folder_if_it_is_the_only_one() {
        let root = tempfile::tempdir().unwrap();
        for name in ["gear.stl", "a/part.3mf", "b/1.jpg", "b/toy.GLB", "c/1.jpg", "c/x.ply", "c/y.obj", "c/y.stl"] {
            touch(&root.path().join(name));
        }
        let drafts = folder(root.path()).unwrap().drafts;
        let found: Vec<(&str, usize)> = drafts.iter().map(|draft| (draft.id.as_str(), draft.sources.len())).collect();
        assert_eq!(found, [("a", 1), ("b", 2), ("c", 1), ("c/x", 1), ("c/y.obj", 1), ("c/y.stl", 1), ("gear", 1)]);
    }

    #[test]
    fn the_ending_stays_in_the_id_where_two_files_differ_by_it_alone() {
        let root = tempfile::tempdir().unwrap();
        for name in ["IMG_1.jpg", "IMG_1.png", "IMG_2.jpg", "IMG_2.b.jpg", "bear/IMG_1.jpg", "bear/IMG_1.png"] {
            touch(&root.path().join(name));
        }
        let drafts = folder(root.path()).unwrap().drafts;
        let found: Vec<(&str, usize)> = drafts.iter().map(|draft| (draft.id.as_str(), draft.sources.len())).collect();
        assert_eq!(found, [("IMG_1.jpg", 1), ("IMG_1.png", 1), ("IMG_2", 1), ("IMG_2.b", 1), ("bear", 2)]);
    }

    #[test]
    fn files_are_pictures_by_their_ending_or_their_first_bytes() {
        let root = tempfile::tempdir().unwrap();
        let png = b"\x89PNG\r\n\x1a\n".as_slice();
        let heic = b"\0\0\0\x18ftypheic".as_slice();
        let bmp = &[b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".as_slice(), &[0; 36]].concat();
        let files = [
            ("a/scan", png),
            ("b/photo.JFIF", b"x"),
            ("c/x.HeiC", b"x"),
            ("d/download.part", heic),
            ("e/drawing.bin", bmp),
            ("f/notes", b"BMW needs a new tyre"),
            ("g/film.mp4", b"\0\0\0\x18ftypisom"),
            ("h/raw.CR2", b""),
            ("bear/@eaDir/1.png", png),
            ("$Recycle.bin/1.png", png),
            ("lost+found/1.png", png),
            ("bear/._1.png", png),
            ("@sharebin/1.png", png),
            ("network trash folder/1.png", png),
            ("FOUND.012/1.png", png),
            ("FOUND.fox/1.png", png),
            ("@GMT-2026.01.02-03.04.05/1.png", png),
            ("i/icon.ICO", b"x"),
        ];
        for (name, bytes) in files {
            touch(&root.path().join(name));
            fs::write(root.path().join(name), bytes).unwrap();
        }
        let found = folder(root.path()).unwrap();
        assert_eq!(
            found.drafts.iter().map(|draft| draft.id.as_str()).collect::<Vec<_>>(),
            ["FOUND.fox", "a", "b", "c", "d", "e", "h", "i"]
        );
        assert!(found.failed.is_empty(), "{:?}", found.failed);
    }

    #[test]
    fn a_long_path_is_reported_and_stops_nothing() {
        let root = tempfile::tempdir().unwrap();
        let long = ["a".repeat(200), "b".repeat(200), "c".repeat(200)].join("/");
        touch(&root.path().join(&long).join("1.png"));
        touch(&root.path().join("bear/1.png"));
        touch(&root.path().join("zebra\u{7}/1.png"));
        let found = folder(root.path()).unwrap();
        assert_eq!(found.drafts.iter().map(|draft| draft.id.as_str()).collect::<Vec<_>>(), ["bear"]);
        let names: Vec<&str> = found.failed.iter().map(|(name, _)| name.as_str()).collect();
        let root = root.path().display();
        assert_eq!(names, [format!("{root}/{long}"), format!("{root}/zebra\u{7}")]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_unreadable_file_without_an_ending_is_reported() {
        let root = tempfile::tempdir().unwrap();
        touch(&root.path().join("bear/1.png"));
        // It opens, but cannot be read at its start.
        for name in ["bear/scan", "bear/notes.txt"] {
            std::os::unix::fs::symlink("/proc/self/mem", root.path().join(name)).unwrap();
        }
        let found = folder(root.path()).unwrap();
        let names: Vec<&str> = found.failed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [root.path().join("bear/scan").to_str().unwrap()]);
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
        let batches: Vec<Vec<Draft>> = batches(drafts.to_vec(), 64, BYTES);
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
            batches(drafts, 64, 100)
                .iter()
                .map(|batch| batch.iter().map(|draft| draft.sources.len()).collect())
                .collect()
        };
        assert_eq!(counts(vec![one(&paths)]), [[3], [3], [1]]);
        assert_eq!(
            counts(paths.iter().map(|path| one(std::slice::from_ref(path))).collect()),
            [vec![1; 3], vec![1; 3], vec![1]]
        );
        assert_eq!(counts(vec![one(&paths[..2]), missing, one(&paths[..1])]), [[2, 1, 1]]);
    }
}
