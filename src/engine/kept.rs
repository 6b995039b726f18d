//! Keeps thumbnails of added pictures, and the originals of those that are no files.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::engine::Engine;
use crate::engine::keep::digest;
use crate::error::{Error, Result, short};
use crate::picture::Source;
use crate::render::studio::{ALL, View, view_number};
use crate::store::media::Media;
use crate::store::staged::Origin;
use crate::store::thumbnails::{Key, LIMIT, SIDE, Thumbnails};
use crate::store::{Access, Reference, Walked};
use crate::views;

/// Originals that are read before they are written.
const TOGETHER: usize = 64;

/// Copies of added pictures to keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// Their thumbnails.
    pub thumbnails: Small,
    /// Their originals; `None` keeps those that are not files.
    pub media: Option<bool>,
}

/// Which thumbnails to keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Small {
    /// Those that fit into 2 GB.
    #[default]
    Auto,
    /// All of them.
    All,
    /// None, and none is read.
    None,
}

/// The copies that an engine keeps, open.
#[derive(Debug)]
pub(super) struct Kept {
    thumbnails: Option<Thumbnails>,
    pub(super) media: Media,
    /// Whether originals are kept that are files, and those that are not.
    originals: [bool; 2],
}

impl Kept {
    pub(super) fn new(directory: &Path, access: &Access, keep: &Keep) -> Self {
        let thumbnails = |limit| Some(Thumbnails::new(directory, access.read_only, limit));
        Self {
            thumbnails: match keep.thumbnails {
                Small::Auto => thumbnails(Some(LIMIT)),
                Small::All => thumbnails(None),
                Small::None => None,
            },
            media: Media::new(directory),
            originals: [keep.media.unwrap_or(false), keep.media.unwrap_or(true)],
        }
    }

    /// The longer side of the thumbnails that are to be made, if they are.
    pub(super) fn side(&self) -> Option<u32> {
        self.thumbnails.as_ref().filter(|thumbnails| thumbnails.takes_more()).map(|_| SIDE)
    }

    /// Whether the original of a picture is to be written: it may be a file.
    pub(super) fn wants(&self, file: bool) -> bool {
        self.originals[usize::from(!file)]
    }

    /// Writes originals; all are on disk when this returns.
    ///
    /// # Errors
    /// As [`Media::keep`].
    pub(super) fn keep(&self, originals: &[(Source, [u8; 32])]) -> Result<()> {
        self.media.keep(originals)
    }

    /// Copies originals into a copy of the catalog.
    ///
    /// # Errors
    /// As [`Media::copy`].
    pub(super) fn copy(&self, directory: &Path, digests: &HashSet<[u8; 32]>) -> Result<()> {
        self.media.copy(&Media::new(directory), digests)
    }

    /// Adds thumbnails.
    pub(super) fn show(&self, pictures: &[(Key, &[u8])]) {
        if let Some(thumbnails) = &self.thumbnails {
            thumbnails.put(pictures);
        }
    }
}

impl Engine {
    /// Keeps originals that come as files, each with the digest of its reference, unless the engine keeps none.
    ///
    /// # Errors
    /// [`Error::Argument`] for a file that is not the picture of its digest, [`Error::Io`] for one that cannot be read;
    /// those of [`Media::keep`].
    pub fn keep_files(&self, files: &[(PathBuf, [u8; 32])]) -> Result<()> {
        if !self.kept.wants(false) {
            return Ok(());
        }
        for some in files.chunks(TOGETHER) {
            let read = |(path, digest): &(PathBuf, [u8; 32])| {
                let source = Source::Path(path.clone()).read()?;
                if source.digest()? != *digest && pixel_digest(&source) != Some(*digest) {
                    return Err(Error::argument(format!(
                        "{}: is not the picture that its digest names: copy the file again",
                        path.display()
                    )));
                }
                Ok((source, *digest))
            };
            self.kept.keep(&some.iter().map(read).collect::<Result<Vec<_>>>()?)?;
        }
        Ok(())
    }

    /// Calls `told` with all items, with the vectors of this engine's models and the files in `media/` of their
    /// references, one after another; `limit` items at a time. All of them are of one committed state.
    ///
    /// # Errors
    /// Those of [`Store::walk`](crate::store::Store::walk) and of `told`.
    pub fn walk(&self, limit: usize, told: &mut dyn FnMut(Walked, Vec<Option<PathBuf>>) -> Result<()>) -> Result<()> {
        self.store.walk(&self.models, limit, &mut |walked| {
            let references = walked.items.iter().flat_map(|item| &item.references);
            let files = references.map(|reference| self.kept.media.find(&reference.digest)).collect();
            told(walked, files)
        })
    }

    /// A small copy of a reference as a JPEG file, at most 256 pixels on the longer side: the stored one, or one that is
    /// made of the original if that can be found. `reference` is its name or its digest in hexadecimal, of a mesh with
    /// `#view:azimuth,elevation` behind it; the first one by default.
    ///
    /// # Errors
    /// [`Error::UnknownItem`], [`Error::UnknownReference`].
    pub fn thumbnail(&self, id: &str, reference: Option<&str>) -> Result<Option<Vec<u8>>> {
        let mut found = self.reference(id, reference)?;
        if found.view == ALL {
            let is_view = |one: &Reference| one.digest == found.digest && one.view != ALL;
            found = self.get(id)?.references.into_iter().find(is_view).unwrap_or(found);
        }
        let key = Key { digest: found.digest, view: found.view };
        if let Some(jpeg) = self.kept.thumbnails.as_ref().and_then(|thumbnails| thumbnails.get(key)) {
            return Ok(Some(jpeg));
        }
        let source = self.file(&found).map(Source::Path).and_then(|source| shown(&found, source));
        let jpeg = source.and_then(|source| source.thumbnail(SIDE, None).ok());
        if let Some(jpeg) = &jpeg {
            self.kept.show(&[(key, jpeg)]);
        }
        Ok(jpeg)
    }

    /// The file of a reference's original: its copy in `media/`, or the file that it was added from if that still has the
    /// same content. `reference` is as for [`thumbnail`](Self::thumbnail).
    ///
    /// # Errors
    /// [`Error::UnknownItem`], [`Error::UnknownReference`].
    pub fn original(&self, id: &str, reference: Option<&str>) -> Result<Option<PathBuf>> {
        Ok(self.file(&self.reference(id, reference)?))
    }

    /// Returns the file in `media/`, or else of that name, that seems to be the original of a reference.
    pub(super) fn original_path(&self, reference: &Reference) -> Option<PathBuf> {
        let named = || Some(PathBuf::from(&reference.name)).filter(|path| path.is_absolute() && path.is_file());
        self.kept.media.find(&reference.digest).or_else(named)
    }

    /// Reads the original of a reference, if its content is still that of the reference.
    pub(super) fn read_original(&self, reference: &Reference) -> Option<(Origin, Source)> {
        let media = self.kept.media.find(&reference.digest).map(|path| (Origin::Media, path));
        let named = Some(PathBuf::from(&reference.name)).filter(|path| path.is_absolute());
        let places = media.into_iter().chain(named.map(|path| (Origin::File, path)));
        places.into_iter().find_map(|(origin, path)| {
            let source = Source::Path(path).read().ok()?;
            let same = source.digest().ok() == Some(reference.digest)
                || origin == Origin::Media && pixel_digest(&source) == Some(reference.digest);
            same.then(|| shown(reference, source)).flatten().map(|source| (origin, source))
        })
    }

    /// Reads the thumbnail of a reference.
    pub(super) fn read_thumbnail(&self, reference: &Reference) -> Option<(Origin, Source)> {
        let key = Key { digest: reference.digest, view: reference.view };
        let jpeg = self.kept.thumbnails.as_ref()?.get(key)?;
        let name = format!("thumbnail of {}", reference.name);
        Some((Origin::Thumbnail, Source::Bytes { name, bytes: jpeg.into() }))
    }

    /// Removes thumbnails and originals that no reference has any more.
    pub(super) fn prune(&self) -> Result<()> {
        if let Some(thumbnails) = &self.kept.thumbnails {
            thumbnails.retain(|| self.store.digests())?;
        }
        self.kept.media.retain(&self.store.digests()?)?;
        Ok(())
    }

    /// Returns messages about the thumbnails and the index since the last call, one for each kind of event.
    pub fn notices(&self) -> Vec<String> {
        let mut notices = self.kept.thumbnails.as_ref().map(Thumbnails::notices).unwrap_or_default();
        notices.extend(self.indexing.notices());
        notices
    }

    fn reference(&self, id: &str, reference: Option<&str>) -> Result<Reference> {
        let item = self.get(id)?;
        let wanted = reference.map(|text| {
            // A view of it follows the name or the digest.
            let cut = |(name, view)| Some((name, view_number(view)?));
            let (name, view) =
                text.rsplit_once('#').and_then(cut).map_or((text, None), |(name, view)| (name, Some(view)));
            (name, digest(name), view)
        });
        let is_it = |held: &Reference| {
            wanted.is_none_or(|(name, digest, view)| {
                (held.name == name || Some(held.digest) == digest) && view.is_none_or(|view| held.view == view)
            })
        };
        item.references.into_iter().find(is_it).ok_or_else(|| match reference {
            Some(name) => Error::UnknownReference { item: id.to_owned(), reference: name.to_owned() },
            None => Error::argument(format!("item {} has no reference", short(id))),
        })
    }

    fn file(&self, reference: &Reference) -> Option<PathBuf> {
        let named = || {
            let path = PathBuf::from(&reference.name);
            let same = path.is_absolute() && Source::Path(path.clone()).digest().ok() == Some(reference.digest);
            same.then_some(path)
        };
        self.kept.media.find(&reference.digest).or_else(named)
    }
}

/// Returns the picture that a reference shows of its original: the view of a mesh is drawn; the mesh itself stands for all.
fn shown(reference: &Reference, original: Source) -> Option<Source> {
    if matches!(reference.view, 0 | ALL) {
        return Some(original);
    }
    views::pictures(&original, &[View::from_number(reference.view)?]).ok()?.0.pop()
}

/// Returns the digest of a picture that was added as pixels and kept as a file.
pub(super) fn pixel_digest(source: &Source) -> Option<[u8; 32]> {
    let picture = source.decode(None).ok()?.into();
    Source::Pixels { name: source.name(), picture }.digest().ok()
}
