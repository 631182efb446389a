"""Exported translators, read by Hugging Face's library: equal logits, equal outputs of its own beam search.

Run alone:  pip install transformers && pytest tests/checkpoint/convert/test_translator_export_peer.py
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from masscli.api.model import load
from masscli.checkpoint.convert.import_ import import_folder
from masscli.checkpoint.convert.translator_export import export_translator
from masscli.generation.config import GenerationConfig
from tests.published import error_of
from tests.toy import WORDS, sentences
from tests.translators import (
    WITHOUT_COUNTERPART,
    framed_pair,
    logits_of,
    random_translator,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers: Any = pytest.importorskip(
        "transformers", reason="transformers is not installed"
    )

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("no_sync"),
]

CLASSES = {
    "default": "PegasusForConditionalGeneration",
    "tag": "PegasusForConditionalGeneration",
    "learned": "PegasusForConditionalGeneration",
    "shared": "PegasusForConditionalGeneration",
    "untied": "PegasusForConditionalGeneration",
    "bart": "BartForConditionalGeneration",
    "mbart": "MBartForConditionalGeneration",
    "m2m_100": "M2M100ForConditionalGeneration",
    "fsmt": "FSMTForConditionalGeneration",
    "marian": "MarianMTModel",
}


@pytest.mark.parametrize("shape", CLASSES)
def test_logits_and_beam_search_are_the_same(
    shape: str, toy: Path, tmp_path: Path
) -> None:
    run = random_translator(shape, toy, tmp_path / "run")
    export_translator(run, "en", "de", tmp_path / "theirs")
    peer, info = transformers.AutoModelForSeq2SeqLM.from_pretrained(
        tmp_path / "theirs", output_loading_info=True
    )
    assert type(peer).__name__ == CLASSES[shape]
    # FSMT calculates the tables of its sinusoids itself, and published models leave them out, too.
    calculated = {
        f"model.{stack}.embed_positions.weight" for stack in ("encoder", "decoder")
    }
    missing = set(info["missing_keys"])
    assert (
        not (missing - calculated if shape == "fsmt" else missing)
        and not info["unexpected_keys"]
        and not info["mismatched_keys"]
    )
    source, target = framed_pair(run)
    # With a cache, FSMT expects one position at a time and hides no later ones.
    with torch.no_grad():
        logits = peer.eval()(
            input_ids=source, decoder_input_ids=target, use_cache=False
        ).logits
    assert logits.sub(logits_of(run, source, target)).abs().max() < 1e-5

    # The tokenizer and the settings of the search come from the folder, too.
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    lines = [" ".join(WORDS["en"][word] for word in walk) for walk in sentences(12, 5)]
    forced = run.framing().forced_tokens("de")
    theirs = []
    for line in lines:
        inputs = tokenizer(line, return_tensors="pt")
        [output] = peer.generate(**inputs, min_new_tokens=3 + len(forced)).tolist()
        theirs.append(tuple(output[1 + len(forced) : -1]))
    search = GenerationConfig(
        early_stop=True,
        min_len=3,
        max_len_a=0,
        max_len_b=run.recipe.model.max_positions,
    )
    model = load(run.path, precision="fp32").text_model(source="en", target="de")
    ours = [
        n_best[0].hypothesis.ids
        for n_best in model.translator(model.decoder(search)).translate(
            lines, "en", "de"
        )
    ]
    # At the length limit their library ends a text at no cost, and masscli at the model's own.
    longest = run.recipe.model.max_positions - 1 - len(forced)
    ended = [
        number
        for number in range(len(lines))
        if max(len(ours[number]), len(theirs[number])) < longest
    ]
    assert [theirs[number] for number in ended] == [ours[number] for number in ended]
    assert len(ended) > 4 and len(set(theirs)) > 1


@pytest.mark.parametrize("shape", WITHOUT_COUNTERPART)
def test_a_model_without_a_counterpart_is_refused_by_name(
    shape: str, toy: Path, tmp_path: Path
) -> None:
    run = random_translator(shape, toy, tmp_path / "run")
    message, hint = error_of(
        lambda: export_translator(run, "en", "de", tmp_path / "theirs")
    )
    assert message.startswith(
        {"post": "norm is post: ", "xlm": "norm_eps is 1e-12: "}[shape]
    )
    assert hint == "CTranslate2 computes it: --to ctranslate2"
    assert not (tmp_path / "theirs").exists()


def test_the_tokenizer_gives_equal_ids_and_takes_names_of_special_pieces_for_text(
    toy: Path, tmp_path: Path
) -> None:
    run = random_translator("tag", toy, tmp_path / "run")
    notes = export_translator(run, "en", "de", tmp_path / "theirs")
    assert any(
        "its ids were equal on all" in note and str(toy) in note for note in notes
    )
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    ours = run.tokenizer()
    for text in ("ba be", "", "  ba\t be ", "zzz ßß ba", "<s> ba </s>", "▁ba", "ｂａ"):
        framed = run.framing().encoder_input(ours.encode(text, "en"), "en").tolist()
        assert theirs(text).input_ids == framed, text


@pytest.mark.parametrize(
    "shape", ["default", "tag", "learned", "bart", "mbart", "m2m_100", "marian"]
)
def test_an_export_can_be_imported_again(shape: str, toy: Path, tmp_path: Path) -> None:
    run = random_translator(shape, toy, tmp_path / "run")
    export_translator(run, "en", "de", tmp_path / "theirs")
    path, _ = import_folder(
        tmp_path / "theirs", tmp_path / "again", ("en", "de"), allow_pickle=False
    )
    lines = [" ".join(WORDS["en"][word] for word in walk) for walk in sentences(12, 5)]
    search: dict[str, Any] = {
        "beam": 3,
        "nbest": 3,
        "early_stop": True,
        "max_len_a": 0,
        "max_len_b": 20,
    }
    ours, again = (
        load(checkpoint, precision="fp32").translate_nbest(lines, "en", "de", **search)
        for checkpoint in (run.path, path)
    )
    assert [[t.pieces for t in n_best] for n_best in again] == [
        [t.pieces for t in n_best] for n_best in ours
    ]
    for mine, yours in zip(ours, again, strict=True):
        assert [t.score for t in yours] == pytest.approx(
            [t.score for t in mine], abs=1e-4
        )


def test_no_tokenizer_is_written_where_one_id_would_differ(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = random_translator("default", toy, tmp_path / "run")
    tokenizer = type(run.tokenizer())
    encode = tokenizer.encode
    monkeypatch.setattr(
        tokenizer,
        "encode",
        lambda self, line, language: encode(self, line, language)[::-1],
    )
    notes = export_translator(run, "en", "de", tmp_path / "theirs")
    assert any(
        "no tokenizer: one of Hugging Face's would give other ids for" in note
        for note in notes
    )
    assert sorted(path.name for path in (tmp_path / "theirs").iterdir()) == [
        "config.json",
        "generation_config.json",
        "masscli",
        "model.safetensors",
    ]


def test_generation_settings_are_those_of_our_search(toy: Path, tmp_path: Path) -> None:
    run = random_translator("default", toy, tmp_path / "run")
    export_translator(run, "en", "de", tmp_path / "theirs")
    settings = json.loads(
        (tmp_path / "theirs" / "generation_config.json").read_text(encoding="utf-8")
    )
    vocab = run.tokenizer().vocab
    assert settings["num_beams"] == GenerationConfig().beam
    assert (settings["early_stopping"], settings["max_length"]) == (True, 41)
    assert settings["eos_token_id"] == settings["forced_eos_token_id"] == vocab.eos
    assert (
        vocab.eos not in settings["suppress_tokens"]
        and vocab.pad in settings["suppress_tokens"]
    )
