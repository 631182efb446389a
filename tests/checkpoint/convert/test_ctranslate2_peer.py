"""Exported translators, decoded by CTranslate2: equal scores of given texts, equal outputs of its beam search.

Run alone:  pip install ctranslate2 && pytest tests/checkpoint/convert/test_ctranslate2_peer.py
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from masscli.__main__ import run as masscli
from masscli.api.model import load
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.ctranslate2_export import (
    Quantization,
    export_ctranslate2,
)
from masscli.checkpoint.convert.token_names import token_names
from masscli.generation.config import GenerationConfig
from tests.commands import succeed
from tests.published import error_of
from tests.toy import WORDS, recipe, sentences
from tests.training.test_trainer import train
from tests.translators import SHAPES, framed_pair, logits_of, random_translator

ctranslate2: Any = pytest.importorskip(
    "ctranslate2", reason="ctranslate2 is not installed"
)

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("no_sync"),
]
LINES = [" ".join(WORDS["en"][word] for word in walk) for walk in sentences(12, 5)]


@pytest.fixture(scope="module")
def trained(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Return a translator that has begun to learn the toy language, so that its outputs end."""
    folder = tmp_path_factory.mktemp("trained")
    pairs = {"pairs": {"dataset": "en-de", "objective": {"name": "translate"}}}
    train(
        recipe(
            toy,
            folder,
            "train.max_update=200",
            "train.update_freq=1",
            "checkpoint.save_interval_updates=200",
            streams=pairs,
        )
    )
    return Checkpoint.open(folder)


def translate_alone(run: Checkpoint, folder: Path, beam: int) -> list[str]:
    """Translate as a user without masscli does: pieces in, pieces out."""
    tokenizer = run.tokenizer()
    names = token_names(tokenizer)
    sources = [
        [names[number] for number in tokenizer.encode(line, "en")] for line in LINES
    ]
    translator = ctranslate2.Translator(str(folder))
    results = translator.translate_batch(
        sources, beam_size=beam, max_input_length=0, max_decoding_length=30
    )
    outputs = [
        [names.index(token) for token in result.hypotheses[0]] for result in results
    ]
    return [tokenizer.decode(ids, "de") for ids in outputs]


@pytest.mark.parametrize("shape", SHAPES)
def test_scores_are_the_same(shape: str, toy: Path, tmp_path: Path) -> None:
    run = random_translator(shape, toy, tmp_path / "run")
    export_ctranslate2(run, "en", "de", tmp_path / "theirs", "fp32")
    names, framing, vocab = (
        token_names(run.tokenizer()),
        run.framing(),
        run.tokenizer().vocab,
    )
    source, target = framed_pair(run)
    logits = logits_of(run, source, target)
    # Special tokens are never generated, there by a bias of the output layer.
    logits[..., sorted(vocab.special_ids - {vocab.eos, vocab.unk})] -= 1e4
    ours = torch.log_softmax(logits, -1)[0, :-1].gather(1, target[0, 1:, None])[:, 0]

    source_ids = source[0].tolist()
    if framing.suffix_length == 1:
        # The folder's config.json adds what stands around the pieces.
        source_ids = source_ids[framing.prefix_length : -1]
    pieces = [
        [names[number] for number in ids]
        for ids in (source_ids, target[0, 1:-1].tolist())
    ]
    [theirs] = ctranslate2.Translator(str(tmp_path / "theirs")).score_batch(
        [pieces[0]], [pieces[1]]
    )
    first = len(framing.forced_tokens("de"))
    assert theirs.tokens == [names[number] for number in target[0, 1:]]
    assert torch.tensor(theirs.log_probs[first:]).sub(ours[first:]).abs().max() < 1e-5


def test_greedy_and_beam_search_are_the_same(
    trained: Checkpoint, tmp_path: Path
) -> None:
    export_ctranslate2(trained, "en", "de", tmp_path / "theirs", "fp32")
    for beam in (1, 5):
        search = GenerationConfig(beam=beam, early_stop=True, max_len_a=0, max_len_b=30)
        model = load(trained.path, precision="fp32").text_model(
            source="en", target="de"
        )
        ours = [
            n_best[0].text
            for n_best in model.translator(model.decoder(search)).translate(
                LINES, "en", "de"
            )
        ]
        assert translate_alone(trained, tmp_path / "theirs", beam) == ours
        assert len(set(ours)) > 6


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_smaller_weights_are_written(
    precision: Quantization, toy: Path, tmp_path: Path
) -> None:
    run = random_translator("default", toy, tmp_path / "run", dim=64, ffn_dim=256)
    sizes = []
    for quantization in ("fp32", precision):
        export_ctranslate2(run, "en", "de", tmp_path / quantization, quantization)
        sizes.append((tmp_path / quantization / "model.bin").stat().st_size)
    assert sizes[1] < {"fp16": 0.6, "int8": 0.45}[precision] * sizes[0]
    assert len(translate_alone(run, tmp_path / precision, 1)) == len(LINES)


def test_a_norm_that_ctranslate2_lacks_is_refused(toy: Path, tmp_path: Path) -> None:
    run = random_translator("post", toy, tmp_path / "run", final_norm="both")
    message, _ = error_of(
        lambda: export_ctranslate2(run, "en", "de", tmp_path / "theirs", "fp32")
    )
    assert message.startswith(
        "final_norm is both: CTranslate2 has no norm after a post-norm"
    )
    assert not (tmp_path / "theirs").exists()


def test_the_command_says_what_to_install(
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = random_translator("default", toy, tmp_path / "run")
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    assert (
        masscli(f"export {run.path} --to ctranslate2 -o {tmp_path}/theirs".split()) == 2
    )
    assert "pip install 'masscli[ct2]'" in capsys.readouterr().err


BACKEND = ("--backend", "ctranslate2")
SEARCH: dict[str, Any] = {"early_stop": True, "max_len_a": 0, "max_len_b": 30}


@pytest.mark.parametrize("lenpen", [1.0, 0.6, 0.0])
def test_the_back_end_gives_the_same_texts_scores_and_pieces(
    trained: Checkpoint, lenpen: float
) -> None:
    ours, theirs = (
        load(trained.path, precision="fp32"),
        load(trained.path, precision="fp32", backend="ctranslate2"),
    )
    for beam in (1, 5):
        one = ours.translate_nbest(
            LINES, "en", "de", beam=beam, nbest=beam, lenpen=lenpen, **SEARCH
        )
        other = theirs.translate_nbest(
            LINES, "en", "de", beam=beam, nbest=beam, lenpen=lenpen, **SEARCH
        )
        for mine, yours in zip(one, other, strict=True):
            assert [n.text for n in yours] == [n.text for n in mine]
            for a, b in zip(mine, yours, strict=True):
                assert b.pieces == a.pieces
                assert b.hypothesis.score == pytest.approx(a.hypothesis.score, abs=1e-4)
                assert b.piece_scores == pytest.approx(a.piece_scores, abs=1e-4)
    targets = ours.translate(LINES, "en", "de", **SEARCH)
    scores = [
        [t.hypothesis.score for t in model.score(targets, LINES, "en", "de")]
        for model in (ours, theirs)
    ]
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)


@pytest.mark.parametrize("shape", ["tag", "mbart", "m2m_100", "bart"])
def test_the_back_end_adds_the_special_tokens_of_every_framing(
    shape: str, toy: Path, tmp_path: Path
) -> None:
    run = random_translator(shape, toy, tmp_path)
    models = (
        load(run.path, precision="fp32"),
        load(run.path, precision="fp32", backend="ctranslate2"),
    )
    mine, yours = [
        model.score(["gu ko", "ab"], LINES[:2], "en", "de") for model in models
    ]
    for a, b in zip(mine, yours, strict=True):
        assert b.hypothesis.score == pytest.approx(a.hypothesis.score, abs=1e-4)
        assert b.piece_scores == pytest.approx(a.piece_scores, abs=1e-4)


def test_a_conversion_is_cached_and_repeated_for_other_weights_or_if_damaged(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = random_translator("default", toy, tmp_path / "run")
    model_file = run.path / "ctranslate2" / "en-de" / "model.bin"

    def translate() -> bytes:
        succeed(
            f"generate {run.path} --backend ctranslate2 --early-stop -i {tmp_path}/in"
        )
        return model_file.read_bytes()

    (tmp_path / "in").write_text("ba be\n", encoding="utf-8")
    first = translate()
    time = model_file.stat().st_mtime_ns
    translate()
    assert model_file.stat().st_mtime_ns == time
    model_file.write_bytes(b"half of it")
    assert translate() == first
    other = random_translator(
        "default", toy, tmp_path / "other", activation="gelu", output_bias=True
    )
    shutil.copytree(run.path / "ctranslate2", other.path / "ctranslate2")
    run = other
    model_file = run.path / "ctranslate2" / "en-de" / "model.bin"
    assert translate() != first
    assert run.verify() == len(run.checksums)
    assert len({line for line in capsys.readouterr().out.splitlines() if line}) <= 2


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([*BACKEND, "--sampling"], "--sampling: CTranslate2 does not support it"),
        ([*BACKEND, "--unkpen", "1"], "--unkpen: CTranslate2 does not support it"),
        (
            [*BACKEND, "--diverse-beam-groups", "5"],
            "--diverse-beam-groups: CTranslate2 does not support it",
        ),
        (
            [*BACKEND, "--precision", "fp16"],
            "--precision fp16: CTranslate2 does not support it on this cpu",
        ),
        (
            [*BACKEND, "--repetition-penalty", "2"],
            "--repetition-penalty: CTranslate2 does not support it",
        ),
        (
            [*BACKEND, "--constraints", "PHRASES"],
            "--constraints: CTranslate2 does not support it",
        ),
        (
            [*BACKEND, "RUN"],
            "--backend ctranslate2 decodes with one model, not with several",
        ),
    ],
)
def test_options_that_the_back_end_lacks_are_refused_by_name(
    args: list[str],
    words: str,
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = random_translator("default", toy, tmp_path / "run")
    (tmp_path / "in").write_text("ba be\n", encoding="utf-8")
    (tmp_path / "phrases").write_text("ba\n", encoding="utf-8")
    names = {"RUN": str(run.path), "PHRASES": str(tmp_path / "phrases")}
    args = [names.get(arg, arg) for arg in args]
    assert masscli(["generate", str(run.path), "-i", str(tmp_path / "in"), *args]) == 2
    assert words in capsys.readouterr().err


def test_a_shortlist_works_with_both_decoders(
    toy: Path, trained: Checkpoint, tmp_path: Path
) -> None:
    """One line at a time, since CTranslate2 takes the candidates of a batch together."""
    made, short = tmp_path / "shortlist.txt", tmp_path / "short"
    command = f"shortlist {toy} -s en -t de --per-piece 2 --frequent 1".split()
    succeed([*command, "--output", str(made)])
    succeed([
        "export", str(trained.path), "--to", "ctranslate2", "--shortlist", str(made), "--output", str(short)
    ])  # fmt: skip
    assert (short / "vmap.txt").read_bytes() == made.read_bytes()
    search: dict[str, Any] = {
        "beam": 3,
        "max_len_a": 0.0,
        "max_len_b": 20,
        "early_stop": True,
    }
    outputs = {}
    for backend in ("torch", "ctranslate2"):
        model = load(
            trained.path,
            device="cpu",
            precision="fp32",
            backend=backend,
            shortlist=made,
        )  # type: ignore[arg-type]
        outputs[backend] = [model.translate([line], **search)[0] for line in LINES]
    assert outputs["torch"] == outputs["ctranslate2"]
    # The conversion with a shortlist also serves without it.
    folder = trained.path / "ctranslate2/en-de"
    written = (folder / "model.bin").stat().st_mtime_ns
    load(trained.path, device="cpu", backend="ctranslate2").translate(LINES[:1])
    assert (folder / "model.bin").stat().st_mtime_ns == written
