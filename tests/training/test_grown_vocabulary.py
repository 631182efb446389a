"""A run that goes on with an extended vocabulary: old rows are kept, new ones filled, and old ones may be frozen."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.config import ConfigError
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Tokens
from masscli.data.storage.data_folder import DataFolder
from masscli.text.extended_model import ExtendedModel
from masscli.training.setup.build import build
from tests.commands import succeed
from tests.toy import recipe
from tests.training.test_trainer import last_checkpoint, same_run, train

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")

MASS = {"text": {"dataset": "en", "objective": {"name": "mass"}}}
NEW = {
    "pairs": {"dataset": "en-ro", "objective": {"name": "translate"}},
    "text": {"dataset": "ro", "objective": {"name": "mass"}},
}
UNTIED = (
    "model.tie_output=false",
    "model.output_bias=true",
    "model.embeddings=separate",
)
OLD_ROWS = "optim.freeze=old-embeddings"
TABLES = ("token_embeddings.", "output_weights.", "output_biases.")


def extend(toy: Path, folder: Path, accent: str, *options: str) -> Path:
    """The toy language with a third one, in which every word of English has an accent."""
    for split in ("train", "valid"):
        english = (toy.parent / f"{split}.en").read_text(encoding="utf-8")
        (folder / f"{split}.en").write_text(english, encoding="utf-8")
        new = "".join(
            letter + accent if letter in "aeiou" else letter for letter in english
        )
        (folder / f"{split}.ro").write_text(new, encoding="utf-8")
    command = (
        f"preprocess --extend {toy} --langs en,ro --trainpref {folder}/train".split()
    )
    command += [
        *f"--validpref {folder}/valid --new-pieces 20 --destdir {folder}/data".split(),
        *options,
    ]
    succeed(command)
    return folder / "data"


@pytest.fixture(scope="module")
def grown(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extend(toy, tmp_path_factory.mktemp("grown"), "\u0219")


@pytest.fixture(scope="module")
def runs(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pre-trained runs with the old vocabulary: tied embeddings, and separate tables with biases."""
    folder = tmp_path_factory.mktemp("runs")
    train(recipe(toy, folder / "tied", "train.max_update=3", streams=MASS))
    train(recipe(toy, folder / "untied", "train.max_update=3", *UNTIED, streams=MASS))
    return folder


def begun(
    grown: Path, folder: Path, init: Path, *changes: str, streams: Any = NEW
) -> tuple[dict[str, Tensor], list[str]]:
    """The weights of a run before its first update, and the notes."""
    trainer, notes = build(
        recipe(grown, folder, f"init_from={init}", *changes, streams=streams)
    )
    return {
        name: tensor.clone() for name, tensor in trainer.model.state_dict().items()
    }, notes


def old_parts(model: ExtendedModel, number: int, old_size: int) -> list[int]:
    """The old ids of the pieces that a new piece consists of: its merges are taken apart by hand."""
    pairs = {
        first + second: [first, second]
        for first, second in reversed(model.extensions[0].merges)
    }
    pieces = [model.id_to_piece([number])[0]]
    while any(piece in pairs for piece in pieces):
        pieces = [part for piece in pieces for part in pairs.get(piece, [piece])]
    ids = [model.text_ids[piece] for piece in pieces]
    return [number for number in ids if number < old_size]


def means_for_new_rows(before: Tensor, method: str, toy: Path, grown: Path) -> Tensor:
    """The rows of the new ids by `--init-new parts` or `mean`, given the old table: means of its rows."""
    old, new = DataFolder.open(toy).vocab, DataFolder.open(grown).vocab
    model = DataFolder.open(grown).tokenizer().subword_model
    assert isinstance(model, ExtendedModel)
    means = []
    for number in range(old.size, new.size):
        averaged = old.ordinary_ids.tolist()
        if number == new.languages["ro"]:
            averaged = [old.languages["en"], old.languages["de"]]
        elif method == "parts":
            averaged = old_parts(model, number, old.size) or averaged
        means.append(before[averaged].mean(0))
    return torch.stack(means)


@pytest.mark.parametrize("method", ["parts", "mean", "random"])
@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_old_rows_are_kept_and_new_ones_filled(
    kind: str, method: str, runs: Path, toy: Path, grown: Path, tmp_path: Path
) -> None:
    changes = UNTIED if kind == "untied" else ()
    ours, notes = begun(grown, tmp_path, runs / kind, f"init_new={method}", *changes)
    theirs = Checkpoint.open(runs / kind).weights()
    old, new = DataFolder.open(toy).vocab, DataFolder.open(grown).vocab
    tables = [name for name in theirs if name.startswith(TABLES)]
    assert len(tables) == (1 if kind == "tied" else 6)
    for name in tables:
        before, after = theirs[name], ours[name]
        assert len(after) == new.size == old.size + 21
        assert torch.equal(after[: old.size], before)
        means = means_for_new_rows(before, method, toy, grown)
        if method != "random":
            assert torch.allclose(after[old.size :], means, atol=1e-6)
        # A bias has no random first value.
        elif not name.startswith("output_biases"):
            distances = (after[old.size :] - means).abs().amax(-1)
            assert bool((distances > 1e-3).all())
    for stack in ("encoder", "decoder"):
        name = f"embeddings.{stack}.languages.weight"
        # The toy recipe gives a vector to both languages of the old data.
        assert torch.equal(ours[name][:2], theirs[name])
        assert torch.allclose(ours[name][2], theirs[name].mean(0)) == (
            method != "random"
        )
    printed = "\n".join(notes)
    counts = f"vocabulary: {old.size} old rows kept, 21 new ones (1 of languages), "
    assert counts in printed
    filled = "drawn at random" if method == "random" else "the mean of the others"
    assert f"{filled}: ro" in printed


def test_old_text_is_read_as_before(
    runs: Path, toy: Path, grown: Path, tmp_path: Path
) -> None:
    """Encoder states of English are those of the old model, bit by bit."""
    trainer, _ = build(
        recipe(grown, tmp_path, f"init_from={runs / 'tied'}", streams=NEW)
    )
    before = Checkpoint.open(runs / "tied").model()
    after = trainer.model.eval()
    ids = torch.tensor([DataFolder.open(toy).tokenizer().encode("ba da fe", "en")])
    tokens = Tokens(ids, torch.tensor([ids.shape[1]]), language=torch.tensor([0]))
    with torch.no_grad():
        assert torch.equal(after.encode(tokens).hidden, before.encode(tokens).hidden)


def test_the_vocabulary_must_be_an_extension_of_the_old_one(
    runs: Path, toy: Path, grown: Path, tmp_path: Path
) -> None:
    """The same number of pieces proves nothing: other pieces have the same ids."""
    other = extend(toy, tmp_path, "\u021b")
    train(
        recipe(
            grown,
            tmp_path / "ro",
            "train.max_update=1",
            f"init_from={runs / 'tied'}",
            streams=NEW,
        )
    )
    with pytest.raises(MasscliError) as error:
        begun(other, tmp_path / "new", tmp_path / "ro")
    assert (
        "was trained with a different vocabulary from the data, which does not extend it: "
        in error.value.message
    )
    assert error.value.hint is not None and "--extend" in error.value.hint
    # Back to the old vocabulary is no way either.
    with pytest.raises(
        MasscliError, match="was trained with a different vocabulary from the data"
    ):
        begun(toy, tmp_path / "back", tmp_path / "ro", streams=MASS)


def test_word_vectors_initialize_only_new_pieces(
    runs: Path, toy: Path, grown: Path, tmp_path: Path
) -> None:
    old, data = DataFolder.open(toy).vocab.size, DataFolder.open(grown)
    pieces = data.tokenizer().all_pieces()
    used = set(data.piece_counts("ro").nonzero()[0].tolist()) - data.vocab.special_ids
    lines = []
    for number, piece in enumerate(
        dict.fromkeys(piece.removeprefix("▁") for piece in pieces)
    ):
        if piece:
            lines.append(f"{piece} {' '.join([str(number + 1)] * 16)}\n")
    (tmp_path / "ro.vec").write_text("".join(lines), encoding="utf-8")
    ours, notes = begun(
        grown, tmp_path / "run", runs / "tied", f"init_vectors=ro={tmp_path / 'ro.vec'}"
    )
    (name,) = (name for name in ours if name.startswith(TABLES))
    assert torch.equal(ours[name][:old], Checkpoint.open(runs / "tied").weights()[name])
    changed = {
        number
        for number in range(old, len(ours[name]))
        if float(ours[name][number].std()) == 0
    }
    assert changed and changed <= used
    assert any("vectors for" in note for note in notes)


@pytest.mark.parametrize(
    ("kind", "optimizer"),
    [
        ("tied", "adamw"),
        ("untied", "adam"),
        ("tied", "lamb"),
        ("untied", "adamw_bert"),
        ("tied", "adafactor"),
    ],
)
def test_old_rows_that_are_frozen_never_move(
    kind: str, optimizer: str, runs: Path, toy: Path, grown: Path, tmp_path: Path
) -> None:
    """They stay under weight decay, momentum, accumulation and a moving average, and everything else is trained."""
    changes = [
        OLD_ROWS,
        f"optim.optimizer={optimizer}",
        "optim.ema_decay=0.5",
        "train.max_update=6",
    ]
    if optimizer != "adafactor":
        changes.append("optim.weight_decay=0.1")
    changes += UNTIED if kind == "untied" else ()
    first, notes = begun(grown, tmp_path / "start", runs / kind, *changes)
    train(
        recipe(
            grown, tmp_path / "run", f"init_from={runs / kind}", *changes, streams=NEW
        )
    )
    saved = last_checkpoint(tmp_path / "run")
    old = DataFolder.open(toy).vocab.size
    for weights in (saved.weights(), saved.trained_weights()):
        for name, tensor in weights.items():
            rows = None
            if name.startswith(TABLES):
                rows = old
            elif name.endswith("languages.weight"):
                rows = 2
            # The encoder predicts nothing here, so that its output layer does not learn.
            if rows is None or (
                name.startswith("output_") and name.endswith("encoder")
            ):
                continue
            assert torch.equal(tensor[:rows], first[name][:rows]), name
            assert not torch.equal(tensor[rows:], first[name][rows:]), name
    (name, *_) = [name for name in first if "fc1" in name]
    assert not torch.equal(saved.weights()[name], first[name])
    assert any(
        note.startswith("frozen: old rows of the embeddings (") for note in notes
    )


def test_frozen_rows_stay_frozen_in_a_run_that_continues(
    runs: Path, grown: Path, tmp_path: Path
) -> None:
    """Resumed equals uninterrupted, also after the run that they came from is gone."""
    shutil.copytree(runs / "tied", tmp_path / "tied", symlinks=True)
    changes = (OLD_ROWS, f"init_from={tmp_path / 'tied'}", "optim.weight_decay=0.1")
    train(recipe(grown, tmp_path / "whole", *changes, streams=NEW))
    train(
        recipe(grown, tmp_path / "parts", *changes, "train.max_update=4", streams=NEW)
    )
    shutil.rmtree(tmp_path / "tied")
    train(recipe(grown, tmp_path / "parts", *changes, streams=NEW))
    assert same_run(tmp_path / "parts", tmp_path / "whole")


def test_rows_of_another_width_are_refused_by_name(
    runs: Path, grown: Path, tmp_path: Path
) -> None:
    with pytest.raises(MasscliError, match=r"_embeddings\.shared is \(\d+, 16\)"):
        begun(grown, tmp_path, runs / "tied", "model.dim=32")


def test_rows_are_frozen_only_with_initial_weights(grown: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="old-embeddings are those of --init-from, which is not given"
    ):
        recipe(grown, tmp_path, OLD_ROWS, streams=NEW)


def test_only_gradients_of_trained_weights_are_clipped(
    runs: Path, grown: Path, tmp_path: Path
) -> None:
    """The reported norm does not include the old rows."""
    trainer, _ = build(
        recipe(grown, tmp_path, OLD_ROWS, f"init_from={runs / 'tied'}", streams=NEW)
    )
    _, prepared = next(iter(trainer.micro_batches))
    trainer.gradients.compute(prepared)
    squares = 0.0
    for name, parameter in trainer.model.named_parameters():
        if parameter.grad is None:
            continue
        gradient = parameter.grad.clone()
        if name.startswith(TABLES):
            gradient[: trainer.state.initial_ids] = 0
        elif name.endswith("languages.weight"):
            gradient[:2] = 0
        squares += float(gradient.double().square().sum())
    trainer.updater.frozen_rows.clear_gradients()
    assert trainer.updater.gradient_norm() == pytest.approx(squares**0.5, rel=1e-5)
