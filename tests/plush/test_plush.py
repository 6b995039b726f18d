"""Plush toys from Python: the same bytes as in the core, with the attributes and captions that belong to them."""

import hashlib
import threading
import time

import numpy as np
import pytest

from plushie_search import _core

SCENES = ("studio", "everyday", "light", "pose", "occluded", "head_only", "cluttered")


def test_a_seed_is_a_toy():
    plush = _core.Plush(7)
    assert plush.seed == 7
    assert set(plush.attributes) == {
        "species", "color", "second_color", "pattern", "accessories", "pose", "fur", "eyes", "wear",
    }  # fmt: skip
    assert plush.attributes == _core.Plush(7).attributes
    assert plush.caption() == plush.caption("en")
    assert repr(plush) == f"<Plush 7: {plush.caption()}>"
    with pytest.raises(AttributeError):
        plush.seed = 8
    with pytest.raises(ValueError, match="no captions in language"):
        plush.caption("fr")


def test_captions_use_the_words():
    words = _core.plush_words()
    assert set(words) == {"species", "color", "pattern", "kind", "pose", "fur", "eyes", "wear"}
    for seed in range(50):
        plush = _core.Plush(seed)
        attributes = plush.attributes
        for language in ("en", "zh-Hans", "zh-Hant"):
            text = plush.caption(language)
            assert words["species"][attributes["species"]][language] in text
            assert words["color"][attributes["color"]][language] in text
            for one in attributes["accessories"]:
                assert words["color"][one["color"]][language] + (" " if language == "en" else "") in text
                assert words["kind"][one["kind"]][language] in text


def test_pictures_are_arrays():
    plush = _core.Plush(3)
    pictures = {scene: plush.render(size=48, view=5, scene=scene) for scene in SCENES}
    for scene, picture in pictures.items():
        assert picture.shape == (48, 48, 3)
        assert picture.dtype == np.uint8
        assert np.array_equal(picture, plush.render(size=48, view=5, scene=scene))
    assert len({hashlib.sha256(picture.tobytes()).digest() for picture in pictures.values()}) == len(SCENES)
    assert plush.render().shape == (224, 224, 3)


def test_a_cutout_is_the_picture_with_the_plush_marked():
    plush = _core.Plush(3)
    for scene in SCENES:
        cut = plush.cutout(size=64, view=5, scene=scene)
        assert np.array_equal(cut[..., :3], plush.render(size=64, view=5, scene=scene))
        assert set(np.unique(cut[..., 3])) == {0, 255}
    studio = plush.cutout(size=64, view=5)
    behind = studio[..., :3][studio[..., 3] == 0].astype(float)
    shown = studio[..., :3][studio[..., 3] == 255].astype(float)
    assert behind.std(0).max() < 15 < shown.std(0).max()
    assert studio[0, 0, 3] == 0
    assert studio[32, 32, 3] == 255
    with pytest.raises(ValueError, match="use 1 to 4096"):
        plush.cutout(size=0)


def test_many_pictures_are_the_same_as_each():
    seeds, views = [1, 2, 3, 1], [9, 8, 7, 9]
    many = _core.render_plushes(seeds, views, size=40, scene="everyday", threads=2)
    assert many.shape == (4, 40, 40, 3)
    for seed, view, picture in zip(seeds, views, many, strict=True):
        assert np.array_equal(picture, _core.Plush(seed).render(size=40, view=view, scene="everyday"))
    assert np.array_equal(many, _core.render_plushes(seeds, views, size=40, threads=1))
    assert _core.render_plushes([], [], size=40).shape == (0, 40, 40, 3)


def test_lookalikes_and_given_attributes():
    plush = _core.Plush(20)
    other = plush.lookalike(1)
    changed = {name for name, value in plush.attributes.items() if other.attributes[name] != value}
    assert len(changed) == 1
    assert changed <= {"color", "second_color", "accessories"}
    again = _core.Plush.with_attributes(20, other.attributes)
    assert np.array_equal(again.render(size=32), other.render(size=32))
    assert not np.array_equal(plush.render(size=32), other.render(size=32))
    with pytest.raises(ValueError, match="attributes of a plush"):
        _core.Plush.with_attributes(20, {"species": "dragon"})


def test_bad_arguments_are_errors():
    with pytest.raises(ValueError, match="no scene"):
        _core.Plush(0).render(scene="stage")
    with pytest.raises(ValueError, match="0 x 0 pixels"):
        _core.Plush(0).render(size=0)
    with pytest.raises(ValueError, match="2 seeds but 1 views"):
        _core.render_plushes([1, 2], [1])
    with pytest.raises(OverflowError):
        _core.Plush(-1)


def test_drawing_lets_other_threads_run():
    done = threading.Event()
    worker = threading.Thread(
        target=lambda: (_core.render_plushes(list(range(60)), list(range(60)), size=96, threads=1), done.set())
    )
    worker.start()
    turns = 0
    while not done.is_set():
        turns += 1
        time.sleep(0.001)
    worker.join()
    assert turns > 5
