//! Phrases about all kinds of things, in English and Chinese, such as people search for: they stand for searches by texts in a
//! catalog that has few texts of its own.

const COLORS: [(&str, &str); 9] = [
    ("red", "红色"),
    ("blue", "蓝色"),
    ("green", "绿色"),
    ("yellow", "黄色"),
    ("pink", "粉色"),
    ("brown", "棕色"),
    ("gray", "灰色"),
    ("black", "黑色"),
    ("white", "白色"),
];
const THINGS: [(&str, &str); 20] = [
    ("teddy bear", "泰迪熊"),
    ("rabbit", "兔子"),
    ("cat", "猫"),
    ("dinosaur", "恐龙"),
    ("bird", "鸟"),
    ("shirt", "衬衫"),
    ("shoe", "鞋子"),
    ("bag", "包"),
    ("bottle", "瓶子"),
    ("cup", "杯子"),
    ("box", "盒子"),
    ("chair", "椅子"),
    ("lamp", "灯"),
    ("car", "汽车"),
    ("robot", "机器人"),
    ("gear", "齿轮"),
    ("screw", "螺丝"),
    ("flower", "花"),
    ("person with a hat", "戴帽子的人"),
    ("house in the snow", "雪中的房子"),
];

/// All phrases, 360 of them, of which those that follow each other differ in the thing and in the language.
pub(super) fn phrases() -> impl Iterator<Item = String> {
    (0..2 * COLORS.len()).flat_map(|round| {
        THINGS.iter().enumerate().map(move |(place, (english, chinese))| {
            let color = COLORS[(round + place) % COLORS.len()];
            match (round / COLORS.len() + place) % 2 {
                0 => format!("a {} {english}", color.0),
                _ => format!("{}的{chinese}", color.1),
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn all_phrases_differ() {
        let all: Vec<String> = phrases().collect();
        assert_eq!(all[..3], ["a red teddy bear", "蓝色的兔子", "a green cat"]);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 360);
    }
}
