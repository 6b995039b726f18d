//! Builds closed, rounded surfaces of triangles, such as the components of a plush toy.

use crate::render::math::{Basis, V3, sin_cos, v3};
use crate::render::noise::{lattice, noise, unit_of};

/// A vertex of the triangles.
#[derive(Clone, Copy, Debug)]
pub struct Vertex {
    /// Position in the scene.
    pub position: V3,
    /// Unit normal, outwards.
    pub normal: V3,
    /// Position on the component's own unit sphere, for patterns.
    pub local: V3,
}

/// A component of a surface: a range of triangles of one material, and the ellipsoid that replaces it in shadows.
#[derive(Clone, Debug)]
pub struct Component {
    /// Index into the scene's materials.
    pub material: u16,
    /// First vertex and one past the last.
    pub vertices: (usize, usize),
    /// First triangle and one past the last.
    pub triangles: (usize, usize),
    /// Whether it belongs to the head, for the box of a head-only view.
    pub head: bool,
    /// Whether it is part of the subject, not of the clutter.
    pub subject: bool,
    /// Center of the ellipsoid.
    pub center: V3,
    /// Axes of the ellipsoid, unit vectors.
    pub axes: Basis,
    /// Half-lengths of the axes.
    pub radii: V3,
    /// Whether it casts shadows.
    pub shades: bool,
}

/// The deformation of an ellipsoid; all zero for none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bend {
    /// Widens towards +y (negative: towards -y).
    pub taper: f32,
    /// Moves both y ends towards +z.
    pub curl: f32,
    /// Moves both y ends towards +x.
    pub sway: f32,
    /// From ellipsoid (0) to rounded box (1).
    pub boxy: f32,
    /// Height of bumps, relative to the radius.
    pub lumps: f32,
    /// Bumps per unit sphere radius.
    pub grain: f32,
    /// Sharpens the +y end (0 none, 1 a cone).
    pub point: f32,
}

/// The settings of a component.
#[derive(Clone, Copy, Debug)]
pub struct ComponentOptions {
    /// Index into the scene's materials.
    pub material: u16,
    /// Rings of triangles from pole to pole.
    pub detail: usize,
    /// Whether it belongs to the head.
    pub head: bool,
    /// Seed of its bumps.
    pub seed: u32,
}

/// Triangles and their components, built step by step.
#[derive(Clone, Debug, Default)]
pub struct Surface {
    /// The vertices.
    pub vertices: Vec<Vertex>,
    /// Vertices of each triangle, counter-clockwise from outside.
    pub triangles: Vec<[u32; 3]>,
    /// The components, in the order in which they were added.
    pub components: Vec<Component>,
    /// Whether components added from now on belong to the subject.
    pub subject: bool,
}

impl Surface {
    /// Adds an ellipsoid at `center`, deformed by `bend`, with its axes turned by `axes`.
    pub fn ellipsoid(&mut self, options: ComponentOptions, center: V3, axes: Basis, radii: V3, bend: Bend) {
        let rings = options.detail.max(4);
        let around = rings + rings / 2;
        let circle: Vec<(f32, f32)> = (0..around).map(|i| sin_cos(360.0 * i as f32 / around as f32)).collect();
        let heights: Vec<(f32, f32)> = (0..=rings).map(|i| sin_cos(180.0 * i as f32 / rings as f32)).collect();
        self.grid(options, rings, around, (center, axes, radii), |i, j| {
            let (s, c) = heights[i];
            let local = v3(circle[j].0 * s, c, circle[j].1 * s);
            (axes.apply(bent(local, bend, options.seed).scale(radii)) + center, local)
        });
    }

    /// Adds a sausage along a path: `radius(t)` around `path(t)` for t from 0 to 1, `flat` times as thick as wide.
    pub fn tube(
        &mut self,
        options: ComponentOptions,
        flat: f32,
        path: impl Fn(f32) -> V3,
        radius: impl Fn(f32) -> f32,
    ) {
        let rings = options.detail.max(4);
        let around = (rings * 3 / 4).max(6);
        let circle: Vec<(f32, f32)> = (0..around).map(|i| sin_cos(360.0 * i as f32 / around as f32)).collect();
        let (start, middle, end) = (path(0.0), path(0.5), path(1.0));
        let (r0, r1) = (radius(0.15), radius(0.85));
        let axes = Basis::along(end - start);
        let sag = (middle - (start + end) * 0.5).length();
        let wide = 0.5 * (r0 + r1) + 0.5 * sag;
        let center = (start + end) * 0.25 + middle * 0.5;
        let proxy = (center, axes, v3(wide, 0.5 * (end - start).length(), wide * flat));
        let frames: Vec<(V3, Basis, f32)> = (0..=rings)
            .map(|i| {
                // Rings are denser at the two rounded ends.
                let (_, c) = sin_cos(180.0 * i as f32 / rings as f32);
                let t = 0.5 - 0.5 * c;
                let h = 1.0 / 64.0;
                let ahead = path((t + h).min(1.0)) - path((t - h).max(0.0));
                (path(t), Basis::along(ahead), radius(t))
            })
            .collect();
        self.grid(options, rings, around, proxy, |i, j| {
            let (at, frame, r) = frames[i];
            let (s, c) = circle[j];
            let y = 1.0 - 2.0 * i as f32 / rings as f32;
            let local = v3(s, -y, c);
            (at + frame.x * (s * r) + frame.z * (c * r * flat), local)
        });
    }

    /// Adds a torus in the plane of `axes.x` and `axes.z`; `shape(degrees)` gives its radius, height and thickness.
    pub fn ring(&mut self, options: ComponentOptions, center: V3, axes: Basis, shape: impl Fn(f32) -> (f32, f32, f32)) {
        let around = options.detail.max(8) * 2;
        let across = (options.detail / 2).max(5);
        let (first, first_triangle) = (self.vertices.len(), self.triangles.len());
        let mut wide = 0.0f32;
        for i in 0..around {
            let angle = 360.0 * i as f32 / around as f32;
            let (s, c) = sin_cos(angle);
            let (radius, height, thick) = shape(angle);
            wide = wide.max(radius);
            for j in 0..across {
                let (ts, tc) = sin_cos(360.0 * j as f32 / across as f32);
                let out = radius + thick * tc;
                let local = v3(s, ts, c);
                let position = center + axes.apply(v3(out * s, height + thick * ts, out * c));
                self.vertices.push(Vertex { position, normal: V3::default(), local });
            }
        }
        for i in 0..around {
            for j in 0..across {
                let at = |i: usize, j: usize| (first + (i % around) * across + j % across) as u32;
                self.triangles.push([at(i, j), at(i + 1, j), at(i + 1, j + 1)]);
                self.triangles.push([at(i, j), at(i + 1, j + 1), at(i, j + 1)]);
            }
        }
        let radii = v3(wide, shape(0.0).2, wide);
        self.finish(options, (first, first_triangle), (center, axes, radii), false);
    }

    /// Adds a grid of vertices from pole to pole, closed around.
    fn grid(
        &mut self,
        options: ComponentOptions,
        rings: usize,
        around: usize,
        proxy: (V3, Basis, V3),
        point: impl Fn(usize, usize) -> (V3, V3),
    ) {
        let (first, first_triangle) = (self.vertices.len(), self.triangles.len());
        let mut push = |(position, local): (V3, V3)| {
            self.vertices.push(Vertex { position, normal: V3::default(), local });
        };
        push(point(0, 0));
        for i in 1..rings {
            for j in 0..around {
                push(point(i, j));
            }
        }
        push(point(rings, 0));
        let at = |i: usize, j: usize| {
            if i == 0 {
                first as u32
            } else if i == rings {
                (first + 1 + (rings - 1) * around) as u32
            } else {
                (first + 1 + (i - 1) * around + j % around) as u32
            }
        };
        for i in 0..rings {
            for j in 0..around {
                if i + 1 < rings {
                    self.triangles.push([at(i, j), at(i + 1, j), at(i + 1, j + 1)]);
                }
                if i > 0 {
                    self.triangles.push([at(i, j), at(i + 1, j + 1), at(i, j + 1)]);
                }
            }
        }
        self.finish(options, (first, first_triangle), proxy, true);
    }

    /// Computes normals, orients triangles outwards, and records the component.
    fn finish(
        &mut self,
        options: ComponentOptions,
        (first, first_triangle): (usize, usize),
        proxy: (V3, Basis, V3),
        shades: bool,
    ) {
        let mut sum = 0.0f32;
        for triangle in &self.triangles[first_triangle..] {
            let [a, b, c] = triangle.map(|i| self.vertices[i as usize].position - proxy.0);
            sum += a.dot(b.cross(c));
        }
        if sum < 0.0 {
            for triangle in &mut self.triangles[first_triangle..] {
                triangle.swap(1, 2);
            }
        }
        for triangle in &self.triangles[first_triangle..] {
            let [a, b, c] = triangle.map(|i| self.vertices[i as usize].position);
            let normal = (b - a).cross(c - a);
            for &i in triangle {
                let vertex = &mut self.vertices[i as usize];
                vertex.normal = vertex.normal + normal;
            }
        }
        for vertex in &mut self.vertices[first..] {
            vertex.normal = vertex.normal.unit();
        }
        self.components.push(Component {
            material: options.material,
            vertices: (first, self.vertices.len()),
            triangles: (first_triangle, self.triangles.len()),
            head: options.head,
            subject: self.subject,
            center: proxy.0,
            axes: proxy.1,
            radii: proxy.2,
            shades,
        });
    }

    /// Returns the lowest and the highest corner of the subject's bounding box.
    pub fn bounds(&self) -> (V3, V3) {
        let mut low = V3::splat(f32::MAX);
        let mut high = V3::splat(f32::MIN);
        for component in self.components.iter().filter(|component| component.subject) {
            for vertex in &self.vertices[component.vertices.0..component.vertices.1] {
                let p = vertex.position;
                low = v3(low.x.min(p.x), low.y.min(p.y), low.z.min(p.z));
                high = v3(high.x.max(p.x), high.y.max(p.y), high.z.max(p.z));
            }
        }
        (low, high)
    }

    /// Turns everything about the origin.
    pub fn turn(&mut self, by: Basis) {
        for vertex in &mut self.vertices {
            vertex.position = by.apply(vertex.position);
            vertex.normal = by.apply(vertex.normal);
        }
        for component in &mut self.components {
            component.center = by.apply(component.center);
            component.axes = by.times(component.axes);
        }
    }

    /// Moves everything.
    pub fn shift(&mut self, by: V3) {
        for vertex in &mut self.vertices {
            vertex.position = vertex.position + by;
        }
        for component in &mut self.components {
            component.center = component.center + by;
        }
    }
}

/// Returns a point of the unit sphere after deformation.
fn bent(local: V3, bend: Bend, seed: u32) -> V3 {
    let mut p = local;
    if bend.boxy > 0.0 {
        let (a, b, c) = (p.x * p.x, p.y * p.y, p.z * p.z);
        let norm = (a * a + b * b + c * c).sqrt().sqrt();
        p = p * (1.0 + bend.boxy * (1.0 / norm - 1.0));
    }
    if bend.lumps > 0.0 {
        let offset = unit_of(lattice(1, 2, 3, seed)) * 50.0;
        p = p * (1.0 + bend.lumps * noise(local * bend.grain + V3::splat(offset), seed));
    }
    let y = p.y;
    let mut widen = 1.0 + bend.taper * y;
    if bend.point > 0.0 {
        // A cone narrows linearly from the bottom to the tip, where a sphere would be round.
        let round = (1.0 - (y * y).min(1.0)).max(1e-3).sqrt();
        let cone = (0.5 - 0.5 * y.clamp(-1.0, 1.0)) * 1.1 * (1.0 - smooth_bottom(y));
        widen *= 1.0 + bend.point * (cone / round - 1.0);
    }
    v3(p.x * widen + bend.sway * y * y, y, p.z * widen + bend.curl * y * y)
}

/// Closes the wide end of a cone with a rounded bottom.
fn smooth_bottom(y: f32) -> f32 {
    let t = ((-0.6 - y) * 2.5).clamp(0.0, 1.0);
    t * t
}
