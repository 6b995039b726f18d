//! Reads GLB files, the binary form of glTF 2.0: the triangles of the scene, from the embedded buffer alone.
//!
//! The vertical axis of glTF is y; the triangles are turned so that it is z.

use serde::Deserialize;

use crate::mesh::transform::Transform;
use crate::mesh::{MAX_TRIANGLES, Triangle};

/// The most nodes within nodes, and in all.
const DEPTH: usize = 64;
const NODES: usize = 100_000;

/// Returns whether it begins as a GLB file does.
pub(super) fn is_glb(bytes: &[u8]) -> bool {
    bytes.starts_with(b"glTF")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Root {
    scene: Option<usize>,
    scenes: Vec<Scene>,
    nodes: Vec<Node>,
    meshes: Vec<Meshes>,
    accessors: Vec<Accessor>,
    buffer_views: Vec<BufferView>,
    buffers: Vec<Buffer>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Scene {
    nodes: Vec<usize>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Node {
    children: Vec<usize>,
    mesh: Option<usize>,
    matrix: Option<[f64; 16]>,
    translation: Option<[f64; 3]>,
    rotation: Option<[f64; 4]>,
    scale: Option<[f64; 3]>,
}

#[derive(Deserialize)]
struct Meshes {
    primitives: Vec<Primitive>,
}

#[derive(Deserialize)]
struct Primitive {
    #[serde(default)]
    attributes: Attributes,
    indices: Option<usize>,
    mode: Option<u32>,
    #[serde(default)]
    extensions: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize, Default)]
struct Attributes {
    #[serde(rename = "POSITION")]
    position: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Accessor {
    buffer_view: Option<usize>,
    #[serde(default)]
    byte_offset: usize,
    component_type: u32,
    count: usize,
    #[serde(rename = "type")]
    shape: String,
    sparse: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BufferView {
    buffer: usize,
    #[serde(default)]
    byte_offset: usize,
    byte_length: usize,
    byte_stride: Option<usize>,
}

#[derive(Deserialize)]
struct Buffer {
    uri: Option<String>,
}

/// Reads the triangles of a GLB file.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Triangle>, String> {
    let word = |at: usize| bytes.get(at..at + 4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    let (Some(version), Some(length)) = (word(4), word(8)) else { return Err("is cut off in its header".into()) };
    if version != 2 {
        return Err(format!("is glTF {version}: save it as glTF 2.0"));
    }
    if length as usize > bytes.len() {
        return Err(format!("is cut off: it needs {length} bytes, but it has {}", bytes.len()));
    }
    let (mut json, mut binary, mut at) = (None, None, 12);
    while let (Some(size), Some(kind)) = (word(at), word(at + 4)) {
        let chunk =
            bytes.get(at + 8..at + 8 + size as usize).ok_or("a chunk is longer than the file: it is cut off")?;
        match &kind.to_le_bytes() {
            b"JSON" => json = json.or(Some(chunk)),
            b"BIN\0" => binary = binary.or(Some(chunk)),
            _ => {}
        }
        at += 8 + size as usize;
    }
    let root: Root = serde_json::from_slice(json.ok_or("has no JSON chunk: it is damaged")?)
        .map_err(|error| format!("its JSON chunk cannot be read ({error}): export it again"))?;
    let mut walk =
        Walk { file: File { root: &root, binary: binary.unwrap_or_default() }, nodes: 0, triangles: Vec::new() };
    walk.scene()?;
    Ok(walk.triangles)
}

struct Walk<'a> {
    file: File<'a>,
    nodes: usize,
    triangles: Vec<Triangle>,
}

impl Walk<'_> {
    fn scene(&mut self) -> Result<(), String> {
        let root = self.file.root;
        let upright = Transform::rows([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, 0.0]]);
        match root.scenes.get(root.scene.unwrap_or(0)) {
            Some(scene) => scene.nodes.iter().try_for_each(|node| self.node(*node, &upright, 0)),
            // A file without scenes is a library of meshes.
            None => root.meshes.iter().try_for_each(|mesh| self.mesh(mesh, &upright)),
        }
    }

    fn node(&mut self, number: usize, parent: &Transform, depth: usize) -> Result<(), String> {
        self.nodes += 1;
        if depth > DEPTH || self.nodes > NODES {
            return Err(format!("has more than {DEPTH} nodes within each other, or {NODES} in all: it is damaged"));
        }
        let root = self.file.root;
        let node = root.nodes.get(number).ok_or_else(|| format!("names node {number} of {}", root.nodes.len()))?;
        let placed = parent.times(&local(node));
        if let Some(mesh) = node.mesh {
            let mesh = root.meshes.get(mesh).ok_or_else(|| format!("names mesh {mesh} of {}", root.meshes.len()))?;
            self.mesh(mesh, &placed)?;
        }
        node.children.iter().try_for_each(|child| self.node(*child, &placed, depth + 1))
    }

    fn mesh(&mut self, mesh: &Meshes, placed: &Transform) -> Result<(), String> {
        for primitive in &mesh.primitives {
            if let Some(name) = primitive.extensions.keys().find(|name| name.contains("compression")) {
                return Err(format!("its triangles are compressed ({name}): export it without compression"));
            }
            // 0 to 3 are points and lines.
            let mode = primitive.mode.unwrap_or(4);
            let Some(position) = primitive.attributes.position.filter(|_| mode >= 4) else { continue };
            let corners: Vec<[f32; 3]> = self.file.positions(position)?.into_iter().map(|p| placed.apply(p)).collect();
            let order = match primitive.indices {
                Some(indices) => self.file.indices(indices)?,
                None => (0..corners.len()).collect(),
            };
            let corner =
                |i: usize| corners.get(i).copied().ok_or_else(|| format!("names corner {i} of {}", corners.len()));
            let count = if mode == 4 { order.len() / 3 } else { order.len().saturating_sub(2) };
            if self.triangles.len() + count > MAX_TRIANGLES {
                return Err(format!("more than {MAX_TRIANGLES} triangles: reduce it"));
            }
            for i in 0..count {
                let [a, b, c] = match mode {
                    4 => [3 * i, 3 * i + 1, 3 * i + 2],
                    5 if i % 2 == 0 => [i, i + 1, i + 2],
                    5 => [i + 1, i, i + 2],
                    _ => [0, i + 1, i + 2],
                };
                self.triangles.push([corner(order[a])?, corner(order[b])?, corner(order[c])?]);
            }
        }
        Ok(())
    }
}

fn local(node: &Node) -> Transform {
    if let Some(m) = node.matrix {
        return Transform::rows([0, 1, 2].map(|row| [0, 1, 2, 3].map(|column| m[4 * column + row])));
    }
    let [x, y, z, w] = node.rotation.unwrap_or([0.0, 0.0, 0.0, 1.0]);
    let (scale, at) = (node.scale.unwrap_or([1.0; 3]), node.translation.unwrap_or_default());
    let turn = [
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w)],
        [2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)],
        [2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y)],
    ];
    Transform::rows([0, 1, 2].map(|row| {
        let [a, b, c] = turn[row];
        [a * scale[0], b * scale[1], c * scale[2], at[row]]
    }))
}

struct File<'a> {
    root: &'a Root,
    binary: &'a [u8],
}

impl<'a> File<'a> {
    /// Returns the bytes of each element of an accessor, of so many bytes.
    fn elements(&self, accessor: &Accessor, size: usize) -> Result<Vec<&'a [u8]>, String> {
        if accessor.sparse.is_some() {
            return Err("has sparse numbers, which are not read: export it again without them".into());
        }
        let damaged = || "names bytes that it does not have: it is damaged".to_owned();
        let view = accessor.buffer_view.and_then(|view| self.root.buffer_views.get(view)).ok_or_else(damaged)?;
        let buffer = self.root.buffers.get(view.buffer).ok_or_else(damaged)?;
        if buffer.uri.is_some() || view.buffer != 0 {
            return Err("its triangles are in another file, which is not opened: save it as one GLB file".into());
        }
        let end = view.byte_offset.checked_add(view.byte_length).ok_or_else(damaged)?;
        let bytes = self.binary.get(view.byte_offset..end).ok_or_else(damaged)?;
        let stride = view.byte_stride.unwrap_or(size);
        if stride < size || accessor.count > bytes.len() {
            return Err(damaged());
        }
        let element = |i: usize| {
            let start = i.checked_mul(stride)?.checked_add(accessor.byte_offset)?;
            bytes.get(start..start.checked_add(size)?)
        };
        (0..accessor.count).map(|i| element(i).ok_or_else(damaged)).collect()
    }

    fn accessor(&self, number: usize) -> Result<&'a Accessor, String> {
        self.root
            .accessors
            .get(number)
            .ok_or_else(|| format!("names accessor {number} of {}", self.root.accessors.len()))
    }

    fn positions(&self, number: usize) -> Result<Vec<[f32; 3]>, String> {
        let accessor = self.accessor(number)?;
        if (accessor.component_type, accessor.shape.as_str()) != (5126, "VEC3") {
            return Err("its corners are not 32-bit floats: export it without quantization".into());
        }
        let number = |b: &[u8], i: usize| f32::from_le_bytes([b[4 * i], b[4 * i + 1], b[4 * i + 2], b[4 * i + 3]]);
        Ok(self.elements(accessor, 12)?.into_iter().map(|bytes| [0, 1, 2].map(|axis| number(bytes, axis))).collect())
    }

    fn indices(&self, number: usize) -> Result<Vec<usize>, String> {
        let accessor = self.accessor(number)?;
        let size = match accessor.component_type {
            5121 => 1,
            5123 => 2,
            5125 => 4,
            other => return Err(format!("its corners have numbers of type {other}: export it again")),
        };
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte));
        Ok(self.elements(accessor, size)?.into_iter().map(number).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A triangle whose corners and their numbers are in one buffer.
    fn file(change: impl Fn(String) -> String) -> Vec<u8> {
        let mut binary: Vec<u8> =
            [0.0_f32, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 2.0, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        binary.extend([0, 0, 1, 0, 2, 0, 0, 0]);
        let mut json = change(
            r#"{"asset":{"version":"2.0"},"scene":0,"scenes":[{"nodes":[0]}],"nodes":[{"children":[1],"translation":[0,0,5]},
            {"mesh":0,"scale":[2,2,2]}],"meshes":[{"primitives":[{"attributes":{"POSITION":0},"indices":1}]}],
            "accessors":[{"bufferView":0,"componentType":5126,"count":3,"type":"VEC3"},
            {"bufferView":1,"componentType":5123,"count":3,"type":"SCALAR"}],
            "bufferViews":[{"buffer":0,"byteLength":36},{"buffer":0,"byteOffset":36,"byteLength":6}],
            "buffers":[{"byteLength":44}]}"#
                .into(),
        )
        .into_bytes();
        json.resize(json.len().next_multiple_of(4), b' ');
        let mut bytes = b"glTF\x02\0\0\0".to_vec();
        bytes.extend((28 + json.len() as u32 + binary.len() as u32).to_le_bytes());
        for (kind, chunk) in [(b"JSON", &json), (b"BIN\0", &binary)] {
            bytes.extend((chunk.len() as u32).to_le_bytes());
            bytes.extend(kind);
            bytes.extend(chunk);
        }
        bytes
    }

    #[test]
    fn nodes_place_triangles_and_z_is_up() {
        let bytes = file(|json| json);
        assert!(is_glb(&bytes));
        assert_eq!(read(&bytes).unwrap(), [[[0.0, -5.0, 0.0], [2.0, -5.0, 0.0], [0.0, -5.0, 4.0]]]);
    }

    #[test]
    fn says_what_is_wrong() {
        let with = |from: &str, to: &str| read(&file(|json| json.replace(from, to))).unwrap_err();
        assert!(
            with(r#""byteLength":44"#, r#""uri":"/etc/passwd","byteLength":44"#)
                .starts_with("its triangles are in another")
        );
        assert!(with(r#""children":[1]"#, r#""children":[0]"#).contains("nodes within each other"));
        assert!(with(r#""count":3,"type":"VEC3""#, r#""count":4000000000,"type":"VEC3""#).contains("does not have"));
        assert!(with(r#""byteOffset":36"#, r#""byteOffset":18446744073709551615"#).contains("does not have"));
        assert!(with(r#""count":3,"type":"VEC3""#, r#""count":2,"type":"VEC3""#).contains("names corner 2 of 2"));
        assert!(with(r#""indices":1"#, r#""indices":7"#).contains("names accessor 7 of 2"));
        assert!(with(r#""scene":0"#, r#""scene":"#).starts_with("its JSON chunk cannot be read"));
        let draco = r#""indices":1,"extensions":{"KHR_draco_mesh_compression":{}}"#;
        assert!(with(r#""indices":1"#, draco).starts_with("its triangles are compressed"));
        let whole = file(|json| json);
        assert!(read(&whole[..whole.len() - 4]).unwrap_err().starts_with("is cut off: it needs"));
        assert!(read(&whole[..9]).unwrap_err().starts_with("is cut off in its header"));
    }
}
