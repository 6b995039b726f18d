"""Data for training: photos with texts, nouns in two languages, names with vectors."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from plushie_search.plushbench.photos import keyworded_emoji
from plushie_search.train import names, nouns, photos, plushes, words


@pytest.fixture
def root(tmp_path):
    """A few photos in the folders that the training knows."""

    def picture(*parts, color=(90, 60, 30)):
        path = tmp_path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), color).save(path)
        return path

    picture("grocery", "train", "Fruit", "a.jpg")
    picture("grocery", "val", "Fruit", "b.jpg")
    for name in ("one", "two", "three"):
        picture("clothing", "images", f"{name}.jpg")
    (tmp_path / "clothing" / "images.csv").write_text(
        "image,sender_id,label,kids\none,10,Shirt,False\ntwo,11,T-Shirt,False\nthree,12,Not sure,False\n"
    )
    picture("varied", "zoo", "00001.jpg")
    picture("varied", "book", "00001.jpg")
    (tmp_path / "varied" / "zoo" / "labels.csv").write_text("file,label,caption\n00001.jpg,Tree_Frog,\n")
    (tmp_path / "varied" / "book" / "labels.csv").write_text(
        "file,label,caption\n00001.jpg,,[panel 1 of 2] A photograph of a large gray shark. It swims.\n"
    )
    signs = {chr(0x1F600 + n): ["grinning_face", ":D", "smile"] for n in range(7)}
    (tmp_path / "emoji" / "png").mkdir(parents=True)
    (tmp_path / "emoji" / "keywords.json").write_text(json.dumps(signs))
    for sign in signs:
        picture("emoji", "png", f"emoji_u{ord(sign):04x}.png")
    return tmp_path


def test_pictures_of_the_benchmark_are_kept_out(root):
    kept = {path.relative_to(root).as_posix() for path in photos.training_photos(root)}
    assert "grocery/train/Fruit/a.jpg" in kept
    assert "grocery/val/Fruit/b.jpg" not in kept
    assert "clothing/images/one.jpg" not in kept  # its sender's number ends in 0
    assert "clothing/images/two.jpg" in kept


def test_texts_are_those_of_the_sources(root):
    said = {path.relative_to(root).as_posix(): list(texts) for path, texts in photos.written_texts(root).items()}
    assert said["varied/zoo/00001.jpg"] == ["tree frog"]
    assert said["varied/book/00001.jpg"] == ["a large gray shark"]
    assert said["clothing/images/two.jpg"] == ["t-shirt"]
    assert "clothing/images/three.jpg" not in said
    assert not [path for path in said if path.startswith("grocery")]
    assert said["emoji/png/emoji_u1f601.png"] == ["grinning face", "smile"]


def test_emoji_that_words_are_judged_by_are_not_learnt(root):
    judged = {path.stem for path, _ in keyworded_emoji(root / "emoji", judged=True)}
    assert judged == {"emoji_u1f600", "emoji_u1f605"}
    assert not judged & {path.stem for path, _ in keyworded_emoji(root / "emoji", judged=False)}
    assert not judged & {path.stem for path in photos.written_texts(root)}


def test_nouns_are_english_and_chinese():
    pairs = list(nouns.translations())
    assert (["car", "automobile"], ["汽车", "轿车"]) in pairs
    assert words.traditional("汽车") == "汽車"
    for english, chinese in pairs:
        assert all((word.isascii() and word == word.strip().lower()) or word == "T恤" for word in english)
        assert all(any(character > "\u3000" for character in word) for word in chinese)
    said = [word for english, _ in pairs for word in english]
    assert len(pairs) > 400
    assert len(set(said)) > 0.98 * len(said)


def test_names_are_unit_vectors_about_their_middle(tmp_path):
    rng = np.random.default_rng(0)
    lvis, objects = rng.normal(1.0, 1.0, (3, 8)), rng.normal(1.0, 1.0, (2, 8))
    np.save(tmp_path / "lvis_v1_clip_a+cname.npy", lvis.astype(np.float16))
    np.save(tmp_path / "o365_clip_a+cnamefix.npy", objects.astype(np.float16))
    (tmp_path / "lvis_v1_train_cat_info.json").write_text(
        json.dumps([{"synonyms": ["aerosol_can", "spray_can"]}, {"synonyms": ["bow_(weapon)"]}, {"synonyms": ["cat"]}])
    )
    with (tmp_path / "Objects365_names_fix.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[1, "Person", "Person"], [2, "Hat", "Hat/Cap"]])
    written, vectors = names.read(tmp_path)
    assert written == [["aerosol can", "spray can"], ["bow"], ["cat"], ["person"], ["hat", "cap"]]
    every = np.concatenate([lvis, objects]).astype(np.float16).astype(np.float64)
    every /= np.linalg.norm(every, axis=1, keepdims=True)
    every -= every.mean(0)
    expected = every / np.linalg.norm(every, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_classes_have_synonyms(tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("background\ntench, Tinca tinca\n")
    assert names.classes(file) == [["background"], ["tench", "tinca tinca"]]


def test_training_plushes_are_pairs_in_every_view_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(plushes, "CHUNK", 2)
    behind = np.zeros((1, 1, 3, 160, 160), np.uint8)
    behind[:, :, 1] = 255  # a green photo
    made = plushes.Plushes(tmp_path, 3, threads=2, photos=behind)
    assert len(made) == 8  # whole chunks
    rows = np.arange(8)
    everyday = made.pictures(rows, np.full(8, 1))
    assert everyday.shape == (8, 3, 160, 160)
    pasted = made.pictures(rows, np.full(8, plushes.PASTED[0]))
    assert (pasted[:, :, 0, 0] == [0, 255, 0]).all(1).sum() >= 6  # corners show the photo
    assert not (everyday[:, :, 0, 0] == [0, 255, 0]).all(1).any()
    for pair in range(4):
        one, other = made.attributes[2 * pair], made.attributes[2 * pair + 1]
        assert one != other
    before = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    again = plushes.Plushes(tmp_path, 3, threads=2, photos=behind)
    assert before == {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    np.testing.assert_array_equal(again.pictures(rows, np.full(8, 1)), everyday)
    near = made.alike(10, np.random.default_rng(0))
    values = [{made.attributes[2 * pair][name] for pair in near} for name in ("species", "color")]
    assert min(map(len, values)) == 1


def test_even_features_are_whitened_in_part():
    rng = np.random.default_rng(0)
    raw = (rng.normal(size=(40, 3, 12)) * np.linspace(0.2, 4.0, 12)).astype(np.float32)
    even = photos._even(raw).reshape(120, -1)
    standard = (raw - raw.mean((0, 1))) / (raw.std((0, 1)) + 1e-3)
    rows = standard.reshape(120, 12) / np.linalg.norm(standard.reshape(120, 12), axis=1, keepdims=True)
    rows = rows - rows.mean(0)
    _, scales, directions = np.linalg.svd(rows / np.sqrt(120), full_matrices=False)
    expected = rows @ directions.T / scales ** (2 * photos.EVENNESS)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(even @ even.T, expected @ expected.T, atol=1e-4)
