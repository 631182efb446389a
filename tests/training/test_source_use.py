"""--eval-source-use and --eval-cross-use against one example at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Tokens
from masscli.data.batches.framing import Framing
from masscli.models.transformer import Transformer
from masscli.training.setup.build import build
from masscli.training.source_use import CrossUseTask, SourceUseTask
from masscli.training.trainer import Trainer
from tests.toy import recipe

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")

STREAMS = {
    "mass": {
        "dataset": "en",
        "objective": {"name": "mass", "mask_share": 1.0, "random_share": 0.0},
    },
    "tagged": {
        "dataset": "de",
        "objective": {
            "name": "mass",
            "mask_visibility": "none",
            "mask_share": 1.0,
            "random_share": 0.0,
        },
    },
    "dae": {"dataset": "en", "objective": {"name": "denoise"}},
    "pairs": {"dataset": "en-de", "objective": {"name": "translate"}},
    "bt": {"dataset": "en-de", "objective": {"name": "backtranslate"}},
}
ASKED = (
    "valid.eval_source_use=true",
    "valid.eval_cross_use=true",
    "valid.max_valid_rows=7",
)


@pytest.fixture(scope="module")
def trained(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A few updates of every stream; the batches of validation are small."""
    folder = tmp_path_factory.mktemp("run")
    run = recipe(
        toy,
        folder,
        *ASKED,
        "train.max_tokens=70",
        "train.update_freq=5",
        streams=STREAMS,
    )
    trainer, _ = build(run)
    list(trainer.run())
    trainer.model.eval()
    return trainer


def probes(trainer: Trainer) -> dict[str, SourceUseTask]:
    return {
        probe.stream: probe
        for probe in trainer.validator.probes
        if isinstance(probe, SourceUseTask)
    }


def loss(
    trainer: Trainer, task: SourceUseTask, number: int, source: Tokens | None = None
) -> tuple[float, float]:
    """The loss of one example with another source, and its number of targets."""
    objective = task.objective.eval()
    batch = objective.prepare(trainer.model, task.batch_builder(np.array([number]), 0))
    if source is not None:
        batch = replace(batch, source=source)
    ((_, term),) = objective(trainer.model, batch).items()
    return float(term.nll), sum(batch.counts.values())


def source_of(trainer: Trainer, task: SourceUseTask, number: int) -> Tokens:
    return (
        task.objective.eval()
        .prepare(trainer.model, task.batch_builder(np.array([number]), 0))
        .source
    )


@pytest.mark.parametrize("stream", STREAMS)
@torch.no_grad()
def test_each_example_reads_the_source_of_the_next_longer_one(
    stream: str, trained: Trainer
) -> None:
    task = probes(trained)[stream]
    # The length of the stored line: noise may shorten what is read.
    lengths = {
        number: len(task.batch_builder.dataset[number].fields[0]) for number in range(7)
    }
    order = sorted(lengths, key=lambda number: (lengths[number], number))
    others = dict(zip(order, [*order[1:], order[-2]], strict=True))
    mask = task.framing.vocab.mask
    sums = np.zeros(4)
    targets = 0.0
    for number in range(7):
        own = source_of(trained, task, number)
        other = source_of(trained, task, others[number])
        masked = own.ids.clone()
        for place in range(masked.shape[1]):
            if int(masked[0, place]) in task.framing.vocab.ordinary_ids.tolist():
                masked[0, place] = mask
        nll, count = loss(trained, task, number)
        sums[0] += nll
        sums[1] += loss(trained, task, number, other)[0]
        sums[2] += loss(trained, task, number, replace(own, ids=masked))[0]
        sums[3] += loss(trained, task, number, with_seams(own, other, mask))[0]
        targets += count
    own_loss, *others_losses = (sums / targets).tolist()
    expected = dict(
        zip(
            ("source_use", "source_use_masked", "source_use_far"),
            others_losses,
            strict=True,
        )
    )
    measured = task.measure(trained.model)
    is_mass = stream in ("mass", "tagged")
    assert len(measured) == (3 if is_mass else 2)
    for name, value in measured.items():
        kind = name.partition(".")[0]
        assert value == pytest.approx(expected[kind] - own_loss, abs=2e-5), name


def with_seams(own: Tokens, other: Tokens, mask: int) -> Tokens:
    """The other source, with the two words on each side of the own fragment at their places."""
    ids = other.ids.clone()
    visible = (
        other.cross_attention_mask.clone()
        if other.cross_attention_mask is not None
        else None
    )
    fragment = {
        place for place in range(own.ids.shape[1]) if int(own.ids[0, place]) == mask
    }
    # Neither end symbol is moved or overwritten.
    end = min(int(own.lengths[0]) - 1, int(other.lengths[0]) - 1)
    for place in range(end):
        near = any(abs(place - target) <= 2 for target in fragment)
        if near and place not in fragment:
            ids[0, place] = own.ids[0, place]
            if visible is not None:
                visible[0, place] = True
    hides = visible if other.self_attention_mask is not None else None
    return replace(
        other, ids=ids, cross_attention_mask=visible, self_attention_mask=hides
    )


@torch.no_grad()
def test_a_sentence_is_predicted_from_its_translation_or_a_random_one(
    trained: Trainer,
) -> None:
    (task,) = (
        probe for probe in trained.validator.probes if isinstance(probe, CrossUseTask)
    )
    order = np.random.default_rng(0).permutation(7).tolist()
    following = dict(zip(order, [*order[1:], order[0]], strict=True))
    for first, second, name in ((0, 1, "cross_use.en-de"), (1, 0, "cross_use.de-en")):
        languages = task.pair[first], task.pair[second]
        difference = words = 0.0
        for number, target in enumerate(task.sides[second]):
            right, wrong = (
                task.sides[first][number],
                task.sides[first][following[number]],
            )
            scores = [
                slow_score(trained.model, task.framing, ids, target, languages)
                for ids in (right, wrong)
            ]
            difference += scores[0] - scores[1]
            words += len(target)
        assert task.measure(trained.model)[name] == pytest.approx(
            difference / words, abs=2e-5
        )


def slow_score(
    model: Transformer,
    framing: Framing,
    source: np.ndarray,
    target: np.ndarray,
    languages: tuple[str, str],
) -> float:
    """The log-probability of the words of a sentence, one at a time."""
    ids = torch.from_numpy(framing.encoder_input(source, languages[0]))[None]
    encoder_input = Tokens(
        ids,
        torch.tensor([ids.shape[1]]),
        language=framing.language_tensor(languages[0], 1),
    )
    memory = model.encode(encoder_input)
    written = [framing.decoder_start(languages[1])]
    total = 0.0
    for word in target.tolist():
        prefix = torch.tensor([written])
        tokens = Tokens(
            prefix,
            torch.tensor([len(written)]),
            language=framing.language_tensor(languages[1], 1),
        )
        logits: Tensor = model.logits(model.decode(tokens, memory)[0, -1])
        total += float(torch.log_softmax(logits.double(), 0)[word])
        written.append(word)
    return total


def test_a_decoder_that_ignores_its_source_has_a_source_use_of_0(
    toy: Path, tmp_path: Path
) -> None:
    trainer, _ = build(recipe(toy, tmp_path, *ASKED, streams=STREAMS))
    for name, parameter in trainer.model.named_parameters():
        if "cross_attention.out" in name:
            torch.nn.init.zeros_(parameter)
    measured = trainer.validator.measure(trainer.model).metrics
    uses = {name: value for name, value in measured.items() if "_use" in name}
    assert set(uses) <= set(trainer.validator.names)
    assert len(uses) == 2 * len(STREAMS) + 2 + 3
    assert uses == pytest.approx(dict.fromkeys(uses, 0.0), abs=1e-6)
    # Streams are trained again, and nothing is left of the measurement.
    assert all(stream.objective.training for stream in trainer.streams.values())


def test_measurements_that_are_impossible_are_reported(
    toy: Path, tmp_path: Path
) -> None:
    clm = {"clm": {"dataset": "en", "objective": {"name": "clm"}}}
    decoder = ("model.encoder_layers=0", "model.languages=none")
    _, notes = build(recipe(toy, tmp_path / "clm", *ASKED, *decoder, streams=clm))
    assert "no source use: no stream of the run predicts from a source" in notes
    assert any(
        note.startswith("no cross-lingual use: the valid split") for note in notes
    )
    single = ("valid.eval_source_use=true", "valid.max_valid_rows=1")
    with pytest.raises(MasscliError) as error:
        build(recipe(toy, tmp_path / "one", *single))
    assert (
        error.value.message
        == "--eval-source-use: pairs has a single validation example"
    )
