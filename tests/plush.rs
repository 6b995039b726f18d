//! Plush toys: the same bytes everywhere, what is said about them, and what is seen of them.

use std::collections::HashSet;

use plushie_search::Error;
use plushie_search::plush::attributes::{Accessory, Attributes};
use plushie_search::plush::view::{SceneKind, View};
use plushie_search::plush::vocabulary::{Color, EyeColor, Fur, Kind, Language, Pattern, Pose, Species, Wear, words};
use plushie_search::plush::{Plush, render_many, render_square};

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn message<T>(result: Result<T, Error>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn pixels_are_the_same_on_every_machine() {
    let drawn = |scene, seed| hash(&render_square(&Plush::new(seed), &View::sample(seed, scene), 96).unwrap());
    let golden = [
        (SceneKind::Studio, 0, 0x1996_9145_a78c_2ecc),
        (SceneKind::Studio, 1, 0x29b8_7dac_cbe8_e904),
        (SceneKind::Everyday, 2, 0xfefd_7fc3_976d_e7cb),
        (SceneKind::Everyday, 3, 0x75fe_319b_53c7_37f9),
        (SceneKind::Light, 4, 0xb4a9_5654_8767_45e9),
        (SceneKind::Pose, 5, 0x5b25_d063_d45e_7aea),
        (SceneKind::Occluded, 6, 0x01be_83c8_60b4_0844),
        (SceneKind::HeadOnly, 7, 0x0aab_5fbe_d339_629f),
        (SceneKind::Cluttered, 8, 0x330e_0670_a348_83c7),
    ];
    let found = golden.map(|(scene, seed, _)| (scene, seed, drawn(scene, seed)));
    assert_eq!(found, golden);
}

#[test]
fn pixels_do_not_depend_on_threads_or_neighbors() {
    let (seeds, views) = ([5, 6, 7, 5], [1, 2, 3, 1]);
    let one = render_many(&seeds, &views, SceneKind::Everyday, 48, Some(1)).unwrap();
    assert_eq!(render_many(&seeds, &views, SceneKind::Everyday, 48, Some(3)).unwrap(), one);
    assert_eq!(render_many(&seeds, &views, SceneKind::Everyday, 48, None).unwrap(), one);
    let side = 48 * 48 * 3;
    assert_eq!(one[..side], one[3 * side..]);
    assert_eq!(one[side..2 * side], render_square(&Plush::new(6), &View::sample(2, SceneKind::Everyday), 48).unwrap());
}

#[test]
fn any_size_can_be_drawn() {
    let (plush, view) = (Plush::new(3), View::sample(3, SceneKind::Occluded));
    for (width, height) in [(1, 1), (2, 7), (33, 20), (20, 301)] {
        let picture = plush.render(&view, width, height);
        assert_eq!(picture.rgb.len(), width * height * 3);
        assert_eq!(picture.subject.len(), width * height);
    }
}

#[test]
fn every_value_is_reached_and_consistent() {
    let mut seen: HashSet<String> = HashSet::new();
    for seed in 0..4000 {
        let attributes = Attributes::sample(seed);
        attributes.check().unwrap();
        let a = &attributes;
        seen.extend([a.species.tag(), a.color.tag(), a.pattern.tag(), a.pose.tag(), a.fur.tag()].map(String::from));
        seen.extend([format!("eyes {}", a.eyes.tag()), format!("wear {}", a.wear.tag())]);
        seen.extend(a.second_color.map(|color| format!("second {}", color.tag())));
        for one in &a.accessories {
            seen.extend([format!("kind {}", one.kind.tag()), format!("on {}", one.color.tag())]);
        }
        assert_eq!(Attributes::from_json(&a.to_json()).unwrap(), attributes);
    }
    let mut all: HashSet<String> = HashSet::new();
    all.extend(Species::ALL.iter().map(|value| value.tag().to_owned()));
    all.extend(Pattern::ALL.iter().map(|value| value.tag().to_owned()));
    all.extend(Pose::ALL.iter().map(|value| value.tag().to_owned()));
    all.extend(Fur::ALL.iter().map(|value| value.tag().to_owned()));
    all.extend(EyeColor::ALL.iter().map(|value| format!("eyes {}", value.tag())));
    all.extend(Wear::ALL.iter().map(|value| format!("wear {}", value.tag())));
    all.extend(Kind::ALL.iter().map(|value| format!("kind {}", value.tag())));
    for color in Color::ALL.iter().map(|value| value.tag()) {
        all.extend([color.to_owned(), format!("second {color}"), format!("on {color}")]);
    }
    assert_eq!(all.difference(&seen).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(Species::ALL.len() >= 12);
}

#[test]
fn every_species_and_color_looks_different() {
    let view = View::sample(0, SceneKind::Studio);
    let plain = Attributes {
        species: Species::Bear,
        color: Color::Grey,
        second_color: None,
        pattern: Pattern::Plain,
        accessories: Vec::new(),
        pose: Pose::Sitting,
        fur: Fur::Short,
        eyes: EyeColor::Black,
        wear: Wear::New,
    };
    let mut looks = Vec::new();
    for &species in Species::ALL {
        let panda = species == Species::Panda;
        let (second_color, pattern) =
            if panda { (Some(Color::Black), Pattern::TwoTone) } else { (None, Pattern::Plain) };
        looks.push(Attributes { species, second_color, pattern, ..plain.clone() });
    }
    looks.extend(
        Color::ALL.iter().filter(|&&color| color != Color::Grey).map(|&color| Attributes { color, ..plain.clone() }),
    );
    for &kind in Kind::ALL {
        looks.push(Attributes { accessories: vec![Accessory { kind, color: Color::Red }], ..plain.clone() });
    }
    let pictures: Vec<Vec<u8>> = looks
        .into_iter()
        .map(|look| render_square(&Plush::with_attributes(1, look).unwrap(), &view, 64).unwrap())
        .collect();
    for (i, a) in pictures.iter().enumerate() {
        for b in &pictures[..i] {
            let far = a.iter().zip(b).filter(|(a, b)| a.abs_diff(**b) > 20).count();
            assert!(far > 60, "only {far} values differ");
        }
    }
}

#[test]
fn toys_of_equal_attributes_differ() {
    let view = View::sample(0, SceneKind::Studio);
    let look = Plush::new(11).attributes().clone();
    let drawn = |seed| render_square(&Plush::with_attributes(seed, look.clone()).unwrap(), &view, 64).unwrap();
    let (a, b) = (drawn(11), drawn(12));
    let differing = a.iter().zip(&b).filter(|(a, b)| a.abs_diff(**b) > 24).count();
    assert!(differing > 500, "only {differing} values differ");
}

#[test]
fn captions_name_what_stands_out() {
    for seed in 0..500 {
        let plush = Plush::new(seed);
        let a = plush.attributes();
        for language in Language::ALL {
            let text = plush.caption(language);
            let mut named = vec![a.species.word(language), a.color.word(language), a.pose.word(language)];
            named.extend(a.second_color.map(|color| color.word(language)));
            named.extend((a.pattern != Pattern::Plain).then(|| a.pattern.word(language)));
            named.extend((a.fur != Fur::Short).then(|| a.fur.word(language)));
            named.extend((a.eyes != EyeColor::Black).then(|| a.eyes.word(language)));
            named.extend((a.wear != Wear::New).then(|| a.wear.word(language)));
            for one in &a.accessories {
                named.extend([one.kind.word(language), one.color.word(language)]);
            }
            for word in named {
                assert!(text.contains(word), "{word:?} is not in {text:?}");
            }
        }
    }
}

#[test]
fn captions_read_well() {
    let look = Attributes {
        species: Species::Bear,
        color: Color::Brown,
        second_color: Some(Color::White),
        pattern: Pattern::Belly,
        accessories: vec![
            Accessory { kind: Kind::Scarf, color: Color::Red },
            Accessory { kind: Kind::Glasses, color: Color::Orange },
            Accessory { kind: Kind::Backpack, color: Color::SkyBlue },
        ],
        pose: Pose::Sitting,
        fur: Fur::Curly,
        eyes: EyeColor::Green,
        wear: Wear::New,
    };
    let plush = Plush::with_attributes(0, look).unwrap();
    assert_eq!(
        Language::ALL.map(|language| plush.caption(language)),
        [
            "a sitting curly brown bear plush with a white belly and green eyes, wearing a red scarf and orange \
             glasses, carrying a sky blue backpack",
            "戴着红色围巾和橙色眼镜、背着天蓝色背包的坐着的棕色卷毛小熊毛绒玩具，有白色肚皮和绿色眼睛",
            "戴著紅色圍巾和橙色眼鏡、揹著天藍色背包的坐著的棕色捲毛小熊絨毛玩具，有白色肚皮和綠色眼睛",
        ]
    );
}

#[test]
fn every_value_has_its_own_word_in_every_language() {
    let table = words();
    assert_eq!(table.len(), 8);
    for (attribute, values) in table {
        for language in 0..Language::ALL.len() {
            let distinct: HashSet<&str> = values.iter().map(|(_, texts)| texts[language]).collect();
            assert_eq!(distinct.len(), values.len(), "{attribute}");
        }
    }
}

#[test]
fn a_lookalike_differs_in_one_attribute() {
    let mut kinds = HashSet::new();
    for seed in 0..300 {
        let plush = Plush::new(seed);
        let other = plush.lookalike(seed + 1);
        let (a, b) = (plush.attributes(), other.attributes());
        b.check().unwrap();
        assert_eq!(plush.seed(), other.seed());
        let same = |b: &Attributes| (b.species, b.pattern, b.pose, b.fur, b.eyes, b.wear);
        assert_eq!(same(a), same(b));
        let changes = [a.color != b.color, a.second_color != b.second_color, a.accessories != b.accessories];
        assert_eq!(changes.iter().filter(|change| **change).count(), 1, "{a:?} {b:?}");
        kinds.insert(changes);
        if a.accessories.len() == b.accessories.len() {
            let differing = a.accessories.iter().zip(&b.accessories).filter(|(a, b)| a != b).count();
            assert!(differing <= 1);
        }
        assert_eq!(plush.lookalike(seed + 1), other);
    }
    assert_eq!(kinds.len(), 3);
}

#[test]
fn an_occluder_covers_what_was_asked() {
    for seed in 0..100 {
        let view = View::sample(seed, SceneKind::Occluded);
        let asked = view.occluder.unwrap().fraction;
        let picture = Plush::new(seed).render(&view, 96, 96);
        let subject = picture.subject.iter().filter(|there| **there).count() as f32;
        let covered =
            picture.subject.iter().zip(&picture.covered).filter(|(there, hidden)| **there && **hidden).count();
        let share = covered as f32 / subject;
        assert!((share - asked).abs() < 0.06, "view {seed}: asked for {asked}, got {share}");
        assert!((0.2..=0.6).contains(&share), "view {seed} hides {share}");
    }
}

#[test]
fn a_head_only_view_frames_the_head() {
    for seed in 0..30 {
        let view = View::sample(seed, SceneKind::HeadOnly);
        let [left, top, right, bottom] = Plush::new(seed).render(&view, 100, 100).head;
        let long = (right - left).max(bottom - top);
        assert!((long - 100.0 * view.camera.zoom).abs() < 0.5, "{long} for zoom {}", view.camera.zoom);
        let (x, y) = (0.5 * (left + right) - 50.0, 0.5 * (top + bottom) - 50.0);
        let (dx, dy) = view.camera.offset;
        assert!((x - 100.0 * dx).abs() < 0.5 && (y + 100.0 * dy).abs() < 0.5, "{x} {y} for {dx} {dy}");
    }
}

#[test]
fn a_studio_view_shows_the_whole_toy() {
    for seed in 0..30 {
        let picture = Plush::new(seed).render(&View::sample(seed, SceneKind::Studio), 64, 64);
        let edge = (0..64).flat_map(|i| [i, 63 * 64 + i, 64 * i, 64 * i + 63]);
        assert!(edge.into_iter().all(|i| !picture.subject[i]));
        assert!(picture.subject.iter().filter(|there| **there).count() > 64 * 64 / 8);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let good = Plush::new(0).attributes().clone();
    let refused = |change: fn(&mut Attributes)| {
        let mut look = Attributes {
            species: Species::Bear,
            color: Color::Red,
            pattern: Pattern::Spots,
            second_color: Some(Color::Blue),
            accessories: Vec::new(),
            ..good.clone()
        };
        look.check().unwrap();
        change(&mut look);
        message(Plush::with_attributes(0, look))
    };
    let pattern = "second_color does not fit the pattern: give one exactly if the pattern is not plain";
    assert_eq!(refused(|look| look.second_color = None), pattern);
    assert_eq!(refused(|look| look.pattern = Pattern::Plain), pattern);
    assert_eq!(
        refused(|look| look.second_color = Some(Color::Red)),
        "color and second_color are both red: use two colors"
    );
    assert_eq!(refused(|look| look.species = Species::Panda), "the pattern of a panda must be two_tone");
    assert_eq!(
        refused(|look| look.accessories = vec![Accessory { kind: Kind::Bow, color: Color::Blue }, one_hat()]),
        "hat shares its place with another accessory: leave one out"
    );

    assert!(message(Attributes::from_json("{}")).starts_with("attributes of a plush: missing field"));
    assert!(message(Attributes::from_json(&good.to_json().replace("\"pose\"", "\"posture\""))).contains("posture"));
    assert_eq!(
        message(render_many(&[1, 2], &[1], SceneKind::Studio, 8, None)),
        "2 seeds but 1 views: give one view for each"
    );
    assert_eq!(message(render_many(&[1], &[1], SceneKind::Studio, 8, Some(0))), "0 threads: give 1 to 1024");
    assert_eq!(
        message(render_many(&[1], &[1], SceneKind::Studio, 0, None)),
        "a picture of 0 x 0 pixels: use 1 to 4096"
    );
    assert!(message(SceneKind::parse("stage")).starts_with("no scene \"stage\": use one of studio, everyday, light"));
    assert_eq!(message(Language::parse("fr")), "no captions in language \"fr\": use en, zh-Hans or zh-Hant");
}

fn one_hat() -> Accessory {
    Accessory { kind: Kind::Hat, color: Color::Red }
}
