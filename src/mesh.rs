//! STL files (binary, ASCII) become triangles.
