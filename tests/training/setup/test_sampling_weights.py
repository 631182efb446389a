"""How often each language is read, by the sizes of their texts and --lang-temperature."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import succeed
from tests.toy import WORDS, sentences
from tests.training.setup.test_unused_options import SMALL, composed


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with 90 lines of English and 10 of German."""
    folder = tmp_path_factory.mktemp("uneven")
    for language, count in (("en", 90), ("de", 10)):
        lines = [
            " ".join(WORDS[language][word] for word in walk)
            for walk in sentences(count, 3)
        ]
        (folder / f"{language}.txt").write_text(
            "".join(f"{line}\n" for line in lines), encoding="utf-8"
        )
    mono = [f"--mono={language}={folder / language}.txt" for language in ("en", "de")]
    succeed(
        [
            "preprocess",
            "--langs=en,de",
            *mono,
            "--vocab-size=90",
            "--destdir",
            str(folder / "data"),
        ]
    )
    return folder / "data"


@pytest.mark.parametrize(("temperature", "ratio"), [(1, 9.0), (2, 3.0), (1000, 1.0)])
def test_temperature_flattens_the_shares_of_languages(
    uneven: Path, temperature: int, ratio: float
) -> None:
    recipe = composed(
        str(uneven), *SMALL, "--objective", "mass", f"--lang-temperature={temperature}"
    )
    weights = {
        stream.dataset: stream.sampling_weight for stream in recipe.stream.values()
    }
    assert weights["en"] / weights["de"] == pytest.approx(ratio, rel=0.01)
