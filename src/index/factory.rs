//! Factory strings of faiss: which of them a catalog can use, and why not the others.

use std::fmt::{self, Display, Formatter};

use faiss::{MetricType, index_factory};

use crate::error::{Error, Result};
use crate::index::faiss::set_up;

/// The most lists of an index, and neighbors of a row in a graph: more would take all memory for nothing.
const MOST_LISTS: usize = 1 << 20;
const MOST_NEIGHBORS: usize = 512;
/// The fewest: faiss divides by the logarithm of their number.
const LEAST_NEIGHBORS: usize = 2;
/// The text around the number of codes for each center, as in `IVF4096(PQ32x4fs,RFlat)`.
const CODES: (&str, &str) = ("(PQ", "x4fs,RFlat)");
/// The fewest lists whose centers have codes: 39 centers for each of the 16 that a code is of.
const LEAST_CODED: usize = 39 * 16;
/// The rows for each center that faiss learns one from: with fewer it warns.
const EACH: usize = 39;
/// Fewer rows are compared one by one in less than a tenth of a millisecond.
const LEAST: usize = 600;

/// Ends the error of an unknown name in a factory string.
const SPELLING: &str = "; names are spelled as faiss does, such as IVF1024,Flat and HNSW32, beside auto and exact";

/// How an index is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Every code is compared.
    Codes,
    /// The codes in the lists whose centers are nearest: as many lists as `nprobe` says.
    Lists,
    /// Along a graph, keeping as many rows in view as `ef_search` says.
    Graph,
}

/// A factory string that makes an index which can be filtered, and from whose answers removed rows can be kept.
///
/// ```
/// use plushie_search::index::Factory;
///
/// assert_eq!(Factory::parse("IVF1024,PQ32x4fs", 64)?.least_rows(), 39 * 1024);
/// assert!(Factory::parse("NSG32", 64).is_err());
/// # Ok::<(), plushie_search::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factory {
    text: String,
    pub(super) kind: Kind,
    /// How many lists it has; 1 without lists.
    pub(super) lists: usize,
    /// Whether its lists are learned from the vectors as they are.
    pub(super) is_plain: bool,
    /// Whether a graph finds the nearest lists.
    pub(super) has_graph: bool,
    /// Whether codes of their centers find the nearest lists.
    pub(super) has_codes: bool,
    least: usize,
}

impl Factory {
    /// Reads a factory string for vectors of `dim` numbers.
    ///
    /// # Errors
    /// [`Error::Argument`] when faiss refuses it, or when its index could not be filtered.
    pub fn parse(text: &str, dim: usize) -> Result<Self> {
        let refuse = |reason: &str| Error::argument(format!("index {text:?}: {reason}"));
        if let Some(reason) = useless(text) {
            return Err(refuse(reason));
        }
        let (before, has_codes, behind) = split_centers(text);
        let plain = format!("{before}{behind}");
        let mut pieces: Vec<&str> = plain.split(',').collect();
        let mut transforms = 0;
        let mut shortened = dim;
        while let Some(transform) = pieces.get(transforms).and_then(|piece| transform_of(piece)) {
            shortened = transform.shortened(shortened).map_err(|reason| refuse(&reason))?;
            transforms += 1;
        }
        pieces.drain(..transforms);
        let (mut kind, mut lists) = (Kind::Codes, 1);
        match pieces.first().map(|piece| (lists_of(piece), neighbors_of(piece))) {
            Some((Some(count), _)) => {
                if !(1..=MOST_LISTS).contains(&count) {
                    return Err(refuse(&format!("{count} lists: give 1 to {MOST_LISTS}")));
                }
                if let Some((_, neighbors)) = pieces[0].split_once("_HNSW") {
                    check_neighbors(number(neighbors).unwrap_or_default()).map_err(|reason| refuse(&reason))?;
                }
                (kind, lists) = (Kind::Lists, count);
                pieces.remove(0);
            }
            Some((_, Some(count))) => {
                check_neighbors(count).map_err(|reason| refuse(&reason))?;
                kind = Kind::Graph;
                pieces.remove(0);
                if pieces.is_empty() {
                    pieces.push("Flat");
                }
            }
            _ => {}
        }
        let code = match pieces[..] {
            [code] => code,
            [] => return Err(refuse("it says no code: add one, such as Flat or SQ8")),
            _ => {
                return Err(refuse(&format!(
                    "it has more parts than transforms, lists or a graph, and a code{SPELLING}"
                )));
            }
        };
        let is_plain = kind == Kind::Lists && transforms == 0;
        let has_graph = kind == Kind::Lists && text.contains("_HNSW");
        if has_codes && (!is_plain || has_graph || lists_of(before).is_none()) {
            return Err(refuse("codes of centers stand behind the lists, as in IVF4096(PQ32x4fs,RFlat)"));
        }
        if has_codes && lists < LEAST_CODED {
            return Err(refuse(&format!(
                "codes of centers are learned from {LEAST_CODED} lists or more: leave them out"
            )));
        }
        let centers = centers_of(code, kind).map_err(|reason| refuse(&reason))?;
        set_up();
        let size = u32::try_from(dim).map_err(|_| refuse("vectors are too long"))?;
        index_factory(size, text, MetricType::InnerProduct).map_err(|error| refuse(&reason_of(&error.to_string())))?;
        let learned = if kind == Kind::Lists { lists.max(centers) } else { centers };
        let least = (EACH * learned).max(LEAST);
        Ok(Self { text: text.to_owned(), kind, lists, is_plain, has_graph, has_codes, least })
    }

    /// The string itself.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The fewest rows that its index can be learned from: 39 for each center, as faiss asks, and 600.
    pub fn least_rows(&self) -> usize {
        self.least
    }

    /// How to have an index of fewer rows.
    pub(super) fn cure(&self) -> &'static str {
        match self.kind {
            _ if self.least == LEAST => "add more; so few are compared one by one as fast",
            Kind::Lists if self.least == EACH * self.lists => "add more, or take fewer lists",
            _ => "add more, or take a code of fewer bits, such as PQmx4fs or SQ8",
        }
    }
}

impl Display for Factory {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why an index that faiss makes is of no use here.
fn useless(text: &str) -> Option<&'static str> {
    let has = |part: &str| text.contains(part);
    if has("IDMap") {
        return Some("the catalog numbers its rows by itself: leave out the IDMap");
    }
    let (before, has_codes, behind) = split_centers(text);
    if [before, behind].iter().any(|part| part.contains("RFlat") || part.contains("Refine")) {
        return Some(
            "faiss cannot filter it. Each search compares the best rows by their full vectors anyway, as many as \
             k_factor says: leave that part out",
        );
    }
    if (!has_codes && before.contains('(')) || behind.contains('(') {
        return Some(
            "only codes of centers stand in parentheses, as in IVF4096(PQ32x4fs,RFlat): give a graph over lists as \
             IVF4096_HNSW32",
        );
    }
    if has("NSG") {
        return Some("faiss cannot filter it, so that nothing could be removed: take HNSW instead");
    }
    if has("L2norm") {
        return Some("vectors have the length 1 already: leave out L2norm");
    }
    if has("PCAW") {
        return Some("scores of whitened vectors are of no use: take PCA instead");
    }
    if has("LSH") {
        return Some("faiss cannot filter it, so that nothing could be removed: take SQ4 or PQ codes instead");
    }
    None
}

/// A part of a string that changes vectors before all else.
struct Transform<'a> {
    piece: &'a str,
    name: &'static str,
    /// The number behind the name, and that behind an underscore.
    first: Option<usize>,
    second: Option<Option<usize>>,
}

fn transform_of(piece: &str) -> Option<Transform<'_>> {
    let name = ["OPQ", "PCAR", "PCA", "RR"].into_iter().find(|name| piece.starts_with(name))?;
    let rest = &piece[name.len()..];
    if rest.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') {
        return None;
    }
    let (first, second) = match rest.split_once('_') {
        Some((first, second)) => (number(first), Some(number(second))),
        None => (number(rest), None),
    };
    Some(Transform { piece, name, first, second })
}

impl Transform<'_> {
    /// How many numbers vectors of `dim` have behind it, or why faiss cannot do it.
    fn shortened(&self, dim: usize) -> Result<usize, String> {
        let Self { piece, name, .. } = self;
        match (*name, self.first, self.second) {
            ("OPQ", Some(parts @ 1..), second) => {
                let numbers = second.unwrap_or(Some(dim)).unwrap_or_default();
                match (1..=dim).contains(&numbers) && numbers.is_multiple_of(parts) {
                    true => Ok(numbers),
                    false => Err(format!(
                        "{piece} of {dim} numbers: give OPQm, or OPQm_d of at most {dim} numbers, that m divides"
                    )),
                }
            }
            ("OPQ", ..) | (_, _, Some(_)) => {
                Err(format!("{piece} is no transform: give one such as OPQ16, OPQ16_64, PCA64 or RR64"))
            }
            (_, Some(numbers), _) if (1..=dim).contains(&numbers) => Ok(numbers),
            _ => Err(format!("{piece} of {dim} numbers: give {name}1 to {name}{dim}")),
        }
    }
}

fn check_neighbors(count: usize) -> Result<(), String> {
    match (LEAST_NEIGHBORS..=MOST_NEIGHBORS).contains(&count) {
        true => Ok(()),
        false => Err(format!("{count} neighbors: give {LEAST_NEIGHBORS} to {MOST_NEIGHBORS}")),
    }
}

/// Splits a string at its codes of centers: the part before them, whether there are any, and the part after them. Without
/// codes, the whole string is the part before.
fn split_centers(text: &str) -> (&str, bool, &str) {
    let split = || {
        let (before, rest) = text.split_once(CODES.0)?;
        let (count, behind) = rest.split_once(CODES.1)?;
        number(count).filter(|count| *count > 0).map(|_| (before, true, behind))
    };
    split().unwrap_or((text, false, ""))
}

/// The number of lists of `IVF1024`, `IVF1k` or `IVF4096_HNSW32`.
fn lists_of(piece: &str) -> Option<usize> {
    let count = piece.strip_prefix("IVF")?;
    let count = match count.split_once('_') {
        None => count,
        Some((count, graph)) => neighbors_of(graph).map(|_| count)?,
    };
    let (digits, unit) = match count.strip_suffix('k') {
        Some(digits) => (digits, 1 << 10),
        None => count.strip_suffix('M').map_or((count, 1), |digits| (digits, 1 << 20)),
    };
    number(digits)?.checked_mul(unit)
}

/// The number of neighbors of `HNSW32`.
fn neighbors_of(piece: &str) -> Option<usize> {
    number(piece.strip_prefix("HNSW")?)
}

fn number(digits: &str) -> Option<usize> {
    Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// How many centers a code is learned from, or why it cannot be taken.
fn centers_of(code: &str, kind: Kind) -> Result<usize, String> {
    if matches!(code, "Flat" | "SQ4" | "SQ6" | "SQ8" | "SQfp16" | "SQbf16") {
        return Ok(1);
    }
    if code == "RaBitQ" && kind == Kind::Lists {
        return Ok(1);
    }
    if let Some(rest) = code.strip_prefix("PQ") {
        if rest.ends_with("x4fsr") {
            // Seen in 1.12: two searches of one index by inner products, one after another, differ.
            return Err(format!("faiss answers differently each time by {code}: leave out the r"));
        }
        let fast = rest.strip_suffix("x4fs");
        if kind == Kind::Codes || (kind == Kind::Graph && fast.is_some()) {
            return Err(format!("faiss filters {code} only in lists: write IVF before it, such as IVF1024,{code}"));
        }
        if let Some(1..) = fast.and_then(number) {
            return Ok(16);
        }
        let (count, bits) = rest.split_once('x').unwrap_or((rest, "8"));
        if let (Some(1..), Some(bits @ 1..=8)) = (number(count), number(bits)) {
            return Ok(1 << bits);
        }
    }
    Err(format!(
        "{code:?} is not a code that can be filtered: give Flat, SQ4, SQ6, SQ8, SQfp16 or SQbf16, or in lists PQm, \
         PQmx4fs or RaBitQ{SPELLING}"
    ))
}

/// The last part of an error of faiss, behind the place in its source.
fn reason_of(error: &str) -> String {
    let reason = error.rsplit_once("failed: ").map_or(error, |(_, reason)| reason);
    format!("faiss refuses it: {}", reason.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_says_how_it_is_searched_and_learned() {
        let cases = [
            ("Flat", Kind::Codes, 1, 600),
            ("SQ8", Kind::Codes, 1, 600),
            ("IVF1024,Flat", Kind::Lists, 1024, 39 * 1024),
            ("IVF1k,SQ8", Kind::Lists, 1024, 39 * 1024),
            ("IVF64,PQ32x4fs", Kind::Lists, 64, 39 * 64),
            ("IVF64,PQ16", Kind::Lists, 64, 39 * 256),
            ("IVF64_HNSW16,SQ8", Kind::Lists, 64, 39 * 64),
            ("IVF1k(PQ32x4fs,RFlat),PQ16x4fs", Kind::Lists, 1024, 39 * 1024),
            ("IVF1k(PQ16x4fs,RFlat),Flat", Kind::Lists, 1024, 39 * 1024),
            ("OPQ16_64,IVF64,PQ16x4fs", Kind::Lists, 64, 39 * 64),
            ("PCA32,IVF64,SQ8", Kind::Lists, 64, 39 * 64),
            ("IVF64,RaBitQ", Kind::Lists, 64, 39 * 64),
            ("HNSW32", Kind::Graph, 1, 600),
            ("HNSW32,SQ8", Kind::Graph, 1, 600),
            ("HNSW32,PQ16", Kind::Graph, 1, 39 * 256),
        ];
        for (text, kind, lists, least) in cases {
            let factory = Factory::parse(text, 64).unwrap();
            assert_eq!((factory.kind, factory.lists, factory.least_rows()), (kind, lists, least), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_reason() {
        let cases = [
            ("IDMap2,Flat", "numbers its rows"),
            ("PQ32x4fs", "only in lists"),
            ("PQ16", "only in lists"),
            ("IVF64,PQ32x4fsr", "differently each time"),
            ("HNSW32,PQ16x4fs", "only in lists"),
            ("RaBitQ", "not a code"),
            ("NSG32", "cannot filter"),
            ("IVF64,Flat,RFlat", "k_factor"),
            ("IVF64,PQ16x4fs,Refine(SQfp16)", "k_factor"),
            ("IVF64(HNSW32),Flat", "parentheses"),
            ("IVF64(SQ8),Flat", "parentheses"),
            ("IVF64(SQfp16),Flat", "parentheses"),
            ("HNSW32(PQ32x4fs,RFlat)", "stand behind the lists"),
            ("IVF1k,Flat(PQ32x4fs,RFlat)", "stand behind the lists"),
            ("OPQ16,IVF1k(PQ8x4fs,RFlat),PQ8x4fs", "stand behind the lists"),
            ("IVF1k_HNSW32(PQ32x4fs,RFlat),Flat", "stand behind the lists"),
            ("IVF1k(PQ32x4fs,RFlat)_HNSW32,Flat", "stand behind the lists"),
            ("IVF1k(PQ32x4fs,RFlat)(PQ32x4fs,RFlat),Flat", "k_factor"),
            ("IVF1k(PQ32x4fs),Flat", "parentheses"),
            ("IVF1k(PQx4fs,RFlat),Flat", "k_factor"),
            ("IVF1k(PQ7x4fs,RFlat),Flat", "faiss refuses it"),
            ("IVF623(PQ32x4fs,RFlat),Flat", "624 lists or more"),
            ("IVF1k(PQ32x4fs,RFlat),Flat,RFlat", "k_factor"),
            ("IVF64,RaBitQfs", "not a code"),
            ("IVF64,FlatPanorama8", "not a code"),
            ("RSQfp16", "not a code"),
            ("LSH", "cannot filter"),
            ("IVF64", "no code"),
            ("IVF64,PQ0", "not a code"),
            ("IVF64,PQ0x4fs", "not a code"),
            ("HNSW32,PQ0", "not a code"),
            ("IVF1k(PQ0x4fs,RFlat),Flat", "k_factor"),
            ("PCA0,IVF64,Flat", "give PCA1 to PCA64"),
            ("PCA65,IVF64,Flat", "give PCA1 to PCA64"),
            ("PCAR0,IVF64,Flat", "give PCAR1 to PCAR64"),
            ("PCA64_3,IVF64,Flat", "no transform"),
            ("RR_,IVF64,Flat", "no transform"),
            ("RR2000000000,IVF64,Flat", "give RR1 to RR64"),
            ("OPQ0,IVF64,PQ8x4fs", "no transform"),
            ("OPQ7,IVF64,PQ8x4fs", "m divides"),
            ("OPQ16_0,IVF64,PQ8x4fs", "m divides"),
            ("OPQ16_80,IVF64,PQ8x4fs", "m divides"),
            ("PCA32,OPQ64,IVF64,PQ8x4fs", "m divides"),
            ("HNSW1", "1 neighbors: give 2"),
            ("IVF64_HNSW0,Flat", "0 neighbors: give 2"),
            ("IVF64_HNSW9999999,Flat", "9999999 neighbors: give 2"),
            ("L2norm,IVF64,Flat", "length 1 already"),
            ("PCAW32,IVF64,Flat", "PCA instead"),
            ("ivf64,flat", "spelled as faiss"),
            (" IVF64,Flat", "spelled as faiss"),
            ("Exact", "auto and exact"),
            ("IVF64,Flat,SQ8", "more parts"),
            ("IVF0,Flat", "0 lists"),
            ("IVF99999999,Flat", "lists: give 1"),
            ("HNSW9999", "neighbors: give 2"),
            ("IVF64,PQ7x4fs", "faiss refuses it"),
            ("IVF64,PQ16x16", "not a code"),
            ("", "not a code"),
            ("IVF64,\0", "not a code"),
        ];
        for (text, reason) in cases {
            let error = Factory::parse(text, 64).unwrap_err().to_string();
            assert!(error.starts_with("index ") && error.contains(reason), "{text}: {error}");
        }
    }
}
