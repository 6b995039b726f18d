//! Reads 3MF files: the objects that are built, each as often as it stands on the plate, in millimeters.
//!
//! A 3MF file is a ZIP archive of XML. Both can be made to unpack or repeat without end, so that all of it is counted;
//! what is too much is an error, and nothing is left out.

use std::collections::HashMap;
use std::io::{Cursor, Read};

use quick_xml::events::{BytesStart, Event};
use zip::ZipArchive;

use crate::mesh::transform::Transform;
use crate::mesh::{MAX_TRIANGLES, Triangle};

/// The most unpacked bytes of one part, and of all.
const PART: u64 = 64 << 20;
const PARTS: u64 = 256 << 20;
/// The most unpacked bytes for each packed one; fewer bytes than these are not counted.
const RATIO: u64 = 100;
const SMALL: u64 = 1 << 20;
/// The most objects within objects, and objects that are placed, in all.
const DEPTH: usize = 16;
const INSTANCES: usize = 100_000;
/// The most parts of an archive.
const ENTRIES: usize = 10_000;

/// The type of the relation that names the part with the objects that are built.
const MODEL: &str = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel";
/// Where that part is if no relation names it.
const USUAL: &str = "3D/3dmodel.model";

/// Returns whether it is a ZIP archive that holds a model.
pub(super) fn is_3mf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
        && ZipArchive::new(Cursor::new(bytes))
            .is_ok_and(|archive| archive.file_names().any(|name| name.is_ok_and(|name| name.ends_with(".model"))))
}

/// Reads the triangles of all objects that are built.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Triangle>, String> {
    let archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| format!("is no ZIP archive ({error})"))?;
    if archive.len() > ENTRIES {
        return Err(format!("holds {} parts: {ENTRIES} are the most", archive.len()));
    }
    let mut package = Package { archive, unpacked: 0 };
    let root = match package.part("_rels/.rels")? {
        Some(relations) => target(&relations)?,
        None => None,
    };
    let root = root.unwrap_or_else(|| USUAL.to_owned());
    let mut build = Build { package, models: HashMap::new(), instances: 0, triangles: Vec::new() };
    build.load(&root)?;
    let placed = build.models[&root].items.clone();
    for item in &placed {
        build.place(&root, item, &Transform::IDENTITY, 0)?;
    }
    if build.triangles.is_empty() {
        return Err("builds no object with triangles: put one on the plate and save it again".into());
    }
    Ok(build.triangles)
}

struct Package<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    unpacked: u64,
}

impl Package<'_> {
    /// Unpacks a part, if there is one of that name.
    fn part(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let Ok(file) = self.archive.by_name(name) else { return Ok(None) };
        let packed = file.compressed_size();
        let most = PART.min(PARTS - self.unpacked).min((packed * RATIO).max(SMALL));
        let mut bytes = Vec::new();
        // The size that it says it has need not be true.
        file.take(most + 1).read_to_end(&mut bytes).map_err(|error| format!("its part {name} is damaged ({error})"))?;
        if bytes.len() as u64 > most {
            return Err(format!(
                "its part {name} unpacks to more than {} MiB or {RATIO} times its size: reduce the mesh",
                PART >> 20
            ));
        }
        self.unpacked += bytes.len() as u64;
        Ok(Some(bytes))
    }
}

/// Returns the part that a part of relations names as the model.
fn target(relations: &[u8]) -> Result<Option<String>, String> {
    let mut found = None;
    each_element(relations, |tag| {
        if tag.local_name().as_ref() == "Relationship" && attribute(tag, "Type").is_some_and(|kind| kind == MODEL) {
            found = attribute(tag, "Target").map(|target| part_name(&target));
        }
        Ok(())
    })?;
    Ok(found)
}

/// Returns the name of a part in the archive, without the leading slash of its path.
fn part_name(path: &str) -> String {
    path.trim_start_matches('/').to_owned()
}

/// An object, by its number in its part, at a place.
#[derive(Clone)]
struct Placed {
    part: Option<String>,
    object: u32,
    transform: Transform,
}

#[derive(Default)]
struct Object {
    triangles: Vec<Triangle>,
    components: Vec<Placed>,
}

/// What a part holds.
#[derive(Default)]
struct Model {
    /// Millimeters of its unit.
    unit: f64,
    objects: HashMap<u32, Object>,
    items: Vec<Placed>,
}

struct Build<'a> {
    package: Package<'a>,
    models: HashMap<String, Model>,
    instances: usize,
    triangles: Vec<Triangle>,
}

impl Build<'_> {
    fn load(&mut self, part: &str) -> Result<(), String> {
        if !self.models.contains_key(part) {
            let bytes = self.package.part(part)?.ok_or_else(|| format!("its part {part} is missing"))?;
            self.models.insert(part.to_owned(), parse(&bytes).map_err(|reason| format!("its part {part} {reason}"))?);
        }
        Ok(())
    }

    fn place(&mut self, part: &str, placed: &Placed, around: &Transform, depth: usize) -> Result<(), String> {
        self.instances += 1;
        if depth > DEPTH {
            return Err(format!("has objects within themselves, or more than {DEPTH} within each other"));
        }
        if self.instances > INSTANCES {
            return Err(format!("places more than {INSTANCES} objects: save fewer copies"));
        }
        let part = placed.part.as_deref().unwrap_or(part).to_owned();
        self.load(&part)?;
        let model = &self.models[&part];
        let object = model
            .objects
            .get(&placed.object)
            .ok_or_else(|| format!("places object {}, which it lacks", placed.object))?;
        let transform = around.times(&placed.transform);
        if self.triangles.len() + object.triangles.len() > MAX_TRIANGLES {
            return Err(format!("more than {MAX_TRIANGLES} triangles with all copies: save fewer copies"));
        }
        let scaled = Transform::scaled(model.unit).times(&transform);
        self.triangles.extend(object.triangles.iter().map(|triangle| {
            let [a, b, c] = triangle.map(|corner| scaled.apply(corner));
            if scaled.mirrors() { [a, c, b] } else { [a, b, c] }
        }));
        for component in object.components.clone() {
            self.place(&part, &component, &transform, depth + 1)?;
        }
        Ok(())
    }
}

/// Reads a part with objects.
fn parse(bytes: &[u8]) -> Result<Model, String> {
    let mut model = Model { unit: 1.0, ..Model::default() };
    let mut current: Option<u32> = None;
    let mut corners: Vec<[f32; 3]> = Vec::new();
    each_element(bytes, |tag| {
        let name = tag.local_name();
        let at = |reason: String| format!("has a {} {reason}", name.as_ref());
        let needed = |key: &str| -> Result<f64, String> {
            let value = attribute(tag, key).ok_or_else(|| at(format!("without {key}")))?;
            let shown = || at(format!("whose {key} is {:?}", value.chars().take(40).collect::<String>()));
            value.trim().parse().map_err(|_| shown())
        };
        match name.as_ref() {
            "model" => {
                model.unit = match attribute(tag, "unit").as_deref() {
                    None | Some("millimeter") => 1.0,
                    Some("micron") => 0.001,
                    Some("centimeter") => 10.0,
                    Some("meter") => 1000.0,
                    Some("inch") => 25.4,
                    Some("foot") => 304.8,
                    Some(unit) => return Err(at(format!("in the unit {unit:?}"))),
                };
            }
            "object" => {
                let id = needed("id")? as u32;
                current = Some(id);
                corners.clear();
                model.objects.insert(id, Object::default());
            }
            "vertex" => corners.push([needed("x")? as f32, needed("y")? as f32, needed("z")? as f32]),
            "triangle" => {
                let object =
                    current.and_then(|id| model.objects.get_mut(&id)).ok_or_else(|| at("outside an object".into()))?;
                let corner = |key: &str| {
                    let place = needed(key)?;
                    let corner = (place >= 0.0).then(|| corners.get(place as usize)).flatten();
                    corner.copied().ok_or_else(|| at(format!("with the corner {place}, of {}", corners.len())))
                };
                object.triangles.push([corner("v1")?, corner("v2")?, corner("v3")?]);
            }
            "component" | "item" => {
                let transform = match attribute(tag, "transform") {
                    Some(numbers) => {
                        transform(&numbers).ok_or_else(|| at("whose transform is not 12 numbers".into()))?
                    }
                    None => Transform::IDENTITY,
                };
                let part = attribute(tag, "path").map(|path| part_name(&path));
                let placed = Placed { part, object: needed("objectid")? as u32, transform };
                if name.as_ref() == "item" {
                    model.items.push(placed);
                } else {
                    let object = current.and_then(|id| model.objects.get_mut(&id));
                    object.ok_or_else(|| at("outside an object".into()))?.components.push(placed);
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(model)
}

/// Calls `told` with each element as it begins.
fn each_element(bytes: &[u8], mut told: impl FnMut(&BytesStart<'_>) -> Result<(), String>) -> Result<(), String> {
    let mut reader = quick_xml::Reader::from_reader(bytes);
    loop {
        match reader.read_event().map_err(|error| format!("is no XML ({error})"))? {
            Event::Start(tag) | Event::Empty(tag) => told(&tag)?,
            Event::DocType(_) => return Err("has a document type, which 3MF forbids: save it again".into()),
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

/// Returns the value of an attribute by its name without a prefix.
fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = tag.attributes().flatten().find(|attribute| attribute.key.local_name().as_ref() == name)?;
    Some(attribute.value.into_owned())
}

/// Reads a transform: the columns of a map, then where the origin goes.
fn transform(text: &str) -> Option<Transform> {
    let numbers: Option<Vec<f64>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
    let m: [f64; 12] = numbers?.try_into().ok()?;
    Some(Transform::rows([0, 1, 2].map(|row| [m[row], m[3 + row], m[6 + row], m[9 + row]])))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::write::{SimpleFileOptions, ZipWriter};

    use super::*;

    fn archive(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in parts {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    const MESH: &str = r#"<mesh><vertices><vertex x="0" y="0" z="0"/><vertex x="1" y="0" z="0"/><vertex x="0" y="1" z="0"/>
        </vertices><triangles><triangle v1="0" v2="1" v3="2"/></triangles></mesh>"#;

    fn model(unit: &str, objects: &str, items: &str) -> String {
        format!(
            r#"<?xml version="1.0"?><model unit="{unit}" xmlns:p="production"><resources>{objects}</resources><build>{items}</build></model>"#
        )
    }

    fn triangles(model: &str) -> Result<Vec<Triangle>, String> {
        read(&archive(&[(USUAL, model.as_bytes())]))
    }

    #[test]
    fn places_objects_as_often_as_they_are_built() {
        let objects = format!(
            r#"<object id="1">{MESH}</object><object id="2"><components><component objectid="1" transform="1 0 0 0 1 0 0 0 1 0 0 2"/></components></object>"#
        );
        let items = r#"<item objectid="1"/><item objectid="2" transform="2 0 0 0 2 0 0 0 2 10 0 0"/>"#;
        let found = triangles(&model("centimeter", &objects, items)).unwrap();
        assert_eq!(found[0], [[0.0, 0.0, 0.0], [10.0, 0.0, 0.0], [0.0, 10.0, 0.0]]);
        assert_eq!(found[1], [[100.0, 0.0, 40.0], [120.0, 0.0, 40.0], [100.0, 20.0, 40.0]]);
        let mirrored = r#"<item objectid="1" transform="-1 0 0 0 1 0 0 0 1 0 0 0"/>"#;
        let found = triangles(&model("millimeter", &objects, mirrored)).unwrap();
        assert_eq!(found, [[[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]]);
    }

    #[test]
    fn objects_may_be_in_other_parts() {
        let there = model("inch", &format!(r#"<object id="7">{MESH}</object>"#), "");
        let here = model("millimeter", "", r#"<item objectid="7" p:path="/3D/Objects/a.model"/>"#);
        let relations =
            format!(r#"<Relationships><Relationship Target="/3D/plate.model" Type="{}"/></Relationships>"#, MODEL);
        let parts = [
            ("_rels/.rels", relations.as_bytes()),
            ("3D/plate.model", here.as_bytes()),
            ("3D/Objects/a.model", there.as_bytes()),
        ];
        let bytes = archive(&parts);
        assert!(is_3mf(&bytes));
        assert_eq!(read(&bytes).unwrap()[0][1], [25.4, 0.0, 0.0]);
        assert_eq!(read(&archive(&parts[..2])).unwrap_err(), "its part 3D/Objects/a.model is missing");
    }

    #[test]
    fn what_has_no_end_is_refused() {
        let circle = r#"<object id="1"><components><component objectid="1"/></components></object>"#;
        let reason = triangles(&model("millimeter", circle, r#"<item objectid="1"/>"#)).unwrap_err();
        assert!(reason.starts_with("has objects within themselves"), "{reason}");
        // 10^7 copies by seven levels of ten.
        let mut objects = format!(r#"<object id="0">{MESH}</object>"#);
        for level in 1..=7 {
            let ten = format!(r#"<component objectid="{}"/>"#, level - 1).repeat(10);
            objects += &format!(r#"<object id="{level}"><components>{ten}</components></object>"#);
        }
        let reason = triangles(&model("millimeter", &objects, r#"<item objectid="7"/>"#)).unwrap_err();
        assert!(reason.starts_with("places more than 100000 objects"), "{reason}");
        let spaces = vec![b' '; 20 << 20];
        let reason = read(&archive(&[(USUAL, &spaces)])).unwrap_err();
        assert!(reason.contains("unpacks to more than"), "{reason}");
        let bomb = r#"<!DOCTYPE x [<!ENTITY a "aaaa">]>"#.to_owned() + &model("millimeter", "", "");
        assert!(triangles(&bomb).unwrap_err().contains("has a document type"));
    }

    #[test]
    fn says_what_is_wrong() {
        let with = |mesh: &str| {
            triangles(&model("millimeter", &format!(r#"<object id="1">{mesh}</object>"#), r#"<item objectid="1"/>"#))
                .unwrap_err()
        };
        assert_eq!(
            with(&MESH.replace(r#"v3="2""#, r#"v3="3""#)),
            "its part 3D/3dmodel.model has a triangle with the corner 3, of 3"
        );
        assert_eq!(with(&MESH.replace(r#"v3="2""#, "")), "its part 3D/3dmodel.model has a triangle without v3");
        assert_eq!(
            with(&MESH.replace(r#"x="1""#, r#"x="one""#)),
            "its part 3D/3dmodel.model has a vertex whose x is \"one\""
        );
        assert!(with("<mesh></object>").contains("is no XML"));
        let empty = triangles(&model("millimeter", "", "")).unwrap_err();
        assert!(empty.starts_with("builds no object with triangles"), "{empty}");
        let missing = triangles(&model("millimeter", "", r#"<item objectid="4"/>"#)).unwrap_err();
        assert_eq!(missing, "places object 4, which it lacks");
        assert!(triangles(&model("furlong", "", "")).unwrap_err().contains("in the unit \"furlong\""));
        assert_eq!(read(&archive(&[("a.txt", b"x")])).unwrap_err(), "its part 3D/3dmodel.model is missing");
    }
}
