"""What back-translation asks of a search and makes of its results, with a search that stands for the real one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from masscli.core.rng import example_generator
from masscli.data.batches.batch import Batch, Ids
from masscli.data.batches.dataset import Example
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.generation.config import GenerationConfig
from masscli.generation.hypotheses import Hypothesis
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer
from masscli.objectives.backtranslate import objective as module
from masscli.objectives.backtranslate.objective import Backtranslate
from masscli.objectives.backtranslate.options import BacktranslateOptions
from masscli.objectives.objective import ObjectiveContext

FOUND, DRAWN = 50, 51
"""Pieces with which this search begins what it has found, and what it has drawn."""
POSITIONS = 12


@dataclass
class Call:
    """What a decoder was made with, and what it was asked for."""

    config: GenerationConfig
    batch_tokens: int
    allowed: Tensor | None
    sentences: list[list[int]] = field(default_factory=list)
    languages: tuple[str, str] = ("", "")
    keys: list[int] = field(default_factory=list)


CALLS: list[Call] = []


class BackwardsDecoder:
    """Writes every sentence backwards after FOUND or DRAWN; nothing for 40, and reaches the limit with 41."""

    def __init__(
        self,
        models: Sequence[Transformer],
        framing: Framing,
        config: GenerationConfig,
        batch_tokens: int,
        allowed: Tensor | None,
    ) -> None:
        CALLS.append(Call(config, batch_tokens, allowed))

    def generate(
        self,
        sentences: Sequence[Ids],
        source: str,
        target: str,
        sample_keys: Sequence[int],
    ) -> list[list[Hypothesis]]:
        call = CALLS[-1]
        call.sentences = [ids.tolist() for ids in sentences]
        call.languages = (source, target)
        call.keys = list(sample_keys)
        first = DRAWN if call.config.sampling else FOUND
        return [
            []
            if 40 in ids
            else [
                Hypothesis((first, *ids[::-1]), -1.0, (), hit_max_len=41 in ids),
                Hypothesis((60,), -2.0, (), hit_max_len=False),
            ]
            for ids in call.sentences
        ]


@pytest.fixture(autouse=True)
def decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    CALLS.clear()
    monkeypatch.setattr(module, "Decoder", BackwardsDecoder)


@pytest.fixture(scope="module")
def data(toy: Path) -> DataFolder:
    return DataFolder.open(toy)


@pytest.fixture(scope="module")
def model(data: DataFolder) -> Transformer:
    shape: dict[str, Any] = {
        "dim": 8,
        "ffn_dim": 8,
        "heads": 1,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "max_positions": POSITIONS,
    }
    return Transformer(ModelConfig(**shape), data.vocab.size, ())


FRAMINGS: dict[str, dict[str, Any]] = {
    "no start": {"source_bos": False, "language_tag": False},
    "start": {"source_bos": True, "language_tag": False},
    "tag last": {"source_bos": True, "language_tag": True, "source_tag": "last"},
}


def prepare(
    data: DataFolder,
    model: Transformer,
    lines: Sequence[Sequence[int]],
    framing: str = "no start",
    training: bool = True,
    **options: Any,
) -> tuple[Backtranslate, Batch, list[list[int]]]:
    """The objective, the batch with made sources, and these sources without special tokens."""
    frame = Framing(data.vocab, languages=(), **FRAMINGS[framing])
    context = ObjectiveContext(frame, ModelConfig(), "en-de")
    objective = Backtranslate(BacktranslateOptions(**options), context).train(training)
    examples = [Example(row, (np.array(ids),)) for row, ids in enumerate(lines)]
    rngs = [example_generator(1, "bt", 0, row) for row in range(len(lines))]
    batch = objective.prepare(model, objective.collator()(examples, rngs))
    sources = []
    for row, length in zip(
        batch.source.ids.tolist(), batch.source.lengths.tolist(), strict=True
    ):
        whole = row[:length]
        assert row[length:] == [data.vocab.pad] * (len(row) - length)
        inner = whole[frame.prefix_length : length - frame.suffix_length]
        # The special tokens are those that an encoder reads around English text that becomes German.
        assert whole == frame.encoder_input(np.array(inner), "en", "de").tolist()
        sources.append(inner)
    return objective, batch, sources


@pytest.mark.parametrize("framing", FRAMINGS)
def test_every_sentence_has_its_own_translation(
    framing: str, data: DataFolder, model: Transformer
) -> None:
    lines = [[41], [42, 43, 44], [40, 42], [45, 46]]
    _, batch, sources = prepare(data, model, lines, framing, beam=3)
    assert sources == [[FOUND, 41], [FOUND, 44, 43, 42], [], [FOUND, 46, 45]]
    [call] = CALLS
    assert call.sentences == lines, "without special tokens"
    assert call.languages == ("de", "en")
    assert call.keys == batch.seeds.tolist() and len(set(call.keys)) == 4
    assert call.allowed is None
    config = call.config
    assert (config.beam, config.sampling, config.temperature) == (3, False, 1.0)
    assert (config.max_len_a, config.max_len_b) == (1.3, 5)
    # A block of four rows as long as the longest sentence, for three rows of a beam.
    longest = len(Framing(data.vocab, languages=(), **FRAMINGS[framing]).encoder_input(
        np.array(lines[1]), "de"
    ))  # fmt: skip
    assert call.batch_tokens == 4 * longest * 3


def test_a_share_is_sampled_in_training_and_nothing_in_validation(
    data: DataFolder, model: Transformer
) -> None:
    lines = [[42 + n % 7, 43] for n in range(400)]
    options = {"beam": 4, "sampling_share": 0.3, "temperature": 0.7}
    _, _, sources = prepare(data, model, lines, **options)
    first = np.array([source[0] for source in sources])
    assert set(first.tolist()) == {FOUND, DRAWN}
    # Four standard deviations of a binomial distribution.
    assert abs((first == DRAWN).mean() - 0.3) < 4 * (0.3 * 0.7 / 400) ** 0.5
    assert [source[1:] for source in sources] == [line[::-1] for line in lines]
    found, drawn = (call.config for call in CALLS)
    assert (found.sampling, found.beam, found.temperature) == (False, 4, 1.0)
    assert (drawn.sampling, drawn.beam, drawn.temperature) == (True, 1, 0.7)
    CALLS.clear()
    _, _, sources = prepare(data, model, lines, training=False, **options)
    assert {source[0] for source in sources} == {FOUND}
    [call] = CALLS
    assert not call.config.sampling


def test_all_or_nothing_is_sampled(data: DataFolder, model: Transformer) -> None:
    for share, expected in ((0.0, FOUND), (1.0, DRAWN)):
        CALLS.clear()
        _, _, sources = prepare(data, model, [[42], [43]] * 20, sampling_share=share)
        assert {source[0] for source in sources} == {expected}
        assert len(CALLS) == 1, "no search for nothing"


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_tag_stands_before_each_source_and_takes_the_place_of_the_last_token(
    framing: str, data: DataFolder, model: Transformer
) -> None:
    lines = [[42], list(range(42, 54)), [40]]
    objective, batch, sources = prepare(data, model, lines, framing, tag_sources=True)
    tag = objective.context.framing.synthetic_tag
    frame = objective.context.framing
    room = POSITIONS - frame.prefix_length - frame.suffix_length
    written = [FOUND, *lines[1][::-1]]
    assert sources == [[tag, FOUND, 42], [tag, *written[: room - 1]], [tag]]
    assert batch.source.ids.shape[1] == POSITIONS


def test_noise_is_added_in_training_alone_and_each_kind_by_its_option(
    data: DataFolder, model: Transformer
) -> None:
    lines = [list(range(42, 50))] * 200
    plain = [FOUND, *lines[0][::-1]]
    for option, share in (("source_dropout", 0.25), ("source_blank", 0.25)):
        _, _, quiet = prepare(data, model, lines, training=False, **{option: share})
        assert quiet == [plain] * 200
        _, _, noisy = prepare(data, model, lines, **{option: share})
        if option == "source_dropout":
            kept = sum(map(len, noisy)) / (200 * len(plain))
            assert all(set(source) <= set(plain) for source in noisy)
        else:
            blank = sum(source.count(data.vocab.mask) for source in noisy)
            kept = 1 - blank / (200 * len(plain))
        assert abs(kept - 0.75) < 4 * (0.25 * 0.75 / (200 * len(plain))) ** 0.5
        assert len({tuple(source) for source in noisy}) > 50, "each has its own draw"
    _, _, noisy = prepare(data, model, lines, source_shuffle=2.0)
    assert all(sorted(source) == sorted(plain) for source in noisy)
    assert any(source != plain for source in noisy)


def test_the_monitor_reads_the_outputs_of_the_model(
    data: DataFolder, model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The monitor reads outputs before noise and tags are added, and only in training."""
    seen: list[Any] = []

    class Watch:
        def add(self, *given: Any) -> None:
            seen.append(given)

    original = Backtranslate.__init__

    def with_watch(self: Backtranslate, *given: Any) -> None:
        original(self, *given)
        self.monitor = Watch()  # type: ignore[assignment]

    monkeypatch.setattr(Backtranslate, "__init__", with_watch)
    lines = [[41, 42], [43], [40]]
    noise = {"source_dropout": 0.9, "tag_sources": True}
    prepare(data, model, lines, training=False, **noise)
    assert seen == []
    prepare(data, model, lines, **noise)
    [(sentences, sources, hit_max_length)] = seen
    assert [ids.tolist() for ids in sentences] == lines
    assert [ids.tolist() for ids in sources] == [[FOUND, 42, 41], [FOUND, 43], []]
    assert hit_max_length == [True, False, False]


def test_allowed_pieces_are_those_of_the_source_language(
    data: DataFolder, model: Transformer
) -> None:
    counts = data.piece_counts("en")
    # Some pieces occur exactly so often, and some less.
    often = int(np.unique(counts[counts > 0])[1])
    frame = Framing(data.vocab, languages=(), **FRAMINGS["no start"])
    context = ObjectiveContext(frame, ModelConfig(), "en-de")
    objective = Backtranslate(BacktranslateOptions(min_piece_count=often), context)
    objective.read_statistics(data)
    examples = [Example(0, (np.array([42]),))]
    objective.prepare(
        model, objective.collator()(examples, [example_generator(1, "bt", 0, 0)])
    )
    [call] = CALLS
    assert call.allowed is not None
    assert call.allowed.tolist() == (counts >= often).tolist()
    objective = Backtranslate(BacktranslateOptions(), context)
    objective.read_statistics(data)
    assert not objective.allowed_pieces


def test_sampled_and_searched_sources_get_the_same_noise(
    data: DataFolder, model: Transformer
) -> None:
    """No two decisions about an example follow from the same random number."""
    lines = [[42, 43, 44]] * 400
    options = {"sampling_share": 0.3, "source_dropout": 0.3}
    _, batch, sources = prepare(data, model, lines, **options)
    is_drawn = np.isin(batch.seeds.numpy(), CALLS[1].keys)
    is_first_dropped = np.array([source[0] < FOUND for source in sources])
    for chosen in (is_drawn, ~is_drawn):
        spread = (0.3 * 0.7 / chosen.sum()) ** 0.5
        assert abs(is_first_dropped[chosen].mean() - 0.3) < 4 * spread


def test_translations_and_copies_are_distinguished(
    data: DataFolder,
) -> None:
    """The statistics that are read are those of the two languages."""
    frame = Framing(data.vocab, languages=(), **FRAMINGS["no start"])
    context = ObjectiveContext(frame, ModelConfig(), "en-de")
    objective = Backtranslate(BacktranslateOptions(), context)
    assert objective.take_training_metrics() == {}
    assert objective.training_warnings({"language": 0.0}) == []
    objective.read_statistics(data)
    english, german = (
        [data.monolingual("train", language)[row] for row in range(50)]
        for language in ("en", "de")
    )
    for outputs, share in ((english, 1.0), (german, 0.0)):
        assert objective.monitor is not None
        objective.monitor.add(german, outputs, [False] * 50)
        amount, count = objective.take_training_metrics()["language"]
        assert count == 50 and amount / count == pytest.approx(share, abs=0.1)
        warnings = objective.training_warnings({"language": amount / count})
        assert bool(warnings) is (share == 0)
