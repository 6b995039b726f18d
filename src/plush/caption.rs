//! Writes the attributes of a plush as a sentence.

use crate::plush::attributes::Attributes;
use crate::plush::vocabulary::{EyeColor, Fur, Kind, Language, Pattern, Wear};

/// Writes a natural caption that names every attribute except the default ones.
pub fn caption(attributes: &Attributes, language: Language) -> String {
    match language {
        Language::En => english(attributes),
        _ => chinese(attributes, language),
    }
}

fn english(a: &Attributes) -> String {
    let en = Language::En;
    let mut text = format!("a {}", a.pose.word(en));
    if a.wear == Wear::Faded {
        text += " faded";
    }
    if a.fur != Fur::Short {
        text = text + " " + a.fur.word(en);
    }
    text = text + " " + a.color.word(en) + " " + a.species.word(en) + " plush";
    let mut with = Vec::new();
    if let Some(second) = a.second_color {
        let second = second.word(en);
        with.push(match a.pattern {
            Pattern::Belly => format!("{} belly", article(second)),
            pattern => format!("{second} {}", pattern.word(en)),
        });
    }
    if a.eyes != EyeColor::Black {
        with.push(format!("{} eyes", a.eyes.word(en)));
    }
    if a.wear == Wear::Mended {
        with.push("a sewn-on patch".into());
    }
    if !with.is_empty() {
        text = text + " with " + &list(&with);
    }
    for (verb, carried) in groups(a, en) {
        let things: Vec<String> = carried
            .into_iter()
            .map(|(kind, color)| match kind {
                Kind::Glasses => format!("{color} {}", kind.word(en)),
                _ => format!("{} {}", article(color), kind.word(en)),
            })
            .collect();
        text = text + ", " + verb + " " + &list(&things);
    }
    text
}

fn chinese(a: &Attributes, language: Language) -> String {
    let mut text = String::new();
    let parts: Vec<String> = groups(a, language)
        .into_iter()
        .map(|(verb, carried)| {
            let things: Vec<String> =
                carried.into_iter().map(|(kind, color)| format!("{color}{}", kind.word(language))).collect();
            verb.to_owned() + &things.join("和")
        })
        .collect();
    if !parts.is_empty() {
        text = parts.join("、") + "的";
    }
    text = text + a.pose.word(language) + "的";
    if a.wear == Wear::Faded {
        text = text + a.wear.word(language) + "的";
    }
    text += a.color.word(language);
    if a.fur != Fur::Short {
        text += a.fur.word(language);
    }
    let toy = if language == Language::ZhHans { "毛绒玩具" } else { "絨毛玩具" };
    text = text + a.species.word(language) + toy;
    let mut with = Vec::new();
    if let Some(second) = a.second_color {
        with.push(format!("{}{}", second.word(language), a.pattern.word(language)));
    }
    if a.eyes != EyeColor::Black {
        with.push(format!("{}眼睛", a.eyes.word(language)));
    }
    if a.wear == Wear::Mended {
        with.push(a.wear.word(language).to_owned());
    }
    if with.is_empty() { text } else { text + "，有" + &with.join("和") }
}

/// Groups accessories by verb: the verb, then each with its color.
fn groups(a: &Attributes, language: Language) -> Vec<(&'static str, Vec<(Kind, &'static str)>)> {
    let mut groups: Vec<(&'static str, Vec<(Kind, &'static str)>)> = Vec::new();
    for one in &a.accessories {
        let verb = verb(one.kind, language);
        let thing = (one.kind, one.color.word(language));
        match groups.iter_mut().find(|group| group.0 == verb) {
            Some(group) => group.1.push(thing),
            None => groups.push((verb, vec![thing])),
        }
    }
    groups
}

/// Returns the verb for an accessory.
pub fn verb(kind: Kind, language: Language) -> &'static str {
    match (kind, language) {
        (Kind::Backpack, Language::En) => "carrying",
        (Kind::Heart, Language::En) => "holding",
        (_, Language::En) => "wearing",
        (Kind::Backpack, Language::ZhHans) => "背着",
        (Kind::Backpack, Language::ZhHant) => "揹著",
        (Kind::Heart, Language::ZhHans) => "抱着",
        (Kind::Heart, Language::ZhHant) => "抱著",
        (Kind::Shirt, Language::ZhHans) => "穿着",
        (Kind::Shirt, Language::ZhHant) => "穿著",
        (_, Language::ZhHans) => "戴着",
        (_, Language::ZhHant) => "戴著",
    }
}

fn article(word: &str) -> String {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { format!("an {word}") } else { format!("a {word}") }
}

fn list(things: &[String]) -> String {
    match things {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => first.join(", ") + " and " + last,
    }
}
