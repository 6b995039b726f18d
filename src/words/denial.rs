//! Finds the part of a query that it denies: "a bear without a hat" asks for no hat.

/// Words after which a thing is denied.
#[rustfmt::skip]
const DENYING: [&str; 19] = [
    "arent", "cannot", "doesnt", "dont", "except", "excluding", "hasnt", "isnt", "lacking", "lacks", "neither", "never",
    "no", "non", "none", "nor", "not", "wasnt", "without",
];
/// Words at which the denied part ends.
const ENDING: [&str; 2] = ["but", "with"];
/// The same in Chinese, where the denied part ends at 的.
#[rustfmt::skip]
const CHINESE: [&str; 16] = [
    "不是", "不要", "不带", "不帶", "不戴", "不穿", "不含", "不包括", "没", "沒", "无", "無", "并非", "並非", "而非", "除了",
];
const END: char = '的';

/// Whether the text is denied at a place that moves from its beginning to its end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Denial(bool);

impl Denial {
    /// Moves over a word, and returns whether it is denied or denies.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let denied = self.0;
        self.0 = DENYING.contains(&word) || (denied && !ENDING.contains(&word));
        denied || self.0
    }

    /// Moves over a run of Chinese, and returns its parts that are not denied.
    pub(super) fn dense<'a>(&mut self, run: &'a str) -> Vec<&'a str> {
        let (mut rest, mut parts) = (run, Vec::new());
        while !rest.is_empty() {
            if self.0 {
                match rest.split_once(END) {
                    Some((_, after)) => (rest, self.0) = (after, false),
                    None => break,
                }
            } else {
                let denying = CHINESE.iter().filter_map(|word| rest.find(word)).min();
                let (part, after) = rest.split_at(denying.unwrap_or(rest.len()));
                parts.extend((!part.is_empty()).then_some(part));
                (rest, self.0) = (after, denying.is_some());
            }
        }
        parts
    }

    /// Moves over the end of a clause.
    pub(super) fn end(&mut self) {
        self.0 = false;
    }
}

#[cfg(test)]
mod tests {
    use crate::words::Phrase;

    #[test]
    fn what_is_denied_is_not_asked_for() {
        for (text, left) in [
            ("a bear without a hat", "bear"),
            ("not red", ""),
            ("isn't red, a rabbit", "rabbit"),
            ("a rabbit that isn’t red but blue", "rabbit blue"),
            ("no hat and scarf. bear", "bear"),
            ("a plush without glasses with a scarf", "plush scarf"),
            ("不是红色", ""),
            ("不是 红色", ""),
            ("没有帽子的熊", "熊"),
            ("戴着围巾的没有帽子的兔子", "戴着 着围 围巾 兔子"),
            ("沒有戴帽子，兔子", "兔子"),
            ("粉色兔子", "粉色 色兔 兔子"),
        ] {
            let asked: Vec<String> = Phrase::new(&[text]).terms.into_iter().map(|asked| asked.term).collect();
            assert_eq!(asked.join(" "), left, "{text}");
        }
    }
}
