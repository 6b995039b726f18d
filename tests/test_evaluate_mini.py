import numpy as np

from plushie_search.train import captions, evaluate_mini


def _plush(species, color):
    return {
        "species": species,
        "color": color,
        "second_color": None,
        "pattern": "plain",
        "pose": "sitting",
        "fur": "short",
        "accessories": [],
    }


def test_text_queries_have_enough_right_answers():
    plushes = [_plush("bear", "red")] * 6 + [_plush("duck", "red")] * 3
    for language in captions.LANGUAGES:
        texts, right = evaluate_mini.text_queries(plushes, language, 40)
        assert len(texts) == 40
        assert right.shape == (40, 9)
        assert (right.sum(1) >= 5).all()
        assert not (right[:, 6:] & ~right[:, :1]).any(), "what is true of a duck here is true of a bear, or of too few"
        assert (texts, right.tolist()) == (lambda again: (again[0], again[1].tolist()))(
            evaluate_mini.text_queries(plushes, language, 40)
        )


def test_interval_of_a_mean():
    assert evaluate_mini.interval(np.ones(50)) == (1.0, 1.0)
    low, high = evaluate_mini.interval(np.repeat([0.0, 1.0], 200))
    assert 0.44 < low < 0.46  # 0.5 - 1.96 * 0.5 / sqrt(400)
    assert 0.54 < high < 0.56
