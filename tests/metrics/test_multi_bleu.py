"""BLEU of Moses tokens, as papers report it."""

from __future__ import annotations

import pytest

from masscli.core.config import ConfigError, from_dict
from masscli.metrics import score
from masscli.metrics.config import ScoreConfig


def test_the_papers_references_are_normalized() -> None:
    """A hypothesis of normalized text against a reference that is not."""
    told, real = (
        ['she said "yes" - it \'s late ...'],
        ["she said \u00ab yes \u00bb \u2013 it \u2019s late \u2026"],
    )
    plain, normal = (
        score(told, [real], ScoreConfig(metric=("multi-bleu",), normalize=asked))[0]
        for asked in (False, True)
    )
    assert (
        plain.value < normal.value == pytest.approx(100)
        and "tok:moses-en-normalized|" in normal.signature
    )


def test_tokenized_text_is_what_this_metric_is_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """SacreBLEU warns of lines that end with a period of its own, which it takes for a mistake."""
    lines = [f"line {n} of a text ." for n in range(200)]
    [found] = score(lines, [lines], ScoreConfig(metric=("multi-bleu",)))
    assert found.value == pytest.approx(100)
    assert caplog.records == []


def test_romanian_is_scored_as_in_the_papers() -> None:
    hypotheses, references = (
        ["Tara si campul sunt aici ."],
        [["Ţara şi câmpul sunt aici."]],
    )
    plain = score(
        hypotheses,
        references,
        ScoreConfig(metric=("multi-bleu",), lang="ro", plain_romanian=True),
    )[0]
    assert (
        plain.value == pytest.approx(100.0)
        and "moses-ro-normalized-no-diacritics" in plain.signature
    )
    marked = score(
        hypotheses, references, ScoreConfig(metric=("multi-bleu",), lang="ro")
    )[0]
    assert marked.value < 50 and "diacritics" not in marked.signature
    with pytest.raises(
        ConfigError, match="plain_romanian: goes with --metric multi-bleu --lang ro"
    ):
        from_dict(ScoreConfig, {"plain_romanian": True})
