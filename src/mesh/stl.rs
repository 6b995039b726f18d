//! Reads STL files, binary or ASCII.
//!
//! The format is told by the content, not by the first word, because programs write `solid` into binary files, too.

use crate::mesh::{MAX_TRIANGLES, Mesh, Triangle};

/// The length of header and count in a binary file, in bytes.
const HEAD: usize = 84;
/// The length of a triangle in a binary file, in bytes: normal, three corners, two more.
const TRIANGLE: usize = 50;

/// Reads the triangles of an STL file.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Triangle>, String> {
    if is_ascii(bytes) { ascii(bytes) } else { binary(bytes) }
}

/// Returns whether it is ASCII STL, or has the length that its count of triangles gives a binary file.
pub(super) fn is_stl(bytes: &[u8]) -> bool {
    is_ascii(bytes) || announced(bytes).is_some_and(|length| length > HEAD as u64 && length == bytes.len() as u64)
}

/// Returns whether the file is ASCII: it starts with `solid`, continues like ASCII STL, and does not have the length
/// of a binary file.
fn is_ascii(bytes: &[u8]) -> bool {
    let text = without_mark(bytes).trim_ascii_start();
    let solid = text.len() >= 5 && text[..5].eq_ignore_ascii_case(b"solid");
    let start = text[..text.len().min(4096)].to_ascii_lowercase();
    let holds = |word: &[u8]| start.windows(word.len()).any(|window| window == word);
    solid && (holds(b"facet") || holds(b"endsolid")) && announced(bytes) != Some(bytes.len() as u64)
}

/// Writes a binary file.
pub(super) fn write(mesh: &Mesh) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + TRIANGLE * mesh.triangles().len());
    bytes.resize(80, 0);
    bytes.extend((mesh.triangles().len() as u32).to_le_bytes());
    for (i, triangle) in mesh.triangles().iter().enumerate() {
        let numbers = mesh.normal(i).into_iter().chain(triangle.as_flattened().iter().copied());
        bytes.extend(numbers.flat_map(f32::to_le_bytes));
        bytes.extend([0; 2]);
    }
    bytes
}

/// Returns the length of a binary file by its count of triangles.
fn announced(bytes: &[u8]) -> Option<u64> {
    let count = bytes.get(80..HEAD)?;
    Some(HEAD as u64 + TRIANGLE as u64 * u64::from(u32::from_le_bytes(count.try_into().ok()?)))
}

/// Returns the bytes after a UTF-8 byte order mark.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

fn binary(bytes: &[u8]) -> Result<Vec<Triangle>, String> {
    let Some(length) = announced(bytes) else {
        return Err(format!(
            "{} bytes are too few for a mesh (STL, OBJ, PLY, GLB or 3MF): it is empty or damaged",
            bytes.len()
        ));
    };
    let count = (length - HEAD as u64) / TRIANGLE as u64;
    if length > bytes.len() as u64 {
        let have = bytes.len();
        return Err(format!(
            "not a mesh (STL, OBJ, PLY, GLB or 3MF), or cut off: {count} triangles of STL need {length} bytes, but it has {have}"
        ));
    }
    if count > MAX_TRIANGLES as u64 {
        return Err(format!("{count} triangles: reduce it to {MAX_TRIANGLES} at most"));
    }
    let body = &bytes[HEAD..length as usize];
    let number = |record: &[u8], i: usize| f32::from_le_bytes([record[i], record[i + 1], record[i + 2], record[i + 3]]);
    let corner = |record: &[u8], i: usize| [0, 4, 8].map(|k| number(record, 12 + 12 * i + k));
    Ok(body.chunks_exact(TRIANGLE).map(|record| [0, 1, 2].map(|i| corner(record, i))).collect())
}

fn ascii(bytes: &[u8]) -> Result<Vec<Triangle>, String> {
    let mut triangles = Vec::new();
    let mut corners: Vec<[f32; 3]> = Vec::new();
    let lines = without_mark(bytes).split(|&byte| byte == b'\n' || byte == b'\r');
    for line in lines.map(<[u8]>::trim_ascii) {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        match words.next().map(<[u8]>::to_ascii_lowercase).as_deref() {
            Some(b"vertex") => corners.push(vertex(line, words)?),
            Some(b"endloop" | b"endfacet") if !corners.is_empty() => {
                let triangle = corners.as_slice().try_into();
                triangles
                    .push(triangle.map_err(|_| format!("facet {} has {} corners", triangles.len(), corners.len()))?);
                corners.clear();
                if triangles.len() > MAX_TRIANGLES {
                    return Err(format!("more than {MAX_TRIANGLES} triangles: reduce it"));
                }
            }
            _ => {}
        }
    }
    if corners.is_empty() { Ok(triangles) } else { Err(format!("cut off within facet {}", triangles.len())) }
}

fn vertex<'a>(line: &[u8], words: impl Iterator<Item = &'a [u8]>) -> Result<[f32; 3], String> {
    let numbers: Option<Vec<f32>> = words.map(|word| std::str::from_utf8(word).ok()?.parse().ok()).collect();
    let corner = numbers.and_then(|numbers| numbers.try_into().ok());
    corner.ok_or_else(|| format!("three numbers expected after vertex in {:?}", String::from_utf8_lossy(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Triangle = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.5, 0.0]];
    const B: Triangle = [[0.0, 0.0, -2.0], [0.0, 1e3, 0.0], [-0.5, 1.5, 0.25]];

    fn text(triangles: &[Triangle]) -> String {
        let mut text = String::from("solid part of vertex 1\n");
        for triangle in triangles {
            text += "  facet normal 0 0 0\n    outer loop\n";
            for [x, y, z] in triangle {
                text += &format!("      vertex {x:e} {y} {z}\n");
            }
            text += "    endloop\n  endfacet\n";
        }
        text + "endsolid part\n"
    }

    fn bytes(header: &str, triangles: &[Triangle]) -> Vec<u8> {
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(80, 0);
        bytes.extend((triangles.len() as u32).to_le_bytes());
        for triangle in triangles {
            bytes.extend([0; 12]);
            bytes.extend(triangle.as_flattened().iter().flat_map(|x| x.to_le_bytes()));
            bytes.extend([0; 2]);
        }
        bytes
    }

    fn triangles(bytes: &[u8]) -> Vec<Triangle> {
        Mesh::from_bytes("part.stl", bytes).unwrap().triangles().to_vec()
    }

    fn reason(bytes: &[u8]) -> String {
        let message = Mesh::from_bytes("part.stl", bytes).unwrap_err().to_string();
        message.strip_prefix("mesh part.stl: ").unwrap().to_owned()
    }

    #[test]
    fn reads_both_formats() {
        assert_eq!(triangles(text(&[A, B]).as_bytes()), [A, B]);
        assert_eq!(triangles(&bytes("made by hand", &[A, B])), [A, B]);
    }

    #[test]
    fn writes_what_it_reads() {
        let mesh = Mesh::from_bytes("part.stl", text(&[A, B]).as_bytes()).unwrap();
        assert_eq!(triangles(&mesh.to_stl()), [A, B]);
        assert!(is_stl(&mesh.to_stl()));
    }

    #[test]
    fn reads_text_however_it_is_written() {
        let plain = text(&[A, B]);
        assert_eq!(triangles(plain.replace('\n', "\r\n").as_bytes()), [A, B]);
        assert_eq!(triangles(plain.replace('\n', "\r").as_bytes()), [A, B]);
        assert_eq!(triangles(plain.to_uppercase().as_bytes()), [A, B]);
        assert_eq!(triangles(format!("\u{feff}\n {plain}").as_bytes()), [A, B]);
        assert_eq!(triangles(format!("{}{}", text(&[A]), text(&[B])).as_bytes()), [A, B]);
    }

    #[test]
    fn knows_binary_files_that_call_themselves_solid() {
        assert_eq!(triangles(&bytes("solid part facet", &[A])), [A]);
        let mut longer = bytes("solid part", &[A]);
        longer.extend(b"trailing");
        assert_eq!(triangles(&longer), [A]);
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(reason(b"solid nothing\nendsolid\n"), "holds no triangles: export the part again as a mesh");
        assert_eq!(reason(&bytes("", &[])), "holds no triangles: export the part again as a mesh");
        assert_eq!(reason(b""), "0 bytes are too few for a mesh (STL, OBJ, PLY, GLB or 3MF): it is empty or damaged");
        let whole = bytes("", &[A, B]);
        assert_eq!(
            reason(&whole[..150]),
            "not a mesh (STL, OBJ, PLY, GLB or 3MF), or cut off: 2 triangles of STL need 184 bytes, but it has 150"
        );
        let mut many = bytes("", &[A]);
        many[80..84].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(reason(&many).contains("4294967295 triangles of STL need 214748364834 bytes"));
        let plain = text(&[A]);
        assert!(reason(plain.replace("1.5", "one").as_bytes()).starts_with("three numbers expected after vertex in"));
        assert!(reason(plain.replace("1.5", "1.5 2").as_bytes()).starts_with("three numbers expected"));
        assert_eq!(reason(&plain.as_bytes()[..plain.find("endloop").unwrap()]), "cut off within facet 0");
        let quad = plain.replace("    endloop", "vertex 1 1 1\n    endloop");
        assert_eq!(reason(quad.as_bytes()), "facet 0 has 4 corners");
        for bad in [f32::NAN, f32::INFINITY] {
            let mut broken = B;
            broken[1][2] = bad;
            assert_eq!(triangles(&bytes("", &[A, broken])), [A]);
        }
        assert_eq!(
            reason(text(&[A]).replace("1.5", "nan").as_bytes()),
            "every triangle has a coordinate that is not finite: export the part again"
        );
    }
}
