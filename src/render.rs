//! Coloured triangles, a camera and a light become an RGB view, the same on every machine.
