//! Reads Wavefront OBJ files: corners and faces. Materials lie in other files, which are never opened.

use crate::mesh::{MAX_TRIANGLES, Triangle, fan};

/// The words that begin the lines of an OBJ file.
const WORDS: [&[u8]; 11] = [b"v", b"vn", b"vt", b"vp", b"f", b"o", b"g", b"s", b"l", b"mtllib", b"usemtl"];
/// How much of a file tells whether it is one.
const HEAD: usize = 1 << 16;

/// Returns whether its first lines are those of an OBJ file, a corner among them.
pub(super) fn is_obj(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(HEAD)];
    let words = head.split(|&byte| byte == b'\n').map(first_word).filter(|word| !word.is_empty() && word[0] != b'#');
    let mut corner = false;
    for word in words.take(1000) {
        if !WORDS.contains(&word) {
            // The last line may be cut off.
            return corner;
        }
        corner |= word == b"v";
    }
    corner
}

fn first_word(line: &[u8]) -> &[u8] {
    line.trim_ascii().split(u8::is_ascii_whitespace).next().unwrap_or_default()
}

/// Reads the triangles of an OBJ file; faces with more corners are cut into fans.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Triangle>, String> {
    let mut corners: Vec<[f32; 3]> = Vec::new();
    let mut triangles = Vec::new();
    let mut face: Vec<[f32; 3]> = Vec::new();
    // A line that ends in a backslash goes on in the next.
    let mut joined: Vec<u8> = Vec::new();
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if let Some(part) = line.strip_suffix(b"\\") {
            joined.extend_from_slice(part);
            joined.push(b' ');
            continue;
        }
        let whole = if joined.is_empty() {
            line
        } else {
            joined.extend_from_slice(line);
            &joined
        };
        let at = |reason: String| format!("line {}: {reason}", number + 1);
        let mut words = whole.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        match words.next() {
            Some(b"v") => {
                // A weight or a color may follow.
                let numbers: Option<Vec<f32>> = words.take(3).map(number_of).collect();
                let corner = numbers.and_then(|numbers| numbers.try_into().ok());
                corners.push(corner.ok_or_else(|| at("three numbers expected after v".into()))?);
            }
            Some(b"f") => {
                face.clear();
                for word in words {
                    face.push(corner_of(word, &corners).map_err(at)?);
                }
                fan(&face, &mut triangles);
            }
            _ => {}
        }
        joined.clear();
        if triangles.len() > MAX_TRIANGLES || corners.len() > 3 * MAX_TRIANGLES {
            return Err(format!("more than {MAX_TRIANGLES} triangles: reduce it"));
        }
    }
    Ok(triangles)
}

fn number_of<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Returns the corner that a face names by its number, from 1 or, if negative, from the last one back.
fn corner_of(word: &[u8], corners: &[[f32; 3]]) -> Result<[f32; 3], String> {
    let shown = || String::from_utf8_lossy(&word[..word.len().min(40)]).into_owned();
    let number = word.split(|&byte| byte == b'/').next().and_then(number_of::<i64>);
    let number = number.ok_or_else(|| format!("a face has the corner {:?}, which is no number", shown()))?;
    let place = if number < 0 { corners.len() as i64 + number } else { number - 1 };
    usize::try_from(place)
        .ok()
        .and_then(|place| corners.get(place).copied())
        .ok_or_else(|| format!("a face has the corner {number}, but there are {} before it", corners.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faces_name_corners_in_every_way() {
        let text =
            b"# a part\nmtllib /etc/passwd\no part\nv 0 0 0\nv 1 0 0 1.0\nv 1 1 0 .5 .5 .5\r\nv 0 1 0\nvn 0 0 1\n\
            f 1/1/1 2//1 3 4\nf -4 -3 \\\n -2\n";
        assert!(is_obj(text));
        let [a, b, c, d] = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]];
        assert_eq!(read(text).unwrap(), [[a, b, c], [a, c, d], [a, b, c]]);
    }

    #[test]
    fn says_what_is_wrong() {
        let reason = |text: &str| read(text.as_bytes()).unwrap_err();
        assert_eq!(reason("v 0 0\n"), "line 1: three numbers expected after v");
        assert_eq!(reason("v 0 0 0\nf 1 2 3\n"), "line 2: a face has the corner 2, but there are 1 before it");
        assert_eq!(reason("v 0 0 0\nf 0 1 1\n"), "line 2: a face has the corner 0, but there are 1 before it");
        assert_eq!(reason("f a b c\n"), "line 1: a face has the corner \"a\", which is no number");
        for not in ["", "solid part\nfacet", "vector of things\n", "# v 1 2 3\n"] {
            assert!(!is_obj(not.as_bytes()), "{not}");
        }
    }
}
