//! Spreads the values of windows over a map.

/// Cells along the longer side of a map.
const CELLS: f64 = 32.0;

/// Returns the rows and columns of the map of a picture of this width and height: 32 along the longer side.
pub fn mesh((width, height): (u32, u32)) -> (usize, usize) {
    let longer = f64::from(width.max(height));
    let cells = |side: u32| (CELLS * f64::from(side) / longer).round().max(1.0) as usize;
    (cells(height), cells(width))
}

/// Returns a map of rows and columns over a picture. Each cell has the weighted mean of the values of the windows that cover
/// its center; a window's weight falls along both axes from its center to its edges. A cell under no window has 0.
///
/// Windows are left, top, right and bottom in shares of the picture.
///
/// ```
/// use plushie_search::explain::spread;
///
/// let map = spread(&[[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 0.75, 1.0]], &[2.0, -1.0], (1, 4));
/// assert_eq!(map, [2.0, 2.0, -1.0, 0.0]);
/// ```
pub fn spread(boxes: &[[f64; 4]], values: &[f32], (rows, columns): (usize, usize)) -> Vec<f32> {
    let weight = |center: f64, start: f64, end: f64| {
        let off = (2.0 * center - start - end).abs() / (end - start);
        // A cell on the very edge still has some.
        if off < 1.0 { 1.0 - off + 1e-6 } else { 0.0 }
    };
    let mut map = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        let y = (row as f64 + 0.5) / rows as f64;
        for column in 0..columns {
            let x = (column as f64 + 0.5) / columns as f64;
            let (mut sum, mut all) = (0.0, 0.0);
            for ([left, top, right, bottom], value) in boxes.iter().zip(values) {
                let weight = weight(x, *left, *right) * weight(y, *top, *bottom);
                sum += weight * f64::from(*value);
                all += weight;
            }
            map.push(if all > 0.0 { (sum / all) as f32 } else { 0.0 });
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mesh_has_the_shape_of_the_picture() {
        assert_eq!(mesh((640, 480)), (24, 32));
        assert_eq!(mesh((10, 1000)), (32, 1));
        assert_eq!(mesh((1000, 1)), (1, 32));
    }

    #[test]
    fn where_windows_overlap_the_nearer_one_counts_more() {
        let map = spread(&[[0.0, 0.0, 0.6, 1.0], [0.4, 0.0, 1.0, 1.0]], &[1.0, 0.0], (1, 20));
        assert_eq!((map[0], map[19]), (1.0, 0.0));
        assert!(map.windows(2).all(|pair| pair[0] >= pair[1]));
        assert!((map[9] + map[10] - 1.0).abs() < 1e-5);
        assert_eq!(spread(&[], &[], (2, 2)), [0.0; 4]);
    }
}
