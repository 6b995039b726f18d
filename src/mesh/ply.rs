//! Reads PLY files, ASCII or binary: the elements `vertex` and `face`.

use crate::mesh::{MAX_TRIANGLES, Triangle, fan};

/// The longest header in bytes.
const HEADER: usize = 1 << 16;

/// Returns whether it begins as a PLY file does.
pub(super) fn is_ply(bytes: &[u8]) -> bool {
    bytes.starts_with(b"ply\n") || bytes.starts_with(b"ply\r")
}

/// How the numbers of a file are written.
#[derive(Clone, Copy, PartialEq)]
enum Coding {
    Text,
    Little,
    Big,
}

#[derive(Clone, Copy)]
enum Scalar {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    F32,
    F64,
}

impl Scalar {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "char" | "int8" => Self::I8,
            "uchar" | "uint8" => Self::U8,
            "short" | "int16" => Self::I16,
            "ushort" | "uint16" => Self::U16,
            "int" | "int32" => Self::I32,
            "uint" | "uint32" => Self::U32,
            "float" | "float32" => Self::F32,
            "double" | "float64" => Self::F64,
            _ => return None,
        })
    }

    /// Returns its length in bytes.
    fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

struct Property {
    name: String,
    /// The type of the count, of a list.
    count: Option<Scalar>,
    scalar: Scalar,
}

struct Element {
    name: String,
    count: usize,
    properties: Vec<Property>,
}

/// Reads the triangles of a PLY file; faces with more corners are cut into fans.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Triangle>, String> {
    let (coding, elements, body) = header(bytes)?;
    let mut body = Body { coding, bytes: body };
    let (mut corners, mut triangles): (Vec<[f32; 3]>, Vec<Triangle>) = (Vec::new(), Vec::new());
    let (mut face, mut list) = (Vec::new(), Vec::new());
    for element in &elements {
        let (is_vertex, is_face) = (element.name == "vertex", element.name == "face");
        // A row without properties takes no bytes, so that its count would be believed.
        if element.properties.is_empty() {
            continue;
        }
        for row in 0..element.count {
            let at = |reason| format!("{} {row} of {}: {reason}", element.name, element.count);
            let mut corner = [f32::NAN; 3];
            for property in &element.properties {
                let place = ["x", "y", "z"].iter().position(|axis| property.name == *axis);
                match property.count {
                    None => {
                        let value = body.next(property.scalar).map_err(at)?;
                        if let (true, Some(place)) = (is_vertex, place) {
                            corner[place] = value as f32;
                        }
                    }
                    Some(count) => {
                        let count = body.next(count).map_err(at)?;
                        list.clear();
                        // A count that lies ends with the bytes.
                        for _ in 0..count as usize {
                            list.push(body.next(property.scalar).map_err(at)?);
                        }
                        if is_face && matches!(property.name.as_str(), "vertex_indices" | "vertex_index") {
                            face.clear();
                            for &index in &list {
                                let corner = (index >= 0.0).then(|| corners.get(index as usize)).flatten();
                                let missing = || at(format!("it has the corner {index}, of {}", corners.len()));
                                face.push(*corner.ok_or_else(missing)?);
                            }
                            fan(&face, &mut triangles);
                        }
                    }
                }
            }
            if is_vertex {
                corners.push(corner);
            }
            if triangles.len() > MAX_TRIANGLES || corners.len() > 3 * MAX_TRIANGLES {
                return Err(format!("more than {MAX_TRIANGLES} triangles: reduce it"));
            }
        }
    }
    if triangles.is_empty() && !corners.is_empty() {
        return Err(format!("holds {} points and no faces: export it as a mesh", corners.len()));
    }
    Ok(triangles)
}

fn header(bytes: &[u8]) -> Result<(Coding, Vec<Element>, &[u8]), String> {
    let head = &bytes[..bytes.len().min(HEADER)];
    let mark = b"end_header";
    let end =
        head.windows(mark.len()).position(|window| window == mark).ok_or("its header has no end: it is cut off")?;
    let rest = &bytes[end + mark.len()..];
    let line_end = rest.iter().position(|&byte| byte == b'\n').ok_or("is cut off behind its header")?;
    let text = std::str::from_utf8(&head[..end]).map_err(|_| "its header is no text: it is damaged")?;
    let (mut coding, mut elements) = (None, Vec::<Element>::new());
    for line in text.lines() {
        let wrong =
            || format!("its header has the line {:?}: it is damaged", line.chars().take(80).collect::<String>());
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["format", "ascii", _] => coding = Some(Coding::Text),
            ["format", "binary_little_endian", _] => coding = Some(Coding::Little),
            ["format", "binary_big_endian", _] => coding = Some(Coding::Big),
            ["element", name, count] => {
                let count = count.parse().map_err(|_| wrong())?;
                elements.push(Element { name: name.into(), count, properties: Vec::new() });
            }
            ["property", "list", count, scalar, name] => {
                let (count, scalar) =
                    (Scalar::parse(count).ok_or_else(wrong)?, Scalar::parse(scalar).ok_or_else(wrong)?);
                let properties = &mut elements.last_mut().ok_or_else(wrong)?.properties;
                properties.push(Property { name: name.into(), count: Some(count), scalar });
            }
            ["property", scalar, name] => {
                let scalar = Scalar::parse(scalar).ok_or_else(wrong)?;
                let properties = &mut elements.last_mut().ok_or_else(wrong)?.properties;
                properties.push(Property { name: name.into(), count: None, scalar });
            }
            ["ply"] | ["comment" | "obj_info", ..] | [] => {}
            _ => return Err(wrong()),
        }
    }
    Ok((coding.ok_or("its header names no format: it is damaged")?, elements, &rest[line_end + 1..]))
}

/// The numbers behind the header.
struct Body<'a> {
    coding: Coding,
    bytes: &'a [u8],
}

impl Body<'_> {
    fn next(&mut self, scalar: Scalar) -> Result<f64, String> {
        if self.coding == Coding::Text {
            return self.word();
        }
        let (number, rest) = self.bytes.split_at_checked(scalar.size()).ok_or_else(cut_off)?;
        self.bytes = rest;
        let mut number: [u8; 8] = std::array::from_fn(|i| number.get(i).copied().unwrap_or_default());
        if self.coding == Coding::Big {
            number[..scalar.size()].reverse();
        }
        let [a, b, c, d, ..] = number;
        Ok(match scalar {
            Scalar::I8 => f64::from(a.cast_signed()),
            Scalar::U8 => f64::from(a),
            Scalar::I16 => f64::from(i16::from_le_bytes([a, b])),
            Scalar::U16 => f64::from(u16::from_le_bytes([a, b])),
            Scalar::I32 => f64::from(i32::from_le_bytes([a, b, c, d])),
            Scalar::U32 => f64::from(u32::from_le_bytes([a, b, c, d])),
            Scalar::F32 => f64::from(f32::from_le_bytes([a, b, c, d])),
            Scalar::F64 => f64::from_le_bytes(number),
        })
    }

    fn word(&mut self) -> Result<f64, String> {
        let text = self.bytes.trim_ascii_start();
        let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.bytes = rest;
        if word.is_empty() {
            return Err(cut_off());
        }
        let number = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
        number.ok_or_else(|| format!("{:?} is no number", String::from_utf8_lossy(&word[..word.len().min(40)])))
    }
}

fn cut_off() -> String {
    "the file ends there: it is cut off, or its header counts wrongly".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "element vertex 4\nproperty float x\nproperty float y\nproperty float z\nproperty uchar red\n\
        element face 1\nproperty list uchar int vertex_indices\nend_header\n";

    fn square() -> [Triangle; 2] {
        let [a, b, c, d] = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.5, 0.0], [0.0, 1.5, 0.0]];
        [[a, b, c], [a, c, d]]
    }

    fn binary(big: bool) -> Vec<u8> {
        let order = if big { "big" } else { "little" };
        let mut bytes = format!("ply\nformat binary_{order}_endian 1.0\ncomment made by hand\n{HEAD}").into_bytes();
        for [x, y] in [[0.0_f32, 0.0], [1.0, 0.0], [1.0, 1.5], [0.0, 1.5]] {
            for number in [x, y, 0.0] {
                bytes.extend(if big { number.to_be_bytes() } else { number.to_le_bytes() });
            }
            bytes.push(200);
        }
        bytes.push(4);
        bytes.extend((0..4_i32).flat_map(|i| if big { i.to_be_bytes() } else { i.to_le_bytes() }));
        bytes
    }

    fn text() -> String {
        format!("ply\nformat ascii 1.0\n{HEAD}0 0 0 1\n1 0 0 1\n1 1.5 0 1\n0 1.5 0 1\n4 0 1 2 3\n")
    }

    #[test]
    fn reads_all_three_codings() {
        assert_eq!(read(&binary(false)).unwrap(), square());
        assert_eq!(read(&binary(true)).unwrap(), square());
        assert_eq!(read(text().as_bytes()).unwrap(), square());
        assert_eq!(read(text().replace('\n', "\r\n").as_bytes()).unwrap(), square());
    }

    #[test]
    fn says_what_is_wrong() {
        let reason = |bytes: &[u8]| read(bytes).unwrap_err();
        let whole = binary(false);
        assert!(reason(&whole[..whole.len() - 1]).starts_with("face 0 of 1: the file ends there"));
        let many = text().replace("vertex 4", "vertex 4000000000");
        assert!(reason(many.as_bytes()).contains("of 4000000000: the file ends there"));
        assert_eq!(
            reason(text().replace("4 0 1 2 3", "4 0 1 2 9").as_bytes()),
            "face 0 of 1: it has the corner 9, of 4"
        );
        assert_eq!(
            reason(text().replace("4 0 1 2 3", "4 0 1 2 -1").as_bytes()),
            "face 0 of 1: it has the corner -1, of 4"
        );
        assert_eq!(reason(text().replace("1.5", "one").as_bytes()), "vertex 2 of 4: \"one\" is no number");
        assert_eq!(
            reason(text().replace("face 1", "face 0").as_bytes()),
            "holds 4 points and no faces: export it as a mesh"
        );
        assert_eq!(reason(b"ply\nformat ascii 1.0\n"), "its header has no end: it is cut off");
        assert!(reason(text().replace("float x", "half x").as_bytes()).starts_with("its header has the line"));
    }
}
