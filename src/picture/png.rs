//! Reads the chunks of a PNG file: its end, its EXIF block and its orientation texts.

use std::borrow::Cow;
use std::io::Read;

use flate2::Crc;
use flate2::read::ZlibDecoder;

use super::orientation::OrientationTexts;

/// The largest text to inflate: a longer one is no orientation, and may be a decompression bomb.
const MAX_TEXT: u64 = 1 << 20;
const END: [u8; 12] = *b"\0\0\0\0IEND\xae\x42\x60\x82";

/// A chunk: its name, its data, and its end in the file.
struct Chunk<'a> {
    name: &'a [u8],
    data: &'a [u8],
    end: usize,
}

/// Iterates over the complete chunks, of which the last may lack its checksum.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut at = 8;
    std::iter::from_fn(move || {
        let length = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize;
        let name = bytes.get(at + 4..at + 8)?;
        let data = bytes.get(at + 8..(at + 8).checked_add(length)?)?;
        at += length + 12;
        Some(Chunk { name, data, end: at })
    })
}

/// Returns the file with its end chunk, which is added if only that is missing.
pub(super) fn readable(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let mut last = None;
    let mut pictured = false;
    for chunk in chunks(bytes) {
        match chunk.name {
            b"CgBI" => {
                return Err(
                    "PNG in Apple's own form (CgBI), which is no standard PNG; save it again from its original, \
                            or convert it with Apple's pngcrush -revert-iphone-optimizations"
                        .to_string(),
                );
            }
            b"IEND" if chunk.end <= bytes.len() => return Ok(Cow::Borrowed(bytes)),
            b"IEND" => break,
            b"IDAT" => pictured = true,
            _ => {}
        }
        last = Some(chunk);
    }
    let Some(last) = last.filter(|_| pictured) else { return Ok(Cow::Borrowed(bytes)) };
    // Truncated picture data is left for the decoder to refuse.
    if bytes.get(last.end + 4..last.end + 8) == Some(b"IDAT") {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut crc = Crc::new();
    crc.update(last.name);
    crc.update(last.data);
    let checksum =
        bytes.get(last.end - 4..last.end).map_or(crc.sum().to_be_bytes(), |sum| [sum[0], sum[1], sum[2], sum[3]]);
    Ok(Cow::Owned([&bytes[..last.end - 4], &checksum, &END].concat()))
}

/// Returns the EXIF block: from its chunk, or from hexadecimal text as ImageMagick writes it.
pub(super) fn exif(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    if let Some(chunk) = chunks(bytes).find(|chunk| chunk.name == b"eXIf") {
        return Some(Cow::Borrowed(chunk.data));
    }
    raw_profile(&text(bytes, b"Raw profile type exif", &[b"tEXt", b"zTXt", b"iTXt"])?).map(Cow::Owned)
}

/// Returns the texts that may give the orientation.
pub(super) fn orientation_texts(bytes: &[u8]) -> OrientationTexts<'_> {
    let profile = |key| text(bytes, key, &[b"tEXt", b"zTXt", b"iTXt"]);
    OrientationTexts {
        xmp: text(bytes, b"XML:com.adobe.xmp", &[b"iTXt"]),
        app1: profile(b"Raw profile type APP1"),
        raw_xmp: profile(b"Raw profile type xmp"),
    }
}

/// Decodes ImageMagick's hexadecimal block, which follows an empty line, a name and a length.
pub(super) fn raw_profile(profile: &[u8]) -> Option<Vec<u8>> {
    let digits = profile.splitn(4, |&byte| byte == b'\n').nth(3)?;
    let digits: Vec<u8> = digits.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = digits.as_chunks::<2>();
    let block = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect::<Option<Vec<u8>>>()?;
    rest.is_empty().then_some(block)
}

/// Returns the last text of this name.
fn text<'a>(bytes: &'a [u8], key: &[u8], kinds: &[&[u8; 4]]) -> Option<Cow<'a, [u8]>> {
    let texts = chunks(bytes).filter(|chunk| kinds.iter().any(|kind| chunk.name == &kind[..])).filter_map(|chunk| {
        let rest = chunk.data.strip_prefix(key)?.strip_prefix(b"\0")?;
        match (chunk.name, rest) {
            (b"tEXt", text) => Some(Cow::Borrowed(text)),
            (b"zTXt", [0, packed @ ..]) => inflate(packed),
            (b"iTXt", [packed @ (0 | 1), 0, rest @ ..]) => {
                // The language and the translated key.
                let text = rest.splitn(3, |&byte| byte == 0).nth(2)?;
                if *packed == 1 { inflate(text) } else { Some(Cow::Borrowed(text)) }
            }
            _ => None,
        }
    });
    texts.last()
}

fn inflate<'a>(packed: &[u8]) -> Option<Cow<'a, [u8]>> {
    let mut text = Vec::new();
    ZlibDecoder::new(packed).take(MAX_TEXT).read_to_end(&mut text).ok()?;
    Some(Cow::Owned(text))
}
