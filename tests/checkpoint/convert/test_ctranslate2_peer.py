"""Exported translators, decoded by CTranslate2: equal scores of given texts, equal outputs of its beam search.

Run alone:  pip install ctranslate2 && pytest tests/checkpoint/convert/test_ctranslate2_peer.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from masscli.__main__ import run as masscli
from masscli.api.text_model import TextModel
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.ctranslate2_export import Quantization, export_ctranslate2
from masscli.checkpoint.convert.token_names import token_names
from masscli.generation.config import GenerationConfig
from tests.published import error_of
from tests.toy import WORDS, sentences
from tests.translators import SHAPES, random_translator

ctranslate2: Any = pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed")

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("no_sync")]
LINES = [" ".join(WORDS["en"][word] for word in walk) for walk in sentences(12, 5)]


def translate_alone(run: Checkpoint, folder: Path, beam: int) -> list[str]:
    """Translate as a user without masscli does: pieces in, pieces out."""
    tokenizer, framing = run.tokenizer(), run.framing()
    names = token_names(tokenizer)
    ids = {name: number for number, name in enumerate(names)}
    sources = []
    for line in LINES:
        source = tokenizer.encode(line, "en")
        # What cannot be said in config.json the export has told the user.
        if framing.suffix_length > 1:
            source = framing.encoder_input(source, "en").tolist()
        sources.append([names[number] for number in source])
    forced = [names[number] for number in framing.forced_tokens("de")]
    results = ctranslate2.Translator(str(folder)).translate_batch(
        sources,
        [forced] * len(sources),
        beam_size=beam,
        max_input_length=0,
        min_decoding_length=3,
        max_decoding_length=30,
    )
    outputs = [result.hypotheses[0][len(forced) :] for result in results]
    return [tokenizer.decode([ids[token] for token in tokens], "de") for tokens in outputs]


@pytest.mark.parametrize("shape", SHAPES)
def test_greedy_and_beam_search_are_the_same(shape: str, toy: Path, tmp_path: Path) -> None:
    run = random_translator(shape, toy, tmp_path / "run")
    export_ctranslate2(run, "en", "de", tmp_path / "theirs", "fp32")
    for beam in (1, 5):
        texts = translate_alone(run, tmp_path / "theirs", beam)
        search = GenerationConfig(beam=beam, early_stop=True, min_len=3, max_len_a=0, max_len_b=30)
        model = TextModel.open([run.path], source="en", target="de", precision="fp32")
        translator = model.translator(search)
        ours = [n_best[0].text for n_best in translator.translate(LINES, "en", "de")]
        # CTranslate2 does not end a text that reaches the length limit.
        ended = [number for number in range(len(LINES)) if number + 1 not in translator.report.hit_max_len]
        assert [texts[number] for number in ended] == [ours[number] for number in ended]
        assert len(ended) > 3


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_smaller_weights_are_written(precision: Quantization, toy: Path, tmp_path: Path) -> None:
    run = random_translator("default", toy, tmp_path / "run", dim=64, ffn_dim=256)
    sizes = []
    for quantization in ("fp32", precision):
        export_ctranslate2(run, "en", "de", tmp_path / quantization, quantization)
        sizes.append((tmp_path / quantization / "model.bin").stat().st_size)
    assert sizes[1] < {"fp16": 0.6, "int8": 0.45}[precision] * sizes[0]
    assert len(translate_alone(run, tmp_path / precision, 1)) == len(LINES)


def test_a_norm_that_ctranslate2_lacks_is_refused(toy: Path, tmp_path: Path) -> None:
    run = random_translator("post", toy, tmp_path / "run", final_norm="both")
    message, _ = error_of(lambda: export_ctranslate2(run, "en", "de", tmp_path / "theirs", "fp32"))
    assert message.startswith("final_norm is both: CTranslate2 has no norm at the end")
    assert not (tmp_path / "theirs").exists()


def test_the_command_says_what_to_install(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = random_translator("default", toy, tmp_path / "run")
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    assert masscli(["export", str(run.path), "--to", "ctranslate2", "-o", str(tmp_path / "theirs")]) == 2
    assert "pip install 'masscli[ct2]'" in capsys.readouterr().err
