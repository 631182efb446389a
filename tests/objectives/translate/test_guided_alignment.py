"""Guided alignment: its loss by loops, its labels by what they point at, and a language said backwards that must be aligned."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from masscli.__main__ import run as masscli
from masscli.core.errors import MasscliError
from masscli.data.batches.dataset import Example
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.models.config import ModelConfig
from masscli.objectives.objective import ObjectiveContext
from masscli.objectives.translate.guided_alignment import (
    alignment_labels,
    alignment_loss,
)
from masscli.objectives.translate.objective import Translate
from masscli.objectives.translate.options import TranslateOptions
from tests.commands import succeed
from tests.objectives.test_pretraining import FRAMING
from tests.toy import WORDS, sentences

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")
Links = set[tuple[int, int]]


def test_the_loss_is_that_of_loops() -> None:
    torch.manual_seed(1)
    links = [
        np.array([[0, 0], [2, 0], [1, 2]]),
        np.zeros((0, 2), np.int64),
        np.array([[3, 1]]),
    ]
    log_weights = torch.log_softmax(
        torch.randn(3, 4, 6, dtype=torch.float64), -1
    ).requires_grad_()
    labels = alignment_labels(links, 4, source_offset=1, target_offset=0)
    expected = 0.0
    for row, row_links in enumerate(links):
        for t in range(4):
            aligned = [s for s, other in row_links.tolist() if other == t]
            for s in aligned:
                expected -= float(log_weights[row, t, s + 1].detach()) / len(aligned)
    loss, nll = alignment_loss(log_weights, labels)
    assert float(nll) == pytest.approx(expected) and float(loss.detach()) == float(nll)
    loss.backward()
    assert log_weights.grad is not None and int((log_weights.grad != 0).sum()) == 4


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize(
    ("language_tag", "target_tag"),
    [(False, "start"), (True, "start"), (True, "forced")],
)
def test_labels_point_at_the_linked_pieces(
    toy: Path, language_tag: bool, target_tag: str, tagged: bool
) -> None:
    vocab = DataFolder.open(toy).vocab
    framing = Framing(vocab, True, language_tag, (), "first", target_tag)  # type: ignore[arg-type]
    options = TranslateOptions(guided_alignment=Path("x"), tag_sources=tagged)
    objective = Translate(options, ObjectiveContext(framing, ModelConfig(), "en-de"))
    sources = [np.array([30, 31, 32]), np.array([33, 34])]
    targets = [np.array([40, 41]), np.array([42, 43, 44, 45])]
    links = [np.array([[2, 0], [0, 1], [1, 1]]), np.array([[1, 3]])]
    fields = zip(sources, targets, links, strict=True)
    examples = [Example(number, triple) for number, triple in enumerate(fields)]
    batch = objective.collator()(
        examples, [np.random.default_rng(row) for row in range(2)]
    )
    labels, words = batch.labels["alignment"], batch.labels["translate"]
    predicted = dict(zip(words.positions.tolist(), words.ids.tolist(), strict=True))
    assert batch.target is not None
    rows = labels.positions // batch.target.ids.shape[1]
    pairs = zip(
        batch.source.ids[rows, labels.ids].tolist(),
        labels.positions.tolist(),
        strict=True,
    )
    assert [(source, predicted[place]) for source, place in pairs] == [
        (32, 40),
        (30, 41),
        (31, 41),
        (34, 45),
    ]
    # A target with two links is one target.
    assert batch.counts["alignment"] == 3


def write_backwards(folder: Path) -> dict[str, list[Links]]:
    """Write pairs whose target is the source word by word from the end; return their links, by split."""
    gold = {}
    for split, count, seed in (("train", 400, 1), ("valid", 40, 2)):
        walks = sentences(count, seed)
        english = [" ".join(WORDS["en"][word] for word in walk) for walk in walks]
        german = [
            " ".join(WORDS["de"][word] for word in reversed(walk)) for walk in walks
        ]
        for language, lines in (("en", english), ("de", german)):
            (folder / f"{split}.{language}").write_text(
                "\n".join(lines) + "\n", encoding="utf-8"
            )
        gold[split] = [
            {(place, len(walk) - 1 - place) for place in range(len(walk))}
            for walk in walks
        ]
    return gold


def write_links(path: Path, alignments: Sequence[Links]) -> None:
    path.write_text(
        "".join(
            " ".join(f"{s}-{t}" for s, t in sorted(row)) + "\n" for row in alignments
        )
    )


def read_links(path: Path) -> list[Links]:
    rows = [line.split() for line in path.read_text().split("\n")[:-1]]
    return [
        {
            (int(source), int(target))
            for source, target in (link.split("-") for link in row)
        }
        for row in rows
    ]


def error_rate(found: Sequence[Links], gold: Sequence[Links]) -> float:
    """The alignment error rate (Och and Ney 2003), when all gold links are sure."""
    common = sum(len(one & other) for one, other in zip(found, gold, strict=True))
    return 1 - 2 * common / (sum(map(len, found)) + sum(map(len, gold)))


@pytest.fixture(scope="module")
def backwards(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, list[Links]]]:
    """A folder with the text, and `data` in which every word is one piece; and the links."""
    folder = tmp_path_factory.mktemp("backwards")
    gold = write_backwards(folder)
    text = f"--langs en,de --trainpref {folder}/train --validpref {folder}/valid"
    args = f"preprocess {text} --vocab-size 110 --destdir {folder}/data".split()
    succeed(args)
    data = DataFolder.open(folder / "data")
    for split, alignments in gold.items():
        for side in data.pair(split, "en", "de"):
            assert [len(side[row]) for row in range(len(side))] == list(
                map(len, alignments)
            )
    write_links(folder / "gold", gold["train"])
    return folder, gold


def finetune(folder: Path, name: str, *options: str) -> int:
    task = f"--task translate -s en -t de --precision fp32 --save-dir {folder / name}"
    shape = "--dim 32 --ffn-dim 64 --heads 2 --encoder-layers 1 --decoder-layers 2"
    speed = "--max-tokens 600 --max-update 80 --lr 0.01 --dropout 0 --num-workers 0"
    return masscli(
        ["finetune", str(folder / "data"), *f"{task} {shape} {speed}".split(), *options]
    )


def alignments_of(folder: Path, name: str) -> list[Links]:
    """The alignments of the validation references by a run."""
    args = (
        f"generate {folder}/{name} --input {folder}/valid.en --score-reference".split()
    )
    files = [
        "--alignments",
        str(folder / f"{name}.links"),
        "--output",
        str(folder / f"{name}.scores"),
    ]
    succeed([*args, str(folder / "valid.de"), *files, "--precision", "fp32"])
    return read_links(folder / f"{name}.links")


def test_a_guided_head_aligns_and_an_unguided_one_does_not(
    backwards: tuple[Path, dict[str, list[Links]]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, gold = backwards
    assert finetune(folder, "plain") == 0
    guide = [
        "--guided-alignment",
        str(folder / "gold"),
        "--guided-alignment-weight",
        "0.3",
    ]
    assert finetune(folder, "guided", *guide) == 0
    talk = capsys.readouterr().err
    assert "translate-en-de.alignment" in talk
    # Validation pairs have no alignments, so their loss is that of translation, and has a perplexity.
    assert re.search(r"valid 80: loss \S+  ppl \S+  \(", talk)
    rates = {}
    for name in ("plain", "guided"):
        rates[name] = error_rate(alignments_of(folder, name), gold["valid"])
        warned = "no head has learned to align" in capsys.readouterr().err
        assert warned == (name == "plain")
    assert rates["guided"] < 0.1 < 0.3 < rates["plain"], rates
    # Outputs are aligned as references are, and every line of output has its line of links.
    args = (
        f"generate {folder}/guided --input {folder}/valid.en --nbest 2 --beam 2".split()
    )
    files = ["--output", str(folder / "out"), "--alignments", str(folder / "out.links")]
    succeed([*args, *files])
    words = [
        len(line.split()) for line in (folder / "out").read_text().split("\n")[:-1]
    ]
    links = read_links(folder / "out.links")
    assert len(links) == len(words) == 80
    assert all(
        target < count
        for row, count in zip(links, words, strict=True)
        for _, target in row
    )
    assert masscli([*args, str(folder / "plain"), *files]) == 2
    assert (
        "--alignments: needs one model with encoder and decoder"
        in capsys.readouterr().err
    )


def test_pieces_are_aligned_by_cooccurrence(
    backwards: tuple[Path, dict[str, list[Links]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Ring words repeat in no line of nine, so that only Model 1, and no diagonal, can tell the order."""
    folder, gold = backwards
    args = f"align {folder}/data -s en -t de --output {folder}/found".split()
    succeed([*args, "--pieces", str(folder / "pieces")])
    assert "400 pairs, links to " in capsys.readouterr().err
    found = read_links(folder / "found")
    assert error_rate(found, gold["train"]) < 0.1
    first = (folder / "pieces").read_text().split("\n")[0].replace("▁", "")
    english, german = (
        (folder / f"train.{language}").read_text().split("\n")[0]
        for language in ("en", "de")
    )
    assert first == f"{english} ||| {german}"
    # The other direction has the same links, turned around.
    succeed(f"align {folder}/data -s de -t en --output {folder}/turned")
    assert [{(s, t) for t, s in row} for row in read_links(folder / "turned")] == found


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (lambda lines: lines[:-1], "has 399 lines for 400 pairs", "as `masscli align` writes it"),
        (lambda lines: [*lines, ""], "has 401 lines for 400 pairs", "as `masscli align` writes it"),
        (lambda lines: [lines[0], "0-0 1p1", *lines[2:]], ":2: '1p1' is not an alignment link", "as in 0-0 1-2"),
        (lambda lines: ["0--1", *lines[1:]], ":1: '0--1' is not an alignment link", "as in 0-0 1-2"),
        (lambda lines: ["0-99", *lines[1:]], ":1: 0-99 is outside a pair with ", "belongs to one direction"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_belong_to_the_pairs_is_refused(
    change: Callable[[list[str]], list[str]],
    message: str,
    hint: str,
    backwards: tuple[Path, dict[str, list[Links]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, _ = backwards
    lines = (folder / "gold").read_text().split("\n")[:-1]
    (folder / "bad").write_text("".join(f"{line}\n" for line in change(lines)))
    assert finetune(folder, "never", "--guided-alignment", str(folder / "bad")) == 2
    error, advice = capsys.readouterr().err.split("\n")[-3:-1]
    assert error.startswith(f"error: {folder / 'bad'}") and message in error
    assert advice.startswith("hint: ") and hint in advice
    assert not (folder / "never" / "checkpoints").exists()


def test_contradictory_options_are_refused(
    backwards: tuple[Path, dict[str, list[Links]]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = backwards
    guided = ["--guided-alignment", str(folder / "gold")]
    for options, message in (
        (
            ["--guided-alignment-weight", "0.1"],
            "there are no alignments to learn without --guided-alignment",
        ),
        (
            [*guided, "--guided-alignment-layer", "3"],
            "--guided-alignment-layer 3: the decoder has 2 layers",
        ),
        ([*guided, "--bpe-dropout", "0.1"], "or it aligns their pieces"),
    ):
        assert finetune(folder, "never", *options) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(MasscliError, match=r"guided_alignment_layer: must be above 0"):
        TranslateOptions(guided_alignment_layer=0)


def guided(**options: Any) -> Translate:
    """Translation with guided alignment in a decoder of two layers."""
    context = ObjectiveContext(FRAMING, ModelConfig(decoder_layers=2), "en-de")
    path = Path("alignments")
    return Translate(TranslateOptions(guided_alignment=path, **options), context)


def test_every_layer_of_the_decoder_can_be_guided_and_no_other() -> None:
    for layer in (1, 2):
        made = guided(guided_alignment_layer=layer, guided_alignment_weight=0.25)
        assert dict(made.weights) == {"translate": 1.0, "alignment": 0.25}
    with pytest.raises(MasscliError) as caught:
        guided(guided_alignment_layer=3)
    message = "--guided-alignment-layer 3: the decoder has 2 layers"
    assert caught.value.message == message


def test_pairs_without_links_have_no_targets_of_alignment() -> None:
    """Validation pairs have no links."""
    source, target = np.array([10, 11]), np.array([20, 21, 22])
    links = np.array([[0, 0], [0, 1], [1, 1]])
    examples = [
        Example(0, (source, target)),
        Example(1, (source, target, links)),
        Example(2, (source, target, links[:0])),
    ]
    batch = guided().collator()(examples, [])
    assert batch.counts == {"translate": 12.0, "alignment": 2.0}
    rows = batch.labels["alignment"].positions // batch.target.ids.shape[1]
    assert set(rows.tolist()) == {1}
