"""A processor that lacks what the extension needs gets an ImportError that says so."""

import io

import pytest

from plushie_search import _cpu

HASWELL = "processor\t: 0\nflags\t\t: fpu sse2 movbe avx f16c fma abm bmi1 avx2 bmi2\n"


def test_a_processor_with_everything_is_accepted() -> None:
    assert _cpu.missing_features(HASWELL) == []


def test_the_missing_is_named() -> None:
    assert _cpu.missing_features(HASWELL.replace(" avx2", "").replace(" abm", "")) == ["avx2", "lzcnt"]
    assert _cpu.missing_features("flags: sse2 lzcnt") == list(_cpu.REQUIRED)


def test_a_text_without_flags_says_nothing() -> None:
    assert _cpu.missing_features("Processor: ARMv8\n") == []


def test_an_old_processor_gets_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("builtins.open", lambda *_, **__: io.StringIO("flags : fpu sse2 movbe abm"))
    with pytest.raises(ImportError, match=r"lacks avx, avx2, bmi1, bmi2, f16c, fma: install the wheel .* \+baseline$"):
        _cpu.check()
    with monkeypatch.context() as patch:
        patch.setattr("importlib.metadata.version", {"plushie_search": "1.2.3+baseline"}.__getitem__)
        _cpu.check()
    monkeypatch.setenv("PLUSHIE_SEARCH_ANY_CPU", "1")
    _cpu.check()
