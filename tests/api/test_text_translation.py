"""Text of many sentences and lines: its shape is kept, and its sentences are translated as if they stood alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

import masscli
from masscli.api.text_model import TextModel
from masscli.api.text_translation import TextTranslator
from masscli.api.writing_task import WritingTask
from masscli.generation.config import GenerationConfig
from masscli.generation.hypotheses import Hypothesis
from masscli.generation.translation import Report, Translation


class Dictionary:
    """Stands for a model: it upper-cases a sentence, loses braces, and knows the scores of two hypotheses."""

    class ensemble:  # noqa: N801
        class framing:  # noqa: N801
            class vocab:  # noqa: N801
                languages = ("en", "de")

    def __init__(self, source: str = "en", target: str = "de") -> None:
        self.task = WritingTask(source, target, None)
        self.asked: list[list[str]] = []

    def decoder(self, search: GenerationConfig, seed: int) -> Any:
        return self

    def translator(self, decoder: Any) -> Any:
        return self

    report = Report()

    def translate(self, lines: list[str], source: str, target: str) -> Any:
        self.asked.append(list(lines))
        for line in lines:
            scores = (-0.5,) * len(line.split())
            n_best = []
            for suffix in ("", "!"):
                text = line.upper().replace("{", "").replace("}", "") + suffix
                n_best.append(
                    Translation(
                        text, Hypothesis((), -0.5, scores, False), tuple(line.split())
                    )
                )
            yield n_best if line else n_best[:1]


def translator(model: Dictionary, **options: Any) -> TextTranslator:
    return TextTranslator(
        cast(TextModel, model), GenerationConfig(beam=2, nbest=2), **options
    )


SHAPES = [
    "one line",
    "",
    "\n\n  two. Sentences here.\n\ttab. \n",
    "windows\r\nline ends\r\n",
    "Dr. Smith left. He said: 'Go!' Really.   Three spaces.",
]


@pytest.mark.parametrize("text", SHAPES)
def test_white_space_stays_and_everything_is_translated(text: str) -> None:
    translated = translator(Dictionary()).translate([text])[0]
    assert translated.text == text.upper()
    assert len(translated.lines) == text.count("\n") + 1


def test_sentences_of_all_texts_are_translated_together() -> None:
    model = Dictionary()
    texts = ["One. Two.", "Three."]
    assert [t.text for t in translator(model).translate(texts)] == [
        "ONE. TWO.",
        "THREE.",
    ]
    assert model.asked[0] == ["One.", "Two.", "Three."]
    whole = Dictionary()
    translator(whole, split=False).translate(texts)
    assert whole.asked[0] == texts
    # A summary is one of the whole line.
    summary = Dictionary("en", "en")
    translator(summary).translate(texts)
    assert summary.asked[0] == texts


def test_alternatives_join_the_sentences_of_a_rank() -> None:
    translated = translator(Dictionary()).translate(["One. Two.\nThree."])[0]
    assert translated.texts == ["ONE. TWO.\nTHREE.", "ONE.! TWO.!\nTHREE.!"]


def test_placeholders_pass_unchanged() -> None:
    text = "Hi {name}, <B>you</B> have {n} new.\n{only}\n <I>all</I> "
    translated = translator(Dictionary()).translate([text])[0]
    assert (
        translated.text == "HI {name}, <B>YOU</B> HAVE {n} NEW.\n{only}\n <I>ALL</I> "
    )
    lost = translator(Dictionary(), keep_placeholders=False).translate([text])[0]
    assert "{name}" not in lost.text
    # Nothing was generated for the second line.
    assert translated.lines[1].confidence == 1


def test_a_part_of_a_sentence_does_not_end_as_one() -> None:
    class WithStops(Dictionary):
        def translate(self, lines: list[str], source: str, target: str) -> Any:
            for translations in super().translate(lines, source, target):
                yield [
                    Translation(f"{t.text.rstrip(',.')}.", t.hypothesis, t.pieces)
                    for t in translations
                ]

    text = "Go to {x}, now. See {y} and {z}!"
    assert (
        translator(WithStops()).translate([text])[0].text
        == "GO TO {x}, NOW. SEE {y} AND {z}!"
    )


def test_confidence_is_the_mean_of_a_line() -> None:
    line = translator(Dictionary()).translate(["One two. Three."])[0].lines[0]
    assert line.confidence == pytest.approx(2.718281828**-0.5)
    assert line.flags == ("copied",)


def test_chinese_sentences_are_joined_as_the_target_writes_them() -> None:
    model = Dictionary("zh", "de")
    assert translator(model).translate(["a。b。"])[0].text == "A。 B。"
    assert translator(Dictionary("ja", "zh")).translate(["a。b。"])[0].text == "A。B。"


@pytest.mark.usefixtures("one_thread", "no_sync")
def test_with_a_model(toy: Path, tmp_path: Path) -> None:
    from tests.toy import recipe

    streams = {"pairs": {"dataset": "en-de", "objective": {"name": "translate"}}}
    list(
        masscli.finetune(
            recipe(toy, tmp_path / "run", "train.max_update=10", streams=streams)
        )
    )
    model = masscli.load(tmp_path / "run", device="cpu", precision="fp32")
    translated = model.translate_text("ba be bi.\n\n{x} bo bu", nbest=2)
    assert translated.lines[0].text == model.translate(["ba be bi."])[0]
    assert translated.lines[1].text == ""
    assert translated.lines[2].text.count("{x}") == 1
    assert 0 < translated.lines[0].confidence < 1
    long = model.translate_text(" ".join(["ba be bi bo"] * 20))
    assert "truncated" in long.lines[0].flags
    strange = model.translate_text("\u4e16\u754c\nba be")
    assert ["not-understood" in line.flags for line in strange.lines] == [True, False]
