//! Finds the end of the compressed data of a JPEG picture by the lengths of its own segments. Thumbnails, comments,
//! further pictures and videos in the same file have markers of their own, which are ignored.

/// The stream of one picture within its file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stream {
    /// The end of the data of its last scan.
    pub(super) end: usize,
    /// Whether its own end marker follows.
    pub(super) closed: bool,
    /// Whether the file ends within the tables or the header of a further scan.
    pub(super) torn: bool,
    /// The number of the next restart marker, if it has any.
    restart: Option<u8>,
}

/// Returns the memory for decoding beside the pixels, in bytes: all coefficients if the picture has several scans.
pub(super) fn coefficients(bytes: &[u8]) -> u64 {
    let mut frame = None;
    for (marker, _, payload) in (Segments { bytes, at: 2 }) {
        match (marker, payload) {
            (0xc0..=0xc2 | 0xc9 | 0xca, [_, h0, h1, w0, w1, count, components @ ..]) => {
                let (width, height) =
                    (u64::from(u16::from_be_bytes([*w0, *w1])), u64::from(u16::from_be_bytes([*h0, *h1])));
                let factors: Vec<(u64, u64)> = components
                    .as_chunks::<3>()
                    .0
                    .iter()
                    .take(usize::from(*count))
                    .map(|&[_, factors, _]| (u64::from(factors >> 4).max(1), u64::from(factors & 15).max(1)))
                    .collect();
                let most = |side: fn(&(u64, u64)) -> u64| factors.iter().map(side).max().unwrap_or(1);
                let (h, v) = (width.div_ceil(8 * most(|f| f.0)), height.div_ceil(8 * most(|f| f.1)));
                let blocks: u64 = factors.iter().map(|factor| h * factor.0 * v * factor.1).sum();
                frame = Some((marker, *count, blocks));
            }
            (0xda, [count, ..]) => {
                let several =
                    |&(marker, components, _): &(u8, u8, u64)| matches!(marker, 0xc2 | 0xca) || *count < components;
                // 64 coefficients of two bytes.
                return frame.filter(several).map_or(0, |(_, _, blocks)| 128 * blocks);
            }
            _ => {}
        }
    }
    0
}

impl Stream {
    /// Walks from the start of the picture to the end of its last scan; returns `None` if it has none.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let mut segments = Segments { bytes, at: 2 };
        let mut found: Option<Self> = None;
        loop {
            let before = segments.at;
            let Some((marker, at, _)) = segments.next() else {
                if let Some(stream) = &mut found {
                    // The tables of a further scan have begun and are truncated.
                    stream.torn = matches!(bytes.get(before..), Some([0xff, 0xc4 | 0xda, ..]));
                }
                return found;
            };
            match marker {
                0xda => {
                    let (end, restart) = data_end(bytes, at);
                    let restart = restart.or(found.and_then(|stream| stream.restart));
                    found = Some(Self { end, closed: false, torn: false, restart });
                    segments.at = end;
                }
                0xd9 => {
                    return found.map(|stream| Self { closed: true, ..stream });
                }
                // Another picture, or data that is not JPEG, begins.
                0xd8 | 0x01..=0xbf if found.is_some() => return found,
                _ => {}
            }
        }
    }

    /// Returns the stream up to its end, with an end marker.
    pub(super) fn ended(&self, bytes: &[u8]) -> Vec<u8> {
        [&bytes[..self.end], &[0xff, 0xd9]].concat()
    }

    /// Returns the stream up to its end, arbitrary data, and an end marker. Decoded, it differs from
    /// [`ended`](Self::ended) where picture data is missing.
    pub(super) fn continued(&self, bytes: &[u8]) -> Vec<u8> {
        let mut continued = bytes[..self.end].to_vec();
        // As much as may be missing, within limits.
        let length = self.end.clamp(4 << 10, 1 << 20);
        let mut state = 0x2545_f491_u32;
        let mut mark = self.restart;
        for i in 0..length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            continued.push((state >> 24).min(0xfe) as u8);
            if i % 16 == 15
                && let Some(number) = &mut mark
            {
                continued.extend([0xff, 0xd0 + *number]);
                *number = (*number + 1) % 8;
            }
        }
        continued.extend([0xff, 0xd9]);
        continued
    }
}

/// Iterates over segments: marker, end of the segment, payload.
struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Segments<'a> {
    type Item = (u8, usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // Padding and stray bytes between segments are skipped, as decoders do.
        let rest = self.bytes.get(self.at..)?;
        let start = self.at + rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff))?;
        self.at = start;
        let marker = self.bytes[start + 1];
        if matches!(marker, 0x01 | 0xd0..=0xd9) {
            self.at = start + 2;
            return Some((marker, self.at, &[]));
        }
        let length = usize::from(u16::from_be_bytes([*self.bytes.get(start + 2)?, *self.bytes.get(start + 3)?]));
        let payload = self.bytes.get(start + 4..start + 2 + length)?;
        self.at = start + 2 + length;
        Some((marker, self.at, payload))
    }
}

/// Returns the end of entropy-coded data, and the number of the next restart marker.
fn data_end(bytes: &[u8], start: usize) -> (usize, Option<u8>) {
    let mut restart = None;
    let mut at = start;
    while let Some(found) = bytes[at..].iter().position(|&byte| byte == 0xff) {
        at += found;
        match bytes.get(at + 1) {
            Some(0x00) => at += 2,
            Some(0xff) => at += 1,
            Some(number @ 0xd0..=0xd7) => {
                restart = Some((number - 0xd0 + 1) % 8);
                at += 2;
            }
            _ => return (at, restart),
        }
    }
    // The file ends here. Trailing zeros, which a broken copy writes, are not data.
    let data = bytes[start..].iter().rposition(|&byte| byte != 0).map_or(start, |last| start + last + 1);
    (if bytes.len() - data >= 64 { data } else { bytes.len() }, restart)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"\xff\xd8\xff\xe1\x00\x08\xff\xda\x00\x02\xff\xd9\xff\xda\x00\x02";

    fn stream(rest: &[u8]) -> Stream {
        Stream::of(&[HEAD, rest].concat()).unwrap()
    }

    #[test]
    fn only_marks_of_the_picture_itself_count() {
        let at = |end, closed| Stream { end: HEAD.len() + end, closed, torn: false, restart: None };
        assert_eq!(stream(b"\x01\xff\x00\x02\xff\xd9"), at(4, true));
        assert_eq!(stream(b"\x01\xff\x00\x02"), at(4, false));
        // The next picture, a comment with marks, a video.
        assert_eq!(stream(b"\x01\x02\xff\xd8\xff\xda\x00\x02\x01\xff\xd9"), at(2, false));
        assert_eq!(stream(b"\x01\x02\xff\xfe\x00\x06\xff\xd9\xff\xda\xff\xd9"), at(2, true));
        assert_eq!(stream(b"\x01\x02\xff\xfe\x00\x06\xff\xd9\xff\xda"), at(2, false));
        assert_eq!(stream(b"\x01\x02\xff\x30\x00\x06\xff\xd9\xff\xda\xff\xd9"), at(2, false));
        assert_eq!(stream(&[&b"\x01\x02"[..], &[0; 64]].concat()), at(2, false));
        // A further scan, whole and torn.
        assert_eq!(stream(b"\x01\xff\xc4\x00\x02\xff\xda\x00\x02\x03\xff\xd9"), at(10, true));
        assert!(stream(b"\x01\xff\xc4\x00\x20\x00").torn);
        assert_eq!(stream(b"\x01\xff\xd0\x02\xff\xd1\x03\xff\xd9").restart, Some(2));
        assert_eq!(Stream::of(&HEAD[..10]), None);
    }

    #[test]
    fn coefficients_are_kept_for_several_scans() {
        let file = |frame: u8, scan: u8| {
            let sof = [0xff, frame, 0, 17, 8, 0, 100, 0, 200, 3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0];
            [&b"\xff\xd8"[..], &sof, &[0xff, 0xda, 0, 3, scan]].concat()
        };
        // 13 x 7 units of 4 + 1 + 1 blocks.
        assert_eq!(coefficients(&file(0xc2, 3)), 13 * 7 * 6 * 128);
        assert_eq!(coefficients(&file(0xc0, 1)), 13 * 7 * 6 * 128);
        assert_eq!(coefficients(&file(0xc0, 3)), 0);
        assert_eq!(coefficients(b"\xff\xd8\xff\xda\x00\x03\x01"), 0);
    }
}
