"""Tests from lines to lines with random models: order, batches, ensembles, scoring, the command."""

from __future__ import annotations

import copy
import io
import json
import math
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from torch import nn

from masscli.__main__ import run as masscli
from masscli.checkpoint import saving
from masscli.checkpoint.run_state import RunState
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Tokens, pad
from masscli.data.batches.framing import Framing
from masscli.generation.config import GenerationConfig
from masscli.generation.decoder import Decoder
from masscli.generation.translator import Translator
from masscli.models.config import ModelConfig
from masscli.models.int8 import ENGINE, to_int8
from masscli.models.transformer import Transformer
from masscli.objectives.translate.options import TranslateOptions
from masscli.reporting.score_log import read_scores
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from masscli.training.recipe import Recipe, StreamConfig
from tests.commands import succeed

WORDS = [
    "the",
    "one",
    "red",
    "blue",
    "small",
    "man",
    "woman",
    "dog",
    "cat",
    "child",
    "sees",
    "hears",
    "likes",
    "in",
    "on",
    "house",
    "tree",
]
MAX_POSITIONS = 40


def sentences(count: int, seed: int, longest: int = 12) -> list[str]:
    draw = random.Random(seed)
    return [
        " ".join(draw.choices(WORDS, k=draw.randint(1, longest))) for _ in range(count)
    ]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("vocabulary")
    return Tokenizer.train(
        iter(sentences(300, 0)),
        vocab_size=80,
        preprocessing=TextPreprocessing(),
        languages=["en", "de"],
        folder=folder,
    )


def make_model(tokenizer: Tokenizer, seed: int = 1, **options: Any) -> Transformer:
    """Random weights."""
    torch.manual_seed(seed)
    chosen: dict[str, Any] = {
        "languages": "embedding",
        "max_positions": MAX_POSITIONS,
        "dropout": 0.0,
        **options,
    }
    config = ModelConfig(
        dim=32, ffn_dim=64, heads=2, encoder_layers=2, decoder_layers=2, **chosen
    )
    return Transformer(config, tokenizer.vocab.size, ("en", "de")).eval()


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Transformer:
    """Taught for two seconds to copy, so that outputs are as different as their sources and end somewhere."""
    learner, vocab = make_model(tokenizer), tokenizer.vocab
    optimizer = torch.optim.Adam(learner.parameters(), 5e-3)
    for step in range(120):
        ids = [
            np.asarray(row, np.int64)
            for row in tokenizer.encode_lines(sentences(32, 100 + step, 8), "en")
        ]
        source, lengths = pad([np.append(row, vocab.eos) for row in ids], vocab.pad)
        read, _ = pad([np.insert(row, 0, vocab.bos) for row in ids], vocab.pad)
        languages = torch.zeros(32, dtype=torch.int64)
        memory = learner.encode(Tokens(source, lengths, language=languages))
        hidden = learner.decode(Tokens(read, lengths, language=languages + 1), memory)
        loss = nn.functional.cross_entropy(
            learner.logits(hidden).flatten(0, 1),
            source.flatten(),
            ignore_index=vocab.pad,
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return learner.eval().requires_grad_(False)


def make_framing(tokenizer: Tokenizer, **options: Any) -> Framing:
    return Framing(
        **{
            "vocab": tokenizer.vocab,
            "source_bos": False,
            "language_tag": False,
            "languages": ("en", "de"),
            **options,
        }
    )


def make(
    tokenizer: Tokenizer, *models: Transformer, batch_tokens: int = 8000, **options: Any
) -> Translator:
    config = GenerationConfig(
        **{"beam": 4, "max_len_a": 0.7, "max_len_b": 8, **options}
    )
    decoder = Decoder(
        models, make_framing(tokenizer), config, batch_tokens=batch_tokens
    )
    return Translator(decoder, tokenizer, buffer_size=12)


LINES = ["", *sentences(7, 1), "   ", *sentences(8, 2), "the " * 60, "red"]


@pytest.mark.parametrize(
    "options",
    [
        {"nbest": 3},
        {"beam": 1},
        {"diverse_beam_groups": 2, "nbest": 2},
        {"sampling": True, "sampling_topk": 10, "nbest": 4},
        {"no_repeat_ngram_size": 2, "min_len": 3, "early_stop": True},
    ],
    ids=str,
)
def test_results_do_not_depend_on_batches_or_order(
    tokenizer: Tokenizer, model: Transformer, options: dict[str, Any]
) -> None:
    """Token-identical in fp32: many in a batch, one at a time, shuffled."""
    together = list(make(tokenizer, model, **options).translate(LINES, "en", "de"))
    assert len(together) == len(LINES)
    assert all(
        len(found) == options.get("nbest", 1)
        for line, found in zip(LINES, together, strict=True)
        if line.strip()
    )
    ids = [[t.hypothesis.ids for t in found] for found in together]
    alone = make(tokenizer, model, batch_tokens=1, **options).translate(
        LINES, "en", "de"
    )
    assert [[t.hypothesis.ids for t in found] for found in alone] == ids
    order = random.Random(5).sample(range(len(LINES)), len(LINES))
    shuffled = list(
        make(tokenizer, model, batch_tokens=300, **options).translate(
            [LINES[i] for i in order], "en", "de"
        )
    )
    assert [[t.hypothesis.ids for t in found] for found in shuffled] == [
        ids[i] for i in order
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"nbest": 3},
        {"sampling": True, "sampling_topk": 10, "nbest": 4},
    ],
    ids=str,
)
def test_results_do_not_depend_on_threads(
    tokenizer: Tokenizer, model: Transformer, options: dict[str, Any]
) -> None:
    """Each of four threads decodes 15 of the 60 sentences of a batch."""
    sources = [np.asarray(tokenizer.encode(line, "en")) for line in sentences(60, 9)]
    decoder = make(tokenizer, model, **options).decoder
    alone = decoder.generate(sources, "en", "de")
    torch.set_num_threads(4)
    try:
        shared = decoder.generate(sources, "en", "de")
    finally:
        torch.set_num_threads(1)
    for expected, found in zip(alone, shared, strict=True):
        assert [h.ids for h in found] == [h.ids for h in expected]
        scores = [h.score for h in expected]
        assert [h.score for h in found] == pytest.approx(scores, abs=1e-5)


@pytest.mark.skipif(
    ENGINE not in torch.backends.quantized.supported_engines,
    reason="no 8-bit kernels for this processor",
)
def test_results_in_8_bits_do_not_depend_on_batches(
    tokenizer: Tokenizer, model: Transformer
) -> None:
    rounded = to_int8(copy.deepcopy(model))
    together = list(make(tokenizer, rounded).translate(LINES, "en", "de"))
    alone = list(make(tokenizer, rounded, batch_tokens=1).translate(LINES, "en", "de"))
    assert [found[0].text for found in alone] == [found[0].text for found in together]
    exact = list(make(tokenizer, model).translate(LINES, "en", "de"))
    same = sum(a[0].text == b[0].text for a, b in zip(together, exact, strict=True))
    assert same >= len(LINES) - 4


def test_every_line_is_accounted_for(tokenizer: Tokenizer, model: Transformer) -> None:
    translator = make(tokenizer, model)
    outputs = list(translator.translate(LINES, "en", "de"))
    report = translator.report
    assert (report.lines, report.empty, report.truncated) == (19, [1, 9], [18])
    assert [outputs[n - 1][0].text for n in report.empty] == ["", ""]
    assert report.hit_max_len == [
        n for n, found in enumerate(outputs, 1) if found[0].hypothesis.hit_max_len
    ]
    assert report.tokens == sum(
        len(found[0].hypothesis.token_scores) for found in outputs
    )


def test_the_length_limit_follows_from_the_source(tokenizer: Tokenizer) -> None:
    never = make_model(tokenizer, output_bias=True)
    with torch.no_grad():
        never.output_biases["shared"][tokenizer.vocab.eos] = -1000.0
    for a, b, limit in ((2.0, 3, 17), (0.0, 5, 5), (0.0, 500, MAX_POSITIONS - 1)):
        found = make(
            tokenizer, never, max_len_a=a, max_len_b=b, min_len=limit
        ).decoder.generate([np.arange(20, 27)], "en", "de")
        assert len(found[0][0].ids) == limit
        assert found[0][0].hit_max_len


@pytest.mark.parametrize("lenpen", [0.0, 1.0])
@pytest.mark.parametrize("count", [1, 2], ids=["model", "ensemble"])
def test_scoring_an_output_gives_its_score(
    tokenizer: Tokenizer, model: Transformer, count: int, lenpen: float
) -> None:
    """The cached search and teacher forcing agree, piece by piece."""
    decoder = make(
        tokenizer, *[model, make_model(tokenizer, 2)][:count], lenpen=lenpen, nbest=2
    ).decoder
    sources = [
        np.asarray(ids) for ids in tokenizer.encode_lines(sentences(12, 3), "en")
    ]
    found = [hypotheses[1] for hypotheses in decoder.generate(sources, "en", "de")]
    scored = decoder.score(
        sources, [np.asarray(h.ids, np.int64) for h in found], "en", "de"
    )
    for one, two in zip(found, scored, strict=True):
        assert one.ids == two.ids
        assert one.score == pytest.approx(two.score, abs=1e-4)
        assert one.token_scores == pytest.approx(two.token_scores, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "framing"),
    [
        ({"languages": "none"}, {"languages": ()}),
        ({"languages": "tag"}, {"languages": (), "language_tag": True}),
        (
            {"norm": "pre", "positions": "learned", "cross_output": "language"},
            {"source_bos": True},
        ),
    ],
    ids=["none", "tag", "xlm"],
)
def test_all_ways_to_mark_the_language_agree(
    tokenizer: Tokenizer, options: dict[str, Any], framing: dict[str, Any]
) -> None:
    decoder = Decoder(
        [make_model(tokenizer, **options)],
        make_framing(tokenizer, **framing),
        GenerationConfig(beam=3, max_len_b=8),
    )
    sources = [np.asarray(ids) for ids in tokenizer.encode_lines(sentences(6, 4), "en")]
    found = [hypotheses[0] for hypotheses in decoder.generate(sources, "en", "de")]
    scored = decoder.score(
        sources, [np.asarray(h.ids, np.int64) for h in found], "en", "de"
    )
    assert [h.score for h in found] == pytest.approx(
        [h.score for h in scored], abs=1e-4
    )


def test_the_target_language_matters(tokenizer: Tokenizer, model: Transformer) -> None:
    decoder = make(tokenizer, model).decoder
    sources = [np.asarray(ids) for ids in tokenizer.encode_lines(sentences(6, 4), "en")]
    assert decoder.generate(sources, "en", "de") != decoder.generate(
        sources, "en", "en"
    )


def test_an_ensemble_of_one_model_twice_is_that_model(
    tokenizer: Tokenizer, model: Transformer
) -> None:
    one = [found[0] for found in make(tokenizer, model).translate(LINES, "en", "de")]
    two = [
        found[0] for found in make(tokenizer, model, model).translate(LINES, "en", "de")
    ]
    assert [t.text for t in one] == [t.text for t in two]
    assert [t.hypothesis.score for t in one] == pytest.approx(
        [t.hypothesis.score for t in two], abs=1e-5
    )


def test_the_mode_of_a_model_in_training_is_restored(tokenizer: Tokenizer) -> None:
    model = make_model(tokenizer, dropout=0.3)
    sources = [np.asarray(ids) for ids in tokenizer.encode_lines(sentences(6, 4), "en")]
    still = make(tokenizer, model).decoder.generate(sources, "en", "de")
    model.train()
    assert make(tokenizer, model).decoder.generate(sources, "en", "de") == still
    assert model.training and all(module.training for module in model.modules())


def test_a_broken_model_is_an_error_not_a_translation(tokenizer: Tokenizer) -> None:
    model = make_model(tokenizer)
    with torch.no_grad():
        model.token_embeddings["shared"][30].fill_(math.nan)
    with pytest.raises(MasscliError, match=r"^the model's output is not a number$"):
        list(make(tokenizer, model).translate(["red dog"], "en", "de"))


def test_impossible_requirements_on_outputs_are_refused(
    tokenizer: Tokenizer, model: Transformer
) -> None:
    """The decoder has 40 positions, of which the start symbol takes one. It was cut off without a word."""
    word = "dog"
    assert len(tokenizer.encode(word, "de")) == 1

    def refusal(text: str, prefix_size: int, constrained: bool) -> str:
        size = {"prefix_size": prefix_size} if prefix_size else {}
        translator = make(tokenizer, model, beam=2, **size)
        texts = ["", text]
        outputs = translator.translate(
            ["red dog", "dog"],
            "en",
            "de",
            texts if prefix_size else None,
            texts if constrained else None,
        )
        with pytest.raises(MasscliError) as error:
            list(outputs)
        return error.value.message

    most = "the model generates at most 39"
    long, half = " ".join([word] * 40), " ".join([word] * 20)
    assert refusal(long, 40, False) == f"--prefix: line 2 has 40 pieces, {most}"
    assert refusal(long, 0, True) == f"--constraints: line 2 has 40 pieces, {most}"
    assert (
        refusal(half, 20, True)
        == f"--prefix and --constraints: line 2 has 40 pieces, {most}"
    )
    fits = make(tokenizer, model, prefix_size=39)
    [[found]] = fits.translate(["dog"], "en", "de", [long])
    assert found.text == " ".join([word] * 39)
    with pytest.raises(MasscliError) as error:
        make(tokenizer, model, min_len=40)
    assert error.value.message == f"--min-len 40: {most} pieces"


def test_prefixes_begin_each_output(tokenizer: Tokenizer, model: Transformer) -> None:
    prefixes = sentences(len(LINES), 9)
    outputs = make(tokenizer, model, prefix_size=2).translate(
        LINES, "en", "de", prefixes
    )
    for line, prefix, actual in zip(LINES, prefixes, outputs, strict=True):
        expected = tuple(tokenizer.encode(prefix, "de")[:2]) if line.strip() else ()
        assert actual[0].hypothesis.ids[: len(expected)] == expected
    fewer = (prefixes[1:], "--prefix has 18 lines, the input has more")
    for wrong, message in (
        fewer,
        ([*prefixes, "x"], "--prefix has more lines than the input, which has 19"),
    ):
        with pytest.raises(MasscliError) as error:
            list(
                make(tokenizer, model, prefix_size=2).translate(
                    LINES, "en", "de", wrong
                )
            )
        assert error.value.message == message


# -- the command ------------------------------------------------------------------------------------


def save_run(
    folder: Path,
    tokenizer: Tokenizer,
    model: Transformer,
    streams: tuple[str, ...] = ("en-de",),
) -> None:
    stream = {
        name: StreamConfig(dataset=name, objective=TranslateOptions(name="translate"))
        for name in streams
    }
    recipe = Recipe(model=model.config, stream=stream)
    state = RunState(step=5, languages=("en", "de"))
    saved = saving.save_checkpoint(
        folder / "checkpoints", recipe, state, tokenizer, model=model.state_dict()
    )
    saving.link_checkpoint(folder / "checkpoints", "last", saved)


@pytest.fixture
def folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tokenizer: Tokenizer,
    model: Transformer,
) -> Path:
    """A working folder with a run in runs/ende and LINES in in.en."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    save_run(tmp_path / "runs" / "ende", tokenizer, model)
    (tmp_path / "in.en").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return tmp_path


SEARCH = ["--beam", "3", "--max-len-a", "0.7", "--max-len-b", "8"]


def generate(
    capfd: pytest.CaptureFixture[str], *args: str
) -> tuple[int, list[str], str]:
    search = [] if "--score-reference" in args else SEARCH
    code = masscli(
        ["generate", *args, *search, "--device", "cpu", "--precision", "fp32"]
    )
    out, err = capfd.readouterr()
    return code, out.splitlines(), err


def test_lines_in_lines_out(
    folder: Path,
    tokenizer: Tokenizer,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, out, err = generate(capfd, "--input", "in.en")
    assert code == 0 and len(out) == len(LINES) and out[0] == out[8] == ""
    assert "run: runs/ende\n" in err
    assert "warning: line 18 was truncated to the 39 pieces the model reads\n" in err
    assert "translated 19 lines in " in err and "; 2 empty, 1 truncated, " in err
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO(("\n".join(LINES)).encode()))
    )
    assert generate(capfd, "runs/ende", "-s", "en", "-t", "de")[1] == out
    assert generate(capfd, "runs/ende", "-i", "in.en", "-o", "hyp.de")[1] == []
    assert (folder / "hyp.de").read_text(encoding="utf-8").splitlines() == out
    assert len(
        generate(capfd, "runs/ende", "--input", "in.en", "--nbest", "3")[1]
    ) == 3 * len(LINES)
    step = "runs/ende/checkpoints/step-0000005"
    assert generate(capfd, f"{step}:{step}", "--input", "in.en")[1] == out


def test_formats(
    folder: Path, tokenizer: Tokenizer, capfd: pytest.CaptureFixture[str]
) -> None:
    plain = generate(capfd, "--input", "in.en")[1]
    rows = [
        json.loads(line)
        for line in generate(
            capfd, "--input", "in.en", "--nbest", "2", "--format", "jsonl"
        )[1]
    ]
    assert [row["line"] for row in rows] == list(range(1, 20))
    assert [row["source"] for row in rows] == LINES
    assert [row["hypotheses"][0]["text"] for row in rows] == plain
    best = rows[1]["hypotheses"][0]
    assert best["tokens"][-1] == "</s>"
    assert best["score"] == pytest.approx(
        sum(best["token_scores"]) / len(best["tokens"]), abs=1e-5
    )
    (folder / "ref.de").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    fairseq = generate(
        capfd, "--input", "in.en", "--format", "fairseq", "--reference", "ref.de"
    )[1]
    assert [line[0] for line in fairseq] == list("STHDP") * 19
    fields = dict(line.split("\t", 1) for line in fairseq)
    assert fields["S-1"] == " ".join(
        tokenizer.ids_to_pieces(tokenizer.encode(LINES[1], "en"))
    )
    assert fields["T-1"] == LINES[1]
    score, text = fields["D-1"].split("\t")
    assert text == plain[1] and float(score) * math.log(2) == pytest.approx(
        best["score"]
    )
    assert [float(p) * math.log(2) for p in fields["P-1"].split()] == pytest.approx(
        best["token_scores"], abs=1e-4
    )


def test_references_are_scored(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [
        json.loads(line)
        for line in generate(capfd, "--input", "in.en", "--format", "jsonl")[1]
    ]
    hypotheses = [row["hypotheses"][0] for row in rows]
    (folder / "hyp.de").write_text(
        "".join(f"{h['text']}\n" for h in hypotheses), encoding="utf-8"
    )
    code, scores, err = generate(
        capfd, "--input", "in.en", "--score-reference", "hyp.de"
    )
    assert code == 0 and len(scores) == 19 and "scored 19 lines" in err
    rows = [
        json.loads(line)
        for line in generate(
            capfd, "-i", "in.en", "--score-reference", "hyp.de", "--format", "jsonl"
        )[1]
    ]
    again = [row["hypotheses"][0] for row in rows]
    same = [
        n
        for n in range(1, 19)
        if LINES[n].strip() and again[n]["tokens"] == hypotheses[n]["tokens"]
    ]
    assert (
        len(same) > 10
    )  # the text of an output may be cut into other pieces than those it was made of
    assert [float(scores[n]) for n in same] == pytest.approx(
        [hypotheses[n]["score"] for n in same], abs=1e-4
    )


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (
            ["runs/nothing"],
            "runs/nothing: no such run or checkpoint",
            "train one with `masscli pretrain` or `masscli finetune`",
        ),
        (
            ["in.en"],
            "in.en: is a file, expected the folder of a run or of a checkpoint",
            "name that folder, or give text with --input in.en or on standard input",
        ),
        (["--input", "."], ".: is a folder, expected a text file", None),
        (["--input", "in.fr"], "in.fr: no such file", "in {folder} there is in.en"),
        (
            ["-i", "in.en", "-t", "fr"],
            "--target-lang fr: the model does not know this language",
            "it knows en, de",
        ),
        (
            ["-i", "in.en", "-s", "de"],
            "the run was not trained to translate from de",
            "it was trained for en-de; -s and -t together choose another direction",
        ),
        (
            ["-i", "in.en", "--prefix-size", "3"],
            "--prefix and --prefix-size belong together",
            "--prefix FILE --prefix-size N",
        ),
        (
            ["-i", "in.en", "--closest-to-reference", "chrf"],
            "--closest-to-reference: needs references: --reference FILE or --gen-subset SPLIT",
            "masscli generate --help",
        ),
        (
            "-i in.en --reference in.en --closest-to-reference chrf --mbr".split(),
            "--closest-to-reference chooses among several outputs",
            "give --beam 5, without --mbr",
        ),
        (
            ["-i", "in.en", "--tag", "model=x"],
            "--tag: would have no effect: tags are written to the log of --append",
            None,
        ),
        (
            ["-i", "in.en", "-o", "no/hyp.de"],
            "--output no/hyp.de: its folder does not exist",
            "name a file in a folder that exists",
        ),
        (
            ["-i", "in.en", "--nbest", "9"],
            "--nbest: must lie between 1 and --beam (3), got 9",
            "masscli generate --help",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    args: list[str],
    message: str,
    hint: str | None,
) -> None:
    code, out, err = generate(capfd, *args)
    assert (code, out) == (2, [])
    messages = [
        line for line in err.splitlines() if line.startswith(("error: ", "hint: "))
    ]
    assert messages[0] == f"error: {message}"
    assert hint is None or messages[1] in (
        f"hint: {hint}",
        f"hint: {hint.format(folder='.')}",
    )


def test_other_mistakes(
    folder: Path,
    tokenizer: Tokenizer,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    save_run(
        folder / "runs" / "both", tokenizer, make_model(tokenizer), ("en-de", "de-en")
    )
    assert (
        "hint: choose it with -s and -t; the run was trained for en-de, de-en\n"
        in generate(capfd, "runs/both", "-i", "in.en")[2]
    )
    assert generate(capfd, "runs/both", "runs/ende", "-i", "in.en", "-t", "de")[0] == 0
    twice = generate(capfd, "runs/ende", "runs/both/../ende", "-i", "in.en")
    assert "is in the ensemble twice, and so counts twice\n" in twice[2]
    # The second model of an ensemble, too, should have learned the direction.
    reverse = generate(
        capfd, "runs/both", "runs/ende", "-i", "in.en", "-s", "de", "-t", "en"
    )
    assert (
        "warning: runs/ende: was not trained to translate de-en\n" in reverse[2]
        and "runs/both: was" not in reverse[2]
    )
    other = Tokenizer.train(
        iter(sentences(300, 7)),
        vocab_size=70,
        preprocessing=TextPreprocessing(),
        languages=["en", "de"],
        folder=tmp_path / "v",
    )
    save_run(folder / "runs" / "other", other, make_model(other))
    message = "error: runs/other: has a different vocabulary from runs/ende\nhint: the models of an ensemble must share one\n"
    assert message in generate(capfd, "runs/ende", "runs/other", "-i", "in.en")[2]


def test_no_half_written_output(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.en").write_bytes(b"red dog\n" * 5000 + b"\xff\xfe\n")
    (folder / "hyp.de").write_text("what was there\n", encoding="utf-8")
    code, _, err = generate(
        capfd, "-i", "bad.en", "-o", "hyp.de", "--buffer-size", "10"
    )
    assert code == 2 and "error: bad.en:5001: not UTF-8" in err
    assert (folder / "hyp.de").read_text(encoding="utf-8") == "what was there\n"
    assert sorted(p.name for p in folder.iterdir()) == [
        "bad.en",
        "hyp.de",
        "in.en",
        "runs",
    ]


def test_one_line_is_singular_and_markup_is_refused(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "one.en").write_text("red dog\n", encoding="utf-8")
    _, expected, err = generate(capfd, "-i", "one.en")
    assert "translated 1 line in " in err
    (folder / "one.sgm").write_text(
        '<srcset><doc docid="a"><seg id="1">red dog</seg></doc></srcset>\n'
    )
    for options in (["-i", "one.sgm"], ["-i", "one.en", "--reference", "one.sgm"]):
        assert generate(capfd, *options)[1] == expected
    constrained = generate(capfd, "-i", "one.en", "--constraints", "one.sgm")
    assert constrained[0] == 2
    assert "error: one.sgm: .sgm is markup and not lines of text" in constrained[2]


def test_examples_in_the_place_of_text_are_named(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "x.jsonl").write_text("red dog\n", encoding="utf-8")
    given = ["-i", "x.jsonl", "--reference", "x.jsonl"]
    for options in (given, ["-i", "x.jsonl", "--score-reference", "x.jsonl"]):
        _, _, err = generate(capfd, *options)
        named = [
            line for line in err.splitlines() if "x.jsonl: is read as text" in line
        ]
        assert len(named) == 2


def test_no_run_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = generate(capfd)
    assert code == 2
    assert (
        err
        == "error: there is no run under runs\nhint: train one with `masscli finetune`, or name its folder: masscli generate RUN\n"
    )


def test_a_split_of_the_data_the_run_was_trained_on(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plain = generate(capfd, "-i", "in.en")[1]
    for language in ("en", "de"):
        (folder / f"train.{language}").write_text(
            "".join(f"{line}\n" for line in sentences(300, 3)), encoding="utf-8"
        )
        (folder / f"test.{language}").write_text(
            "".join(f"{line}\n" for line in LINES), encoding="utf-8"
        )
    succeed(
        "preprocess --langs en,de --trainpref train --testpref test --vocab-size 80"
    )
    capfd.readouterr()
    assert generate(capfd, "--gen-subset", "test")[1] == plain
    fairseq = generate(capfd, "--gen-subset", "test", "--format", "fairseq")[1]
    assert [line.split("\t")[1] for line in fairseq if line.startswith("T-")] == LINES
    code, out, err = generate(capfd, "--gen-subset", "tset")
    assert (code, out) == (
        2,
        [],
    ) and "error: data-bin: has no text of en-de in its split tset\n" in err


def test_lines_with_only_unknown_pieces_are_named(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    strange = "\u4e16\u754c \u4e16"
    (folder / "strange.en").write_text(
        f"{LINES[1]}\n{strange}\n\n{strange}\n", encoding="utf-8"
    )
    code, out, err = generate(capfd, "--input", "strange.en")
    assert code == 0 and len(out) == 4
    assert (
        "warning: lines 2, 4 were not understood: in the input no piece of it is known\n"
        in err
    )
    assert re.search(r", [1-9]\d* of \d+ pieces of the input unknown\n", err)
    code, _, err = generate(capfd, "--input", "in.en")
    assert "not understood" not in err
    (folder / "strange.de").write_text(f"{strange}\n" * 4, encoding="utf-8")
    code, _, err = generate(
        capfd, "--input", "strange.en", "--score-reference", "strange.de"
    )
    assert code == 0
    assert "lines 1, 2, 3, 4 were not understood: in --score-reference no piece" in err
    code, _, err = generate(
        capfd, "--input", "strange.en", "--prefix", "strange.de", "--prefix-size", "2"
    )
    assert code == 0
    assert "lines 1, 2, 3, 4 were not understood: in --prefix no piece" in err


def test_minimum_risk_chooses_among_all_outputs(
    tokenizer: Tokenizer, model: Transformer
) -> None:
    """The same samples as with --nbest 8, ranked by their mean chrF against all of them."""
    options: dict[str, Any] = {"beam": 8, "sampling": True, "temperature": 1.5}
    samples = list(
        make(tokenizer, model, nbest=8, **options).translate(LINES, "en", "de")
    )
    translator = make(tokenizer, model, nbest=2, mbr=True, **options)
    chosen = list(translator.translate(LINES, "en", "de"))
    chrf = CHRF()
    different = 0
    for all_of_line, best in zip(samples, chosen, strict=True):
        texts = [translation.text for translation in all_of_line]
        utilities = {
            text: sum(chrf.sentence_score(text, [other]).score for other in texts)
            for text in texts
        }
        assert utilities[best[0].text] == pytest.approx(max(utilities.values()))
        assert len(best) == min(2, len(texts))
        different += best[0].text != texts[0]
    assert different > 2
    assert translator.report.lines == len(LINES)


def test_the_output_closest_to_the_reference_comes_first(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The same outputs as with --nbest 3, ordered by sacreBLEU's own sentence scores."""
    # Other sentences are references that no output equals.
    references = [line or "a" for line in LINES[1:] + LINES[:1]]
    (folder / "ref.de").write_text("\n".join(references) + "\n", encoding="utf-8")
    plain = generate(capfd, "-i", "in.en", "--nbest", "3")[1]
    moved = 0
    scorers = {"chrf": CHRF(), "bleu": BLEU(effective_order=True)}
    for metric, scorer in scorers.items():
        args = [*"-i in.en --reference ref.de --closest-to-reference".split(), metric]
        code, ranked, err = generate(capfd, *args, "--nbest", "3")
        assert code == 0 and "warning: --reference" not in err
        for line, reference in enumerate(references):
            before, after = (
                outputs[3 * line : 3 * line + 3] for outputs in (plain, ranked)
            )
            assert sorted(after) == sorted(before)
            scores = [scorer.sentence_score(text, [reference]).score for text in after]
            # Lines with fewer outputs are filled up at the end.
            assert scores == sorted(scores, reverse=True) or "" in after
            moved += after != before
        assert generate(capfd, *args)[1] == ranked[::3]
    assert moved > 5


def test_the_speed_can_be_logged(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tags = ["--tag", "model=ende", "--tag", "precision=fp32"]
    assert generate(capfd, "-i", "in.en", "--append", "scores.jsonl", *tags)[0] == 0
    (score,) = read_scores(folder / "scores.jsonl")
    assert (score.metric, score.tags) == (
        "sentences/s",
        (("model", "ende"), ("precision", "fp32")),
    )
    assert score.value > 0 and score.signature.startswith("beam:3|batch-tokens:8000|")
    # Another search has another speed, and is not compared with this one.
    masscli("generate -i in.en --beam 2 --append scores.jsonl --quiet".split())
    assert masscli(["report", "scores.jsonl"]) == 2
    assert (
        "sentences/s was computed with different settings from line 1"
        in capfd.readouterr().err
    )


def test_a_speed_says_what_was_measured(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty").write_text("")
    code, _, err = generate(capfd, "-i", "empty", "--append", "scores.jsonl")
    assert code == 0
    assert "warning: --append: the input has no lines" in err
    assert not (folder / "scores.jsonl").exists()
    (folder / "two").write_text("red dog\nred\n")
    scoring = ["-i", "two", "--score-reference", "two"]
    assert generate(capfd, *scoring, "--append", "scores.jsonl")[0] == 0
    (score,) = read_scores(folder / "scores.jsonl")
    # Not the speed of a search; and of a device by its own name.
    assert score.signature.startswith("score-reference|batch-tokens:8000|")
    assert (
        "|device:cpu|threads:" in score.signature or "|device:cuda" in score.signature
    )


def test_half_precision_writes_nearly_the_same(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    outputs = []
    for precision in ("fp32", "fp16"):
        command = [
            "generate",
            "runs/ende",
            "-i",
            "in.en",
            *SEARCH,
            "--device",
            "cpu",
            "--precision",
            precision,
        ]
        succeed([*command, "--quiet"])
        out, err = capfd.readouterr()
        assert err == ""
        outputs.append(out.splitlines())
    differing = sum(a != b for a, b in zip(*outputs, strict=True))
    assert differing <= len(LINES) // 5
