"""Samples that fairseq 0.12.2 wrote: `masscli generate` reproduces what fairseq-generate printed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.commands import succeed

pytestmark = pytest.mark.peer_samples
SEARCH = (
    "--early-stop --max-len-a 0 --max-len-b 200 --precision fp32 "
    "--device cpu --format fairseq"
).split()
SCORE_LIMIT = 1e-4
LINES = 100


def sample(name: str) -> Path:
    folder = os.environ.get("MASSCLI_PEERS")
    if folder is None:
        pytest.skip("MASSCLI_PEERS names no folder of samples of other programs")
    return Path(folder) / name


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fairseq")
    for name in ("fairseq-a", "fairseq-b"):
        peer = sample(name)
        dictionaries = f"en={peer / 'dict.en.txt'},de={peer / 'dict.de.txt'}"
        command = [
            "import",
            str(peer / "checkpoint.pt"),
            "--dict",
            dictionaries,
            "-o",
            str(folder / name),
        ]
        succeed([*command, "--spm-model", str(peer / "sentencepiece.bpe.model")])
    return folder


def read_outputs(path: Path) -> dict[int, tuple[float, str, list[float]]]:
    """The score, the pieces and the token scores of each line, from the format of fairseq-generate."""
    scores, pieces, token_scores = {}, {}, {}
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, _, rest = line.partition("-")
        number, _, rest = rest.partition("\t")
        if kind == "H":
            score, _, pieces[int(number)] = rest.partition("\t")
            scores[int(number)] = float(score)
        elif kind == "P":
            token_scores[int(number)] = [float(value) for value in rest.split()]
    return {
        number: (scores[number], pieces[number], token_scores[number])
        for number in scores
    }


@pytest.mark.parametrize("backend", ["torch", "ctranslate2"])
@pytest.mark.parametrize("beam", [1, 5])
@pytest.mark.parametrize("name", ["fairseq-a", "fairseq-b"])
def test_outputs_are_those_of_fairseq(
    name: str, beam: int, backend: str, runs: Path, tmp_path: Path
) -> None:
    if backend == "ctranslate2":
        pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed")
    found_path = tmp_path / "found.txt"
    command = [
        "generate",
        str(runs / name),
        "--input",
        str(sample(name) / "test.tok.en"),
        *SEARCH,
    ]
    command += ["--backend", backend, "--beam", str(beam), "--output", str(found_path)]
    succeed(command)
    actual = read_outputs(found_path)
    expected = read_outputs(sample(name) / f"gen.beam{beam}.txt")
    assert len(actual) == len(expected) == LINES
    for number, (score, pieces, token_scores) in expected.items():
        assert actual[number][1] == pieces, f"line {number}"
        assert abs(actual[number][0] - score) < SCORE_LIMIT
        # fairseq prints four digits.
        for ours, theirs in zip(actual[number][2], token_scores, strict=True):
            assert abs(ours - theirs) < 2 * SCORE_LIMIT


@pytest.mark.parametrize("name", ["fairseq-a", "fairseq-b"])
def test_sources_are_cut_as_fairseq_read_them(
    name: str, runs: Path, tmp_path: Path
) -> None:
    actual = tmp_path / "found.txt"
    command = [
        "generate",
        str(runs / name),
        "--input",
        str(sample(name) / "test.tok.en"),
        *SEARCH,
    ]
    succeed([*command, "--beam", "1", "--output", str(actual)])
    sources = [
        line
        for line in actual.read_text(encoding="utf-8").splitlines()
        if line.startswith("S-")
    ]
    expected = (sample(name) / "test.bpe.en").read_text(encoding="utf-8").splitlines()
    pieces = [line.partition("\t")[2].split() for line in sources]
    for ours, theirs in zip(pieces, map(str.split, expected), strict=True):
        assert all(a in (b, "<unk>") for a, b in zip(ours, theirs, strict=True))


def test_fairseq_transformers_and_masscli_translate_alike(
    runs: Path, tmp_path: Path
) -> None:
    """A post-norm model of fairseq is exported as FSMT, the class of Hugging Face's library for such models."""
    transformers: Any = pytest.importorskip(
        "transformers", reason="transformers is not installed"
    )
    transformers.utils.logging.disable_progress_bar()
    folder = tmp_path / "theirs"
    succeed(["export", str(runs / "fairseq-a"), "--output", str(folder)])
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    assert type(model).__name__ == "FSMTForConditionalGeneration"
    dictionary = (
        (sample("fairseq-a") / "dict.en.txt").read_text(encoding="utf-8").splitlines()
    )
    pieces = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        *(line.rpartition(" ")[0] for line in dictionary),
    ]
    ids = {piece: number for number, piece in enumerate(pieces)}
    expected = read_outputs(sample("fairseq-a") / "gen.beam5.txt")
    sources = (
        (sample("fairseq-a") / "test.bpe.en").read_text(encoding="utf-8").splitlines()
    )
    for number, source in enumerate(sources[:20]):
        row = [*(ids.get(piece, ids["<unk>"]) for piece in source.split()), ids["</s>"]]
        [output] = model.generate(
            torch.tensor([row]), num_beams=5, max_length=202
        ).tolist()
        assert " ".join(pieces[i] for i in output[1:-1]) == expected[number][1]
