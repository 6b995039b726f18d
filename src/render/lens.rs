//! Projects the scene onto the screen and back.

use crate::render::math::{Basis, V3};
use crate::render::raster::Corner;
use crate::render::surface::Surface;

/// The position of the camera; the frame is fitted to the subject.
#[derive(Clone, Copy, Debug)]
pub struct Camera {
    /// Degrees around the subject, 0 from the front.
    pub azimuth: f32,
    /// Degrees above the subject's middle.
    pub elevation: f32,
    /// Degrees by which the camera is rolled about its axis.
    pub roll: f32,
    /// Distance from the subject's middle, in units of the subject's height, which sets the perspective.
    pub distance: f32,
    /// Share of the frame that the subject fills.
    pub zoom: f32,
    /// Shift of the subject, in frames.
    pub offset: (f32, f32),
    /// Whether the frame is fitted to the head instead of the whole.
    pub head: bool,
}

/// The projection of a camera.
pub struct Lens {
    /// Position of the camera.
    pub eye: V3,
    /// Pixels per unit at distance 1.
    pub scale: f32,
    axes: Basis,
    center: (f32, f32),
    half: (f32, f32),
}

impl Lens {
    /// Makes the projection of a picture of this size, framed on the subject of `surface`.
    pub fn new(camera: &Camera, surface: &Surface, width: usize, height: usize) -> Self {
        let (low, high) = surface.bounds();
        let middle = (low + high) * 0.5;
        let size = (high.y - low.y).max(0.5 * (high.x - low.x)).max(0.5 * (high.z - low.z));
        let turned = Basis::turn(-camera.elevation, 0.0, 0.0);
        let axes = Basis::turn(0.0, camera.azimuth, 0.0).times(turned).times(Basis::turn(0.0, 0.0, camera.roll));
        let eye = middle + axes.z * (camera.distance.max(0.8) * size.max(1e-3));
        let half = (0.5 * width as f32, 0.5 * height as f32);
        let mut lens = Self { eye, axes, center: (0.0, 0.0), scale: 1.0, half };
        let [left, top, right, bottom] = lens.extent(surface, camera.head);
        let wide = ((right - left) / width as f32).max((bottom - top) / height as f32);
        lens.scale = camera.zoom / wide.max(1e-6);
        let frame = width.min(height) as f32 / lens.scale;
        lens.center = (
            0.5 * (left + right) - half.0 - camera.offset.0 * frame,
            -(0.5 * (top + bottom) - half.1) - camera.offset.1 * frame,
        );
        lens
    }

    /// Returns the position on the screen in pixels and the depth, or `None` behind the camera.
    fn screen(&self, p: V3) -> Option<(f32, f32, f32)> {
        let v = self.axes.back(p - self.eye);
        let depth = -v.z;
        if depth < 0.02 {
            return None;
        }
        let inverse = 1.0 / depth;
        let x = self.half.0 + (v.x * inverse - self.center.0) * self.scale;
        let y = self.half.1 - (v.y * inverse - self.center.1) * self.scale;
        Some((x, y, inverse))
    }

    /// Returns the position on the screen in samples.
    pub fn corner(&self, p: V3) -> Option<Corner> {
        self.screen(p).map(|(x, y, inverse)| [2.0 * x, 2.0 * y, inverse])
    }

    /// Returns the direction of the ray through a position in pixels, of length 1 along the camera's axis.
    pub fn ray(&self, x: f32, y: f32) -> V3 {
        let inverse = 1.0 / self.scale;
        let u = (x - self.half.0) * inverse + self.center.0;
        let v = (self.half.1 - y) * inverse + self.center.1;
        self.axes.x * u + self.axes.y * v - self.axes.z
    }

    /// Returns the box around the subject or its head: left, top, right, bottom in pixels.
    pub fn extent(&self, surface: &Surface, head: bool) -> [f32; 4] {
        let mut extent = [f32::MAX, f32::MAX, f32::MIN, f32::MIN];
        let components = surface.components.iter().filter(|component| component.subject && (component.head || !head));
        for vertex in components.flat_map(|component| &surface.vertices[component.vertices.0..component.vertices.1]) {
            if let Some((x, y, _)) = self.screen(vertex.position) {
                extent = [extent[0].min(x), extent[1].min(y), extent[2].max(x), extent[3].max(y)];
            }
        }
        extent
    }
}
