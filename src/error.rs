//! Everything that can go wrong, one variant for each stage of the flow.

use std::any::Any;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure. Each message tells the symptom, the file or item, and a cure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument that no catalog or model could accept (k < 1, NaN in a vector, empty text, a bad filter).
    #[error("{0}")]
    Argument(String),
    /// An item that is not in the catalog.
    #[error("no item {} in this catalog", short(.0))]
    UnknownItem(String),
    /// A reference that an item does not have.
    #[error("item {} has no reference {}", short(item), short(reference))]
    UnknownReference {
        /// The item's id.
        item: String,
        /// The name or digest that was looked for.
        reference: String,
    },
    /// A file that could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A picture that cannot be decoded or is beyond the limits.
    #[error("picture {name}: {reason}")]
    Picture {
        /// The file, or what the caller calls the picture.
        name: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A mesh file that cannot be read.
    #[error("mesh {name}: {reason}")]
    Mesh {
        /// The file.
        name: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The ONNX Runtime library cannot be used, or not for a device.
    #[error("ONNX Runtime: {0}")]
    Runtime(String),
    /// A model directory that cannot be used.
    #[error("model {name}: {reason}")]
    Model {
        /// The model's name or directory.
        name: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A failure of an encoder that was given as an object.
    #[error("model {name}: {source}")]
    Encoder {
        /// The model's name.
        name: String,
        /// The failure, as the encoder raised it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A catalog that cannot be opened, read or changed.
    #[error("catalog {}: {reason}", path.display())]
    Catalog {
        /// The catalog's directory.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A catalog that others write to for longer than this one may wait.
    #[error("catalog {}: {reason}", path.display())]
    Busy {
        /// The catalog's directory.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A catalog that could not be changed, since its disk is full.
    #[error("catalog {}: {reason}", path.display())]
    Full {
        /// The catalog's directory.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A stored entry that is not as it was written.
    #[error("catalog {}: {reason}", path.display())]
    Damaged {
        /// The catalog's directory.
        path: PathBuf,
        /// The id of its item, if it could be read.
        item: Option<String>,
        /// Which one, and what to do.
        reason: String,
    },
    /// A failure of this program or of a library in it, for which the caller gave no cause.
    #[error("{0}")]
    Internal(String),
    /// The caller stopped a long operation (Ctrl-C); everything finished before that is kept.
    #[error("interrupted")]
    Interrupted,
}

/// Returns the message of a panic.
pub fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}

/// An id as messages show it: whole, or how it begins if it is no id at all but some other text.
pub(crate) fn short(id: &str) -> String {
    match id.char_indices().nth(80) {
        Some((end, _)) if id.len() > 512 => format!("{:?}...", &id[..end]),
        _ => format!("{id:?}"),
    }
}

impl Error {
    /// An [`Error::Argument`].
    pub fn argument(reason: impl Display) -> Self {
        Self::Argument(reason.to_string())
    }

    /// An [`Error::Internal`].
    pub fn internal(reason: impl Display) -> Self {
        Self::Internal(reason.to_string())
    }

    /// Returns a word for the kind of error, which later versions keep.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Argument(_) => "argument",
            Self::UnknownItem(_) => "unknown_item",
            Self::UnknownReference { .. } => "unknown_reference",
            Self::Io { .. } => "file",
            Self::Picture { .. } => "picture",
            Self::Mesh { .. } => "mesh",
            Self::Runtime(_) => "runtime",
            Self::Model { .. } | Self::Encoder { .. } => "model",
            Self::Catalog { .. } => "catalog",
            Self::Busy { .. } => "busy",
            Self::Full { .. } => "disk_full",
            Self::Damaged { .. } => "damaged",
            Self::Internal(_) => "internal",
            Self::Interrupted => "interrupted",
        }
    }

    /// Returns the id of the item that the error is about, if it is about one.
    pub fn item(&self) -> Option<&str> {
        match self {
            Self::UnknownItem(id) | Self::UnknownReference { item: id, .. } => Some(id),
            Self::Damaged { item, .. } => item.as_deref(),
            _ => None,
        }
    }

    /// Returns the file or directory that the error is about, if it is about one. Pictures that came as bytes have a
    /// name instead of a path.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Io { path, .. }
            | Self::Catalog { path, .. }
            | Self::Busy { path, .. }
            | Self::Full { path, .. }
            | Self::Damaged { path, .. } => Some(path),
            Self::Picture { name, .. } | Self::Mesh { name, .. } => {
                let path = Path::new(name);
                path.exists().then_some(path)
            }
            _ => None,
        }
    }

    /// An [`Error::Io`] about `path`; use as `.map_err(Error::io(path))`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { path, source }
    }

    /// An [`Error::Picture`].
    pub fn picture(name: impl Display, reason: impl Display) -> Self {
        Self::Picture { name: name.to_string(), reason: reason.to_string() }
    }

    /// An [`Error::Mesh`].
    pub fn mesh(name: impl Display, reason: impl Display) -> Self {
        Self::Mesh { name: name.to_string(), reason: reason.to_string() }
    }

    /// An [`Error::Model`].
    pub fn model(name: impl Display, reason: impl Display) -> Self {
        Self::Model { name: name.to_string(), reason: reason.to_string() }
    }

    /// An [`Error::Runtime`].
    pub fn runtime(reason: impl Display) -> Self {
        Self::Runtime(reason.to_string())
    }

    /// The error of a step of a longer work, with what the steps before it have stored.
    #[must_use]
    pub fn after(self, stored: impl Display) -> Self {
        let longer = |reason: String| format!("{reason}; {stored} before it, and adding all again goes on there");
        match self {
            Self::Catalog { path, reason } => Self::Catalog { path, reason: longer(reason) },
            Self::Busy { path, reason } => Self::Busy { path, reason: longer(reason) },
            Self::Full { path, reason } => Self::Full { path, reason: longer(reason) },
            other => other,
        }
    }

    /// An [`Error::Busy`].
    pub fn busy(path: impl AsRef<Path>) -> Self {
        let reason = "another process or thread is writing to it; try again when that has finished, or open it with a \
                      longer busy_timeout";
        Self::Busy { path: path.as_ref().to_path_buf(), reason: reason.to_owned() }
    }

    /// An [`Error::Full`].
    pub fn full(path: impl AsRef<Path>, reason: impl Display) -> Self {
        Self::Full { path: path.as_ref().to_path_buf(), reason: reason.to_string() }
    }

    /// An [`Error::Catalog`].
    pub fn catalog(path: impl AsRef<Path>, reason: impl Display) -> Self {
        Self::Catalog { path: path.as_ref().to_path_buf(), reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn panics_say_why() {
        let why = |work: fn()| said(&*catch_unwind(work).unwrap_err()).to_owned();
        assert_eq!(why(|| panic!("broken")), "broken");
        assert_eq!(why(|| panic!("broken {}", 1 + 1)), "broken 2");
        assert_eq!(why(|| std::panic::panic_any(3)), "a panic without a message");
    }

    #[test]
    fn errors_name_their_item_and_path() {
        let told = |error: &Error| (error.code(), error.item().map(str::to_owned), error.path().map(Path::to_path_buf));
        assert_eq!(told(&Error::UnknownItem("a".into())), ("unknown_item", Some("a".into()), None));
        let (path, item) = (PathBuf::from("toys"), Some("bear".to_owned()));
        let damaged = Error::Damaged { path: path.clone(), item: item.clone(), reason: String::new() };
        assert_eq!(told(&damaged), ("damaged", item, Some(path.clone())));
        assert_eq!(told(&Error::busy("toys").after("3 rows")), ("busy", None, Some(path.clone())));
        let full = Error::full("toys", "no space").after("3 rows were stored");
        assert_eq!(told(&full), ("disk_full", None, Some(path)));
        assert!(full.to_string().contains("no space; 3 rows were stored before it"));
        assert_eq!(told(&Error::picture("image 0 (bytes)", "cut short")), ("picture", None, None));
        assert_eq!(told(&Error::picture("src", "a directory")).2, Some("src".into()));
    }

    #[test]
    fn long_texts_are_no_ids_to_repeat() {
        let long = Error::UnknownItem("é".repeat(300));
        assert_eq!(long.to_string(), format!("no item \"{}\"... in this catalog", "é".repeat(80)));
        assert_eq!(Error::UnknownItem("a b".into()).to_string(), "no item \"a b\" in this catalog");
    }
}
