//! Defines the values of a plush toy's attributes, with their words in English and Chinese.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A language of captions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    En,
    /// Chinese in simplified characters.
    ZhHans,
    /// Chinese in traditional characters.
    ZhHant,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 3] = [Self::En, Self::ZhHans, Self::ZhHant];

    /// Returns the BCP 47 tag.
    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::ZhHans => "zh-Hans",
            Self::ZhHant => "zh-Hant",
        }
    }

    /// Returns the language of a tag.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no such language.
    pub fn parse(tag: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|language| language.tag().eq_ignore_ascii_case(tag));
        found.ok_or_else(|| Error::argument(format!("no captions in language {tag:?}: use en, zh-Hans or zh-Hant")))
    }
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $tag:literal: $en:literal, $hans:literal, $hant:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $(
                #[doc = $en]
                #[serde(rename = $tag)]
                $variant,
            )*
        }

        impl $name {
            /// All values.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the name in data files.
            pub fn tag(self) -> &'static str {
                match self { $(Self::$variant => $tag,)* }
            }

            /// Returns the word for it.
            pub fn word(self, language: Language) -> &'static str {
                match (self, language) {
                    $(
                        (Self::$variant, Language::En) => $en,
                        (Self::$variant, Language::ZhHans) => $hans,
                        (Self::$variant, Language::ZhHant) => $hant,
                    )*
                }
            }
        }
    };
}

named! {
    /// The species.
    Species {
        Bear = "bear": "bear", "小熊", "小熊";
        Rabbit = "rabbit": "rabbit", "兔子", "兔子";
        Cat = "cat": "cat", "猫咪", "貓咪";
        Dog = "dog": "dog", "小狗", "小狗";
        Elephant = "elephant": "elephant", "大象", "大象";
        Panda = "panda": "panda", "熊猫", "貓熊";
        Fox = "fox": "fox", "狐狸", "狐狸";
        Frog = "frog": "frog", "青蛙", "青蛙";
        Penguin = "penguin": "penguin", "企鹅", "企鵝";
        Pig = "pig": "pig", "小猪", "小豬";
        Mouse = "mouse": "mouse", "老鼠", "老鼠";
        Lion = "lion": "lion", "狮子", "獅子";
        Duck = "duck": "duck", "鸭子", "鴨子";
        Monkey = "monkey": "monkey", "猴子", "猴子";
        Sheep = "sheep": "sheep", "绵羊", "綿羊";
        Unicorn = "unicorn": "unicorn", "独角兽", "獨角獸";
        Dinosaur = "dinosaur": "dinosaur", "恐龙", "恐龍";
        Koala = "koala": "koala", "考拉", "無尾熊";
    }
}

named! {
    /// A color of fur or cloth.
    Color {
        White = "white": "white", "白色", "白色";
        Grey = "grey": "grey", "灰色", "灰色";
        Black = "black": "black", "黑色", "黑色";
        Brown = "brown": "brown", "棕色", "棕色";
        Beige = "beige": "beige", "米色", "米色";
        Red = "red": "red", "红色", "紅色";
        Orange = "orange": "orange", "橙色", "橙色";
        Yellow = "yellow": "yellow", "黄色", "黃色";
        Green = "green": "green", "绿色", "綠色";
        Turquoise = "turquoise": "turquoise", "青色", "青色";
        SkyBlue = "sky_blue": "sky blue", "天蓝色", "天藍色";
        Blue = "blue": "blue", "蓝色", "藍色";
        Purple = "purple": "purple", "紫色", "紫色";
        Pink = "pink": "pink", "粉色", "粉紅色";
    }
}

named! {
    /// The layout of the second color.
    Pattern {
        Plain = "plain": "plain", "纯色", "純色";
        Belly = "belly": "belly", "肚皮", "肚皮";
        Patches = "patches": "patches", "斑块", "斑塊";
        Stripes = "stripes": "stripes", "条纹", "條紋";
        Spots = "spots": "spots", "圆点", "圓點";
        TwoTone = "two_tone": "paws", "手脚", "手腳";
    }
}

named! {
    /// The kind of an accessory.
    Kind {
        Scarf = "scarf": "scarf", "围巾", "圍巾";
        BowTie = "bow_tie": "bow tie", "领结", "領結";
        Collar = "collar": "collar", "项圈", "項圈";
        Hat = "hat": "hat", "礼帽", "禮帽";
        Beanie = "beanie": "beanie", "毛线帽", "毛線帽";
        Crown = "crown": "crown", "皇冠", "皇冠";
        Bow = "bow": "hair bow", "蝴蝶结", "蝴蝶結";
        Flower = "flower": "flower", "花朵", "花朵";
        Glasses = "glasses": "glasses", "眼镜", "眼鏡";
        Shirt = "shirt": "shirt", "上衣", "上衣";
        Backpack = "backpack": "backpack", "背包", "背包";
        Heart = "heart": "heart", "爱心", "愛心";
    }
}

named! {
    /// The pose at rest.
    Pose {
        Sitting = "sitting": "sitting", "坐着", "坐著";
        Standing = "standing": "standing", "站立", "站立";
        Lying = "lying": "lying", "躺着", "躺著";
    }
}

named! {
    /// The fur.
    Fur {
        Short = "short": "short-haired", "短毛", "短毛";
        Long = "long": "long-haired", "长毛", "長毛";
        Curly = "curly": "curly", "卷毛", "捲毛";
    }
}

named! {
    /// The color of the eyes.
    EyeColor {
        Black = "black": "black", "黑色", "黑色";
        Brown = "brown": "brown", "棕色", "棕色";
        Blue = "blue": "blue", "蓝色", "藍色";
        Green = "green": "green", "绿色", "綠色";
    }
}

named! {
    /// The wear by use.
    Wear {
        New = "new": "new", "全新", "全新";
        Faded = "faded": "faded", "褪色", "褪色";
        Mended = "mended": "sewn-on patch", "补丁", "補丁";
    }
}

/// An attribute: its name, and for each of its values the name in data files and the word in every language.
pub type Words = (&'static str, Vec<(&'static str, [&'static str; 3])>);

/// Returns the words for every value of every attribute, in the order of [`Language::ALL`].
pub fn words() -> Vec<Words> {
    macro_rules! table {
        ($($attribute:literal: $name:ident),*) => {
            vec![$((
                $attribute,
                $name::ALL.iter().map(|value| (value.tag(), Language::ALL.map(|language| value.word(language)))).collect(),
            )),*]
        };
    }
    table!("species": Species, "color": Color, "pattern": Pattern, "kind": Kind, "pose": Pose, "fur": Fur,
        "eyes": EyeColor, "wear": Wear)
}
