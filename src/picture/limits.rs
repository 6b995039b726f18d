//! Defines the limits of pictures, counted in decoded pixels.

use std::env;
use std::sync::LazyLock;

/// The longest side of a picture, in pixels: that of JPEG.
pub const MAX_SIDE: u32 = 65_535;
/// The most decoded pixels of one picture by default; the environment variable `PLUSHIE_MAX_PIXELS` changes it.
pub const MAX_PIXELS: u64 = 128_000_000;
/// The largest file, in bytes.
pub const MAX_FILE: u64 = 256 << 20;

const VARIABLE: &str = "PLUSHIE_MAX_PIXELS";

static CHOSEN: LazyLock<Result<u64, String>> = LazyLock::new(|| match env::var(VARIABLE) {
    Ok(text) => chosen(&text),
    Err(env::VarError::NotPresent) => Ok(MAX_PIXELS),
    Err(error) => {
        Err(format!("the environment variable {VARIABLE} cannot be read ({error}); set it to a number of pixels"))
    }
});

fn chosen(text: &str) -> Result<u64, String> {
    // The memory that follows from it must fit a number, too.
    text.trim().parse().ok().filter(|pixels| (1..=1 << 40).contains(pixels)).ok_or_else(|| {
        format!("the environment variable {VARIABLE} is {text:?}; set it to a number of pixels, such as 200000000")
    })
}

/// Returns the most decoded pixels of one picture.
pub(super) fn max_pixels() -> Result<u64, String> {
    CHOSEN.clone()
}

/// Returns the most memory of a decoder for one picture, in bytes: four channels of one byte per pixel.
pub(super) fn max_memory() -> Result<u64, String> {
    Ok(max_pixels()? * 4)
}

/// Refuses a picture beyond the limits.
pub(super) fn check_size(width: u32, height: u32) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err(format!("{width}x{height} has no pixels"));
    }
    let most = max_pixels()?;
    if width > MAX_SIDE || height > MAX_SIDE || u64::from(width) * u64::from(height) > most {
        return Err(format!(
            "{width}x{height} pixels are beyond the limit of {MAX_SIDE} a side and {} million in all; make it smaller \
             first, or set {VARIABLE} to more",
            most / 1_000_000
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_a_number_of_pixels() {
        assert_eq!(chosen(" 200000000 "), Ok(200_000_000));
        for bad in ["", "0", "-1", "1e8", "many", "18446744073709551615"] {
            assert!(chosen(bad).unwrap_err().contains("set it to a number of pixels"), "{bad}");
        }
    }

    #[test]
    fn sides_and_pixels_are_limited() {
        assert!(check_size(12_000, 9_000).is_ok() && check_size(65_535, 1).is_ok());
        for (width, height) in [(0, 1), (1, 0), (65_536, 1), (1, 65_536), (13_000, 13_000)] {
            assert!(check_size(width, height).is_err(), "{width}x{height}");
        }
    }
}
