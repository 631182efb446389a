"""Back-translation: what is read, what is made of it, what stays the same however it is run, and whether languages are learned from it."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from masscli.__main__ import run as masscli
from masscli.cli.preprocess import run as preprocess
from masscli.cli.training_events import follow
from masscli.core.config import ConfigError
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Tokens
from masscli.data.batches.framing import Framing
from masscli.data.batches.loader import BatchBuilder
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.storage.columns import count_pieces
from masscli.data.storage.data_folder import DataFolder
from masscli.generation.config import GenerationConfig
from masscli.generation.decoder import Decoder
from masscli.generation.inference_copy import inference_copy
from masscli.generation.retrieval import precision_at_1, sentence_vectors
from masscli.generation.translation import Translation
from masscli.generation.translator import EMPTY_HYPOTHESIS, Translator
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer
from masscli.objectives.backtranslate.monitor import BacktranslationMonitor
from masscli.objectives.backtranslate.objective import Backtranslate
from masscli.objectives.backtranslate.options import BacktranslateOptions
from masscli.objectives.objective import ObjectiveContext
from masscli.training.events import Evaluated, Event, Finished, Saved, Stepped
from masscli.training.recipe import StreamConfig
from masscli.training.setup.build import build
from masscli.training.setup.compose import compose
from masscli.training.setup.request import TrainRequest
from masscli.training.validation_tasks import TranslationTask
from tests.commands import succeed
from tests.toy import TRAIN, VALID, make_data, recipe
from tests.toy import composed as recipe_of
from tests.training.test_trainer import (
    EXACT,
    during_update,
    finished,
    last_checkpoint,
    max_difference,
    same_run,
    steps,
    train,
)

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")

BOTH: dict[str, Any] = {
    f"bt-{text}": {
        "dataset": text,
        "objective": {
            "name": "backtranslate",
            "sampling_share": 0.5,
            "source_dropout": 0.2,
        },
    }
    for text in ("en-de", "de-en")
}


@pytest.fixture(scope="module")
def data(toy: Path) -> DataFolder:
    return DataFolder.open(toy)


@pytest.fixture(scope="module")
def framing(data: DataFolder) -> Framing:
    return Framing(data.vocab, False, False, ("en", "de"))


def make(data: DataFolder, compute: torch.dtype = torch.float32) -> Transformer:
    torch.manual_seed(3)
    shape: dict[str, Any] = {
        "dim": 16,
        "ffn_dim": 24,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "languages": "embedding",
    }
    model = Transformer(ModelConfig(**shape), data.vocab.size, ("en", "de"))
    model.compute_dtype = compute
    return model


def prepared(
    data: DataFolder,
    framing: Framing,
    rows: list[int],
    epoch: int = 0,
    training: bool = True,
    **options: Any,
) -> tuple[Batch, Batch]:
    """A batch of German before and after a model made English of it."""
    objective = Backtranslate(
        BacktranslateOptions(**options),
        ObjectiveContext(framing, ModelConfig(), "en-de"),
    ).train(training)
    objective.read_statistics(data)
    before = BatchBuilder("bt", *objective.dataset(data, "train"), 1)(
        np.array(rows), epoch
    )
    return before, objective.prepare(make(data).train(), before)


def sources(batch: Batch) -> list[list[int]]:
    return [
        row[:n].tolist()
        for row, n in zip(batch.source.ids, batch.source.lengths.tolist(), strict=True)
    ]


# -- a batch ---------------------------------------------------------------------------------------------------------------------------


def test_the_source_is_what_generate_would_write_and_the_target_is_real(
    data: DataFolder, framing: Framing
) -> None:
    rows = [3, 14, 15]
    before, after = prepared(data, framing, rows)
    german = [data.monolingual("train", "de")[row] for row in rows]
    config = GenerationConfig(beam=1, max_len_a=1.3, max_len_b=5)
    expected = [
        found[0].ids
        for found in Decoder([make(data)], framing, config).generate(german, "de", "en")
    ]
    assert sources(after) == [[*ids, data.vocab.eos] for ids in expected]
    assert after.source.language is not None and after.source.language.tolist() == [
        0,
        0,
        0,
    ]  # English
    wanted = after.labels["backtranslate"].ids.tolist()
    assert (
        wanted == [i for row in german for i in [*row.tolist(), data.vocab.eos]]
        and after.counts == before.counts
    )
    assert (
        after.target is not None
        and after.target.language is not None
        and after.target.language.tolist() == [1, 1, 1]
    )


def test_synthetic_sources_depend_only_on_example_and_epoch(
    data: DataFolder, framing: Framing
) -> None:
    noisy = {
        "sampling_share": 0.5,
        "source_shuffle": 3.0,
        "source_dropout": 0.1,
        "source_blank": 0.1,
    }
    together = sources(prepared(data, framing, list(range(8)), **noisy)[1])
    assert [
        sources(prepared(data, framing, [row], **noisy)[1])[0] for row in range(8)
    ] == together
    assert (
        sources(prepared(data, framing, list(range(8)), epoch=1, **noisy)[1])
        != together
    )
    quiet = sources(prepared(data, framing, list(range(8)), training=False, **noisy)[1])
    assert quiet == sources(
        prepared(data, framing, list(range(8)))[1]
    )  # validation: greedy, without noise


@torch.no_grad()
def test_sampled_sources_are_drawn_from_the_model(
    data: DataFolder, framing: Framing
) -> None:
    """How often the likeliest piece comes first is how likely it is; of several draws the best would be it far more often."""
    before, after = prepared(
        data,
        framing,
        list(range(TRAIN)),
        sampling_share=1.0,
        max_len_a=0.0,
        max_len_b=1,
    )
    model, vocab = make(data).eval(), data.vocab
    start = torch.full((TRAIN, 1), vocab.bos)
    english = torch.zeros(TRAIN, dtype=torch.int64)
    scores = model.logits(
        model.decode(
            Tokens(start, torch.ones_like(english), language=english),
            model.encode(before.source),
        )
    )[:, 0]
    never = sorted(vocab.special_ids - {vocab.unk})
    shares = scores.index_fill(1, torch.tensor(never), -torch.inf).softmax(1)
    likely, best = shares.max(1)
    hits = sum(
        row[0] == piece
        for row, piece in zip(sources(after), best.tolist(), strict=True)
    )
    expected, spread = float(likely.sum()), float((likely * (1 - likely)).sum()) ** 0.5
    assert abs(hits - expected) < 4 * spread
    assert float((1 - (1 - likely) ** 5).sum()) > expected + 8 * spread, (
        "the best of five would be told apart"
    )


def test_only_pieces_of_the_language_are_generated(
    data: DataFolder, framing: Framing
) -> None:
    counts = count_pieces(data.monolingual("train", "en"), data.vocab.size)
    slow = np.bincount(
        np.concatenate([data.monolingual("train", "en")[row] for row in range(TRAIN)]),
        minlength=data.vocab.size,
    )
    assert (counts == slow).all()
    free, bound = (
        sources(prepared(data, framing, list(range(9)), min_piece_count=n)[1])
        for n in (0, 5)
    )
    assert any(counts[i] < 5 for row in free for i in row[:-1]), (
        "an untrained model writes anything"
    )
    assert all(counts[i] >= 5 for row in bound for i in row[:-1])


def test_the_inference_copy_is_the_model_in_another_dtype(data: DataFolder) -> None:
    model = make(data)
    assert inference_copy(model) is model
    model.compute_dtype = torch.bfloat16
    copy = inference_copy(model.train())
    assert (
        not copy.training
        and model.training
        and not any(p.requires_grad for p in copy.parameters())
    )
    for name, tensor in copy.state_dict().items():
        assert tensor.dtype == torch.bfloat16 and torch.equal(
            tensor, model.state_dict()[name].to(torch.bfloat16)
        ), name


# -- the watch ---------------------------------------------------------------------------------------------------------------------------


def watched(
    inputs: list[list[int]], outputs: list[list[int]], cut: list[bool]
) -> tuple[dict[str, float], list[str]]:
    """Of a vocabulary of ten: 0..4 are read, 5..8 are written, 9 is in both."""
    drift = BacktranslationMonitor(
        np.array([9, 9, 9, 9, 9, 0, 0, 0, 0, 5]),
        np.array([0, 0, 0, 0, 0, 9, 9, 9, 9, 4]),
    )
    drift.add([np.array(x) for x in inputs], [np.array(x) for x in outputs], cut)
    figures = {name: a / b for name, (a, b) in drift.take().items() if b}
    assert all(pair == (0, 0) for pair in drift.take().values())
    return figures, drift.training_warnings(figures)


def test_healthy_output_causes_no_warning() -> None:
    figures, concerns = watched(
        [[0, 1, 9], [2, 3, 4]], [[5, 6, 9], [7, 8, 5]], [False, False]
    )
    assert figures == {
        "copied": 1 / 6,
        "length": 1.0,
        "language": 1.0,
        "repeated": 0.0,
        "distinct": 1.0,
        "cut": 0.0,
    }
    assert concerns == []


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([[0, 1, 9], [2, 3, 4]],
         ["back-translation copies its input (100% of the pieces, the languages share 10%)",
          "back-translation writes the wrong language (100% of the outputs look like another)"]),
        ([[5] * 9, [6] * 9],
         ["back-translation has lost the length of its input (3.00 pieces for each one read)",
          "back-translation repeats itself (88% of the bigrams occur earlier in the same output)"]),
        ([[5, 6, 7], [5, 6, 7]], ["back-translation collapses (0% of the outputs differ from all others)"]),
    ],
)  # fmt: skip
def test_failures_are_reported_by_name(
    outputs: list[list[int]], expected: list[str]
) -> None:
    assert watched([[0, 1, 9], [2, 3, 4]], outputs, [False, False])[1] == expected


def test_a_third_language_is_the_wrong_one() -> None:
    """Pieces 5 and 6 are more frequent in the target language than in the source language, and still more frequent
    in a third one."""
    read, written, other = (
        np.array([9, 9, 1, 1]),
        np.array([1, 1, 4, 4]),
        np.array([0, 0, 40, 40]),
    )
    figures = []
    for others in ((), (other,)):
        drift = BacktranslationMonitor(read, written, *others)
        drift.add([np.array([0, 1])], [np.array([2, 3])], [False])
        figures.append(
            {name: a / b for name, (a, b) in drift.take().items() if b}["language"]
        )
    assert figures == [1.0, 0.0]


def test_output_that_does_not_end_is_reported() -> None:
    assert watched([[0, 1]], [[5, 6]], [True])[1] == [
        "back-translation does not end (100% of the outputs reach the length limit)"
    ]


# -- the loop ----------------------------------------------------------------------------------------------------------------------------


def test_a_continued_run_makes_the_same_sources(toy: Path, tmp_path: Path) -> None:
    whole = train(recipe(toy, tmp_path / "whole", "train.max_update=6", streams=BOTH))
    for stop in (2, 6):
        train(recipe(toy, tmp_path / "parts", f"train.max_update={stop}", streams=BOTH))
    assert same_run(tmp_path / "whole", tmp_path / "parts")
    figures = steps(whole)[-1].objective_metrics
    assert {name.partition(".")[2] for name in figures} == set(
        BacktranslationMonitor.names
    ) and 0 < steps(whole)[-1].generation_share < 1


def test_synthetic_batches_are_reused(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three updates of a list of micro-batches: it is made once, saves wait for the third, and a run may be stopped at any moment."""
    made: list[int] = []
    original = Backtranslate.prepare

    def prepare(self: Backtranslate, model: Transformer, batch: Batch) -> Batch:
        if self.training:
            made.append(len(batch.example_numbers))
        return original(self, model, batch)

    monkeypatch.setattr(Backtranslate, "prepare", prepare)
    changes = (
        "train.batch_reuse=3",
        "train.max_update=9",
        "checkpoint.save_interval_updates=4",
    )
    whole = train(recipe(toy, tmp_path / "whole", *changes, streams=BOTH))
    assert [e.step for e in whole if isinstance(e, Saved)] == [6, 9] and len(made) == 6
    assert len({sum(step.losses.values()) for step in steps(whole)}) == 9
    during_update(4, lambda trainer: signal.raise_signal(signal.SIGTERM), monkeypatch)
    stopped = train(recipe(toy, tmp_path / "parts", *changes, streams=BOTH))
    assert (
        last_checkpoint(tmp_path / "parts").state.step == 6
        and finished(stopped).interrupted
    )
    train(recipe(toy, tmp_path / "parts", *changes, streams=BOTH))
    assert same_run(tmp_path / "whole", tmp_path / "parts")
    once = train(recipe(toy, tmp_path / "once", "train.max_update=1", streams=BOTH))
    assert steps(once)[0].losses == steps(whole)[0].losses
    with pytest.raises(
        MasscliError,
        match=r"train\.max_update: must be a multiple of --batch-reuse \(3\), got 10",
    ):
        recipe(toy, tmp_path, "train.batch_reuse=3", "train.max_update=10")


def test_a_search_that_runs_out_of_memory_is_repeated_in_parts(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = (*EXACT, "train.max_update=3")
    train(recipe(toy, tmp_path / "plain", *exact, streams=BOTH))
    original: Callable[..., Any] = Decoder.generate

    def generate(self: Decoder, given: Any, *args: Any, **more: Any) -> Any:
        if len(given) > 4 and self.models[0].training:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return original(self, given, *args, **more)

    monkeypatch.setattr(Decoder, "generate", generate)
    train(recipe(toy, tmp_path / "scarce", *exact, streams=BOTH))
    assert (
        last_checkpoint(tmp_path / "scarce").state.oom_retries == 3
        and last_checkpoint(tmp_path / "plain").state.oom_retries == 0
    )
    assert max_difference(tmp_path / "plain", tmp_path / "scarce") < 2e-5


def test_validation_translates_there_and_back(toy: Path, tmp_path: Path) -> None:
    asked = (
        "valid.eval_roundtrip=true",
        "valid.eval_bleu=true",
        "valid.eval_retrieval=true",
        "checkpoint.best_metric=roundtrip",
    )
    run = recipe(
        toy,
        tmp_path,
        "train.max_update=1",
        "valid.max_valid_rows=4",
        *asked,
        streams=BOTH,
    )
    [measured] = [e for e in train(run) if isinstance(e, Evaluated)]
    own = {"roundtrip", "roundtrip.de-en-de", "roundtrip.en-de-en", "bleu", "bleu.en-de", "bleu.de-en",
           "retrieval", "retrieval.en-de", "retrieval.de-en"}  # fmt: skip
    assert set(measured.metrics) == {
        "loss",
        "ppl",
        "bt-en-de.loss",
        "bt-de-en.loss",
        *own,
    }
    trainer = build(run)[0]
    [task] = [
        task
        for task in trainer.validator.generation_tasks
        if isinstance(task, TranslationTask) and task.path == ("de", "en", "de")
    ]
    assert (
        task.sources
        == task.references
        == DataFolder.open(toy).original_lines("valid", "de", "de")[:4]
    )


@pytest.mark.parametrize(("begins", "expected"), [("", 0.0), ("x ", 100.0)])
def test_copies_do_not_count_as_round_trips(
    begins: str,
    expected: float,
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model that leaves text as it is would win every round trip; and the pieces that may be written are those of training."""
    asked = (
        "valid.eval_roundtrip=true",
        "valid.max_valid_rows=8",
        "checkpoint.best_metric=roundtrip",
    )
    streams = {
        name: {**stream, "objective": {**stream["objective"], "min_piece_count": 1}}
        for name, stream in BOTH.items()
    }
    allowed: list[torch.Tensor | None] = []

    def translate(
        self: Translator, lines: Iterable[str], source: str, target: str
    ) -> Iterator[list[Translation]]:
        allowed.append(self.decoder.allowed)
        back = source != target and len(allowed) % 2 == 0
        return (
            [
                Translation(
                    line.removeprefix(begins) if back else f"{begins}{line}",
                    EMPTY_HYPOTHESIS,
                )
            ]
            for line in lines
        )

    monkeypatch.setattr(Translator, "translate", translate)
    trainer = build(recipe(toy, tmp_path, *asked, streams=streams))[0]
    measured = trainer.validator.measure(trainer.model).metrics
    assert measured["roundtrip"] == pytest.approx(expected)
    assert len(allowed) == 4 and all(
        pieces is not None and not pieces.all() for pieces in allowed
    )


@pytest.mark.parametrize(("begins", "expected"), [("", 0.0), ("x ", 100.0)])
def test_a_copy_is_recognized_whatever_its_spelling(
    begins: str,
    expected: float,
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model of lower-cased text writes a copy in small letters, and is measured without regard to them."""
    for split in ("train", "valid"):
        for side in ("en", "de"):
            lines = (toy.parent / f"{split}.{side}").read_text(encoding="utf-8").title()
            (tmp_path / f"{split}.{side}").write_text(lines, encoding="utf-8")
    prefixes = {"trainpref": tmp_path / "train", "validpref": tmp_path / "valid"}
    preprocess(
        PreprocessConfig(
            langs=("en", "de"),
            vocab_size=96,
            lowercase=True,
            destdir=tmp_path / "data",
            **prefixes,
        )
    )

    def translate(
        self: Translator, lines: Iterable[str], source: str, target: str
    ) -> Iterator[list[Translation]]:
        return (
            [
                Translation(
                    line.removeprefix("x ")
                    if line.startswith("x ")
                    else f"{begins}{line.lower()}",
                    EMPTY_HYPOTHESIS,
                )
            ]
            for line in lines
        )

    monkeypatch.setattr(Translator, "translate", translate)
    trainer = build(
        recipe(
            tmp_path / "data",
            tmp_path / "run",
            "valid.eval_roundtrip=true",
            streams=BOTH,
        )
    )[0]
    assert trainer.validator.measure(trainer.model).metrics[
        "roundtrip"
    ] == pytest.approx(expected)


def test_romanian_without_marks_is_compared_without_marks(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        f"{word} șa țară în câmp"
        for word in (toy.parent / "valid.en").read_text(encoding="utf-8").split("\n")
        if word
    ]
    for side in ("en", "ro"):
        (tmp_path / f"x.{side}").write_text(
            "".join(f"{line}\n" for line in lines), encoding="utf-8"
        )
    prefixes = {"trainpref": tmp_path / "x", "validpref": tmp_path / "x"}
    options: dict[str, Any] = {
        "vocab_size": 96,
        "romanian": "plain",
        "drop_held_out": False,
    }
    preprocess(
        PreprocessConfig(
            langs=("en", "ro"), destdir=tmp_path / "data", **prefixes, **options
        )
    )
    plain = {"ă": "a", "â": "a", "î": "i", "ș": "s", "ț": "t"}

    def translate(
        self: Translator, lines: Iterable[str], source: str, target: str
    ) -> Iterator[list[Translation]]:
        return (
            [
                Translation(
                    "".join(plain.get(c, c) for c in line) if target == "ro" else line,
                    EMPTY_HYPOTHESIS,
                )
            ]
            for line in lines
        )

    monkeypatch.setattr(Translator, "translate", translate)
    streams = {
        text: {"dataset": text, "objective": {"name": "translate"}}
        for text in ("en-ro", "ro-en")
    }
    trainer = build(
        recipe(
            tmp_path / "data", tmp_path / "run", "valid.eval_bleu=true", streams=streams
        )
    )[0]
    result = trainer.validator.measure(trainer.model)
    measured, signatures = result.metrics, result.signatures
    assert measured["bleu.en-ro"] == measured["bleu.ro-en"] == pytest.approx(100)
    assert (
        signatures["bleu.en-ro"].endswith("|romanian:plain")
        and "romanian" not in signatures["bleu.ro-en"]
    )


def test_sampling_has_a_temperature_and_validation_does_not_sample(
    toy: Path, tmp_path: Path
) -> None:
    options = {"sampling_share": 1.0, "temperature": 0.7}
    streams = {
        name: {**stream, "objective": {**stream["objective"], **options}}
        for name, stream in BOTH.items()
    }
    assert (
        finished(
            train(recipe(toy, tmp_path, "train.max_update=1", streams=streams))
        ).reason
        == "done"
    )
    with pytest.raises(
        ConfigError, match=r"temperature: nothing is sampled \(--sampling-share\)$"
    ):
        BacktranslateOptions(temperature=0.7)


def test_a_language_without_allowed_pieces_is_refused(
    toy: Path, tmp_path: Path
) -> None:
    streams = {
        name: {**stream, "objective": {**stream["objective"], "min_piece_count": 10**6}}
        for name, stream in BOTH.items()
    }
    with pytest.raises(MasscliError) as error:
        build(recipe(toy, tmp_path, streams=streams))
    assert (
        error.value.message
        == "--min-piece-count 1000000: no piece of en occurs so often"
    )


def test_generate_uses_only_frequent_pieces_with_min_piece_count(
    data: DataFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model is untrained, and would generate any piece."""
    train(recipe(data.folder, tmp_path / "run", "train.max_update=1"))
    (tmp_path / "in.en").write_text("ba be\nga go gu\nbi\n", encoding="utf-8")
    command = (
        f"generate {tmp_path}/run -s en -t de -i {tmp_path}/in.en --beam 2".split()
    )
    counts = count_pieces(data.monolingual("train", "de"), data.vocab.size)
    many = int(np.sort(counts)[-5])

    def written(*more: str) -> set[int]:
        capsys.readouterr()
        succeed([*command, "--format", "jsonl", *more])
        pieces = {
            t
            for line in capsys.readouterr().out.splitlines()
            for h in json.loads(line)["hypotheses"]
            for t in h["tokens"]
        }
        return {
            n
            for n in range(data.vocab.size)
            if data.tokenizer().ids_to_pieces([n])[0] in pieces - {"</s>"}
        }

    assert (
        min(counts[list(written())])
        < many
        <= min(counts[list(written("--min-piece-count", str(many)))])
    )
    assert masscli([*command, "--min-piece-count", "1000000"]) == 2
    assert (
        f"error: --min-piece-count 1000000: no piece of de occurs so often in {data.folder}\nhint: lower it\n"
        in capsys.readouterr().err
    )


def test_a_stream_of_weight_0_is_not_sampled(toy: Path, tmp_path: Path) -> None:
    streams = {"mass": {"dataset": "en", "objective": {"name": "mass"}},
               "denoise": {"dataset": "en", "objective": {"name": "denoise"}, "loss_weight": "0:1,3:0", "sampling_weight": 9}}  # fmt: skip
    found = steps(train(recipe(toy, tmp_path, "train.max_update=8", streams=streams)))
    drawn = [set(e.losses) for e in found]
    assert any("denoise.denoise" in names for names in drawn[:3]) and all(
        names == {"mass.mass"} for names in drawn[3:]
    )


# -- the command line --------------------------------------------------------------------------------------------------------------------


def composed(toy: Path, *args: str) -> dict[str, StreamConfig]:
    """The streams of a command line."""
    return recipe_of(str(toy), "--task", "backtranslate", *args).stream


def test_streams_follow_from_languages_and_auxiliary_objectives(toy: Path) -> None:
    plain = composed(toy, "--langs", "en,de", "--min-piece-count", "3")
    assert {name: s.dataset for name, s in plain.items()} == {
        "backtranslate-en-de": "en-de",
        "backtranslate-de-en": "de-en",
    }
    assert all(
        s.objective == BacktranslateOptions(min_piece_count=3) for s in plain.values()
    )
    assert list(composed(toy, "-s", "en", "-t", "de")) == ["backtranslate-en-de"]
    assert len({s.sampling_weight for s in plain.values()}) == 1
    rich = composed(
        *(
            f"{toy} --auxiliary denoise=0:1,100:0.1,300:0 --auxiliary translate "
            "--word-blank 0.2"
        ).split()
    )
    weights = {name: s.loss_weight for name, s in rich.items()}
    assert weights == {
        "backtranslate-en-de": "1", "backtranslate-de-en": "1", "denoise-en": "0:1,100:0.1,300:0", "denoise-de": "0:1,100:0.1,300:0",
        "translate-en-de": "1", "translate-de-en": "1",
    }  # fmt: skip
    kinds = {name.partition("-")[0]: 0.0 for name in rich}
    for name, stream in rich.items():
        kinds[name.partition("-")[0]] += stream.sampling_weight
    assert len({round(share, 6) for share in kinds.values()}) == 1


def synthetic(toy: Path, folder: Path, langs: tuple[str, str], tokenizer: Path) -> Path:
    """A data folder of `toy`'s own validation pairs, named in the direction of `langs`."""
    for side in langs:
        lines = DataFolder.open(toy).original_lines("valid", "en-de", side)
        (folder / f"made.{side}").write_text(
            "".join(f"{line}\n" for line in lines), encoding="utf-8"
        )
    preprocess(
        PreprocessConfig(
            langs=langs,
            trainpref=folder / "made",
            spm_model=tokenizer,
            destdir=folder / "synthetic",
        )
    )
    return folder / "synthetic"


def test_offline_translations_are_learned_in_one_direction(
    toy: Path, tmp_path: Path
) -> None:
    other = synthetic(toy, tmp_path, ("de", "en"), toy)
    rich = composed(toy, "--auxiliary", f"translate@{other}=0.5")
    assert [(name, s.dataset, s.loss_weight, s.data_dir) for name, s in rich.items()][
        2:
    ] == [("translate-synthetic-de-en", "de-en", "0.5", other)]
    streams = {"real": {"dataset": "en-de", "objective": {"name": "translate"}},
               "made": {"dataset": "de-en", "data_dir": str(other), "objective": {"name": "translate"}}}  # fmt: skip
    trainer, notes = build(
        recipe(toy, tmp_path / "run", "train.max_update=2", streams=streams)
    )
    assert {s.name: s.sampler.num_examples for s in trainer.streams.values()} == {
        "real": TRAIN,
        "made": VALID,
    }
    assert notes[-1].startswith(
        f"made is not validated: {other}: has no pairs de-en in its split valid"
    )
    list(trainer.run())
    # The folder may move, but not hold other text.
    moved = tmp_path / "moved"
    other.rename(moved)
    streams["made"]["data_dir"] = str(moved)
    _, notes = build(
        recipe(toy, tmp_path / "run", "train.max_update=3", streams=streams)
    )
    assert notes[0].endswith("from update 2")
    with pytest.raises(MasscliError, match="the run was trained on different text"):
        build(
            recipe(
                toy,
                tmp_path / "run",
                "train.max_update=3",
                streams={**streams, "made": {**streams["made"], "data_dir": str(toy)}},
            )
        )


def test_a_language_that_only_another_folder_has_gets_a_vector(
    toy: Path, tmp_path: Path
) -> None:
    alone = {}
    for side in ("en", "de"):
        text = tmp_path / f"text.{side}"
        text.write_text(
            "".join(
                f"{line}\n"
                for line in DataFolder.open(toy).original_lines("valid", "en-de", side)
            ),
            encoding="utf-8",
        )
        alone[side] = tmp_path / side
        preprocess(
            PreprocessConfig(
                langs=(side,),
                mono=(f"{side}={text}",),
                spm_model=toy,
                destdir=alone[side],
            )
        )
    streams = {"here": {"dataset": "en", "objective": {"name": "denoise"}},
               "there": {"dataset": "de", "data_dir": str(alone["de"]), "objective": {"name": "denoise"}}}  # fmt: skip
    request = TrainRequest(
        recipe_options={"data": str(alone["en"])}, stream_tables=streams
    )
    assert compose(request).recipe.model.languages == "embedding"
    trainer, _ = build(
        recipe(alone["en"], tmp_path / "run", "train.max_update=2", streams=streams)
    )
    list(trainer.run())
    assert trainer.state.languages == ("en", "de")


def test_a_stream_is_validated_on_its_own_folder_where_that_of_the_run_has_nothing(
    toy: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.en"
    text.write_text(
        "".join(
            f"{line}\n"
            for line in DataFolder.open(toy).original_lines("valid", "en-de", "en")
        ),
        encoding="utf-8",
    )
    preprocess(
        PreprocessConfig(
            langs=("en",),
            mono=(f"en={text}",),
            spm_model=toy,
            destdir=tmp_path / "bare",
        )
    )
    streams = {"bare": {"dataset": "en", "objective": {"name": "denoise"}},
               "rich": {"dataset": "de", "data_dir": str(toy), "objective": {"name": "denoise"}}}  # fmt: skip
    trainer, notes = build(
        recipe(
            tmp_path / "bare", tmp_path / "run", "train.max_update=1", streams=streams
        )
    )
    message = f"bare is not validated: {tmp_path / 'bare'}: has no monolingual valid text of 'en'"
    assert [note for note in notes if "validated" in note] == [message]
    [measured] = [event for event in trainer.run() if isinstance(event, Evaluated)]
    assert set(measured.metrics) == {"loss", "ppl", "rich.loss"}


def test_another_folder_must_have_the_same_vocabulary(
    toy: Path, tmp_path: Path
) -> None:
    other = make_data(tmp_path, vocab_size=80)
    with pytest.raises(MasscliError) as error:
        composed(toy, "--auxiliary", f"translate@{other}")
    assert error.value.message == f"{other}: has a different vocabulary from {toy}"
    assert error.value.hint == f"preprocess it with --spm-model {toy}"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--langs", "en"], "back-translation needs two languages"),
        (["--pairs", "en-en"], "stream backtranslate-en-en: en-en goes from a language to itself"),
        (["--langs", "en,de", "--best-metric", "roundtrip"],
         "--best-metric roundtrip needs translations of the validation set there and back"),
        (["--auxiliary", "denoise=0.5", "--auxiliary", "denoise=0.1"], "--auxiliary denoise: there is a stream denoise-en already"),
        (["--auxiliary", "backtranslate"], "--auxiliary backtranslate: there is a stream backtranslate-en-de already"),
        (["--auxiliary", "translate@=0.5"], "--auxiliary translate@: names no folder"),
        (["--auxiliary", "noise"], "--auxiliary: no objective called 'noise', did you mean 'denoise'?"),
        (["--auxiliary", "denoise=-1"], "--auxiliary denoise: must not be negative, got '-1'"),
        (["--auxiliary", "denoise=heavy"], "--auxiliary denoise: expected a number or UPDATE:VALUE,..., got 'heavy'"),
    ],
)  # fmt: skip
def test_mistakes(args: list[str], message: str, toy: Path) -> None:
    with pytest.raises(MasscliError) as error:
        composed(toy, *args)
    assert error.value.message == message


@pytest.mark.parametrize(
    ("option", "args"),
    [("--eval-roundtrip", ["--eval-roundtrip"]), ("--best-metric roundtrip", ["--best-metric", "roundtrip"])],
)  # fmt: skip
def test_translation_there_and_back_needs_back_translation(
    option: str, args: list[str], toy: Path
) -> None:
    with pytest.raises(MasscliError) as error:
        recipe_of(str(toy), "--task", "translate", "-s", "en", "-t", "de", *args)
    assert error.value.message == f"{option} needs a stream of back-translation"
    assert error.value.hint == (
        "add --auxiliary backtranslate, or train with --task backtranslate; else leave the option out"
    )


# -- retrieval ---------------------------------------------------------------------------------------------------------------------------


def test_retrieval_finds_similar_sentences(data: DataFolder, framing: Framing) -> None:
    lines = [data.monolingual("valid", "en")[row] for row in range(12)]
    lines = [
        line
        for i, line in enumerate(lines)
        if line.tolist() not in [x.tolist() for x in lines[:i]]
    ]
    model = make(data)
    vectors = sentence_vectors(model, framing, lines, "en")
    alone = torch.cat(
        [sentence_vectors(model, framing, [line], "en") for line in lines]
    )
    assert torch.allclose(vectors, alone, atol=1e-5)
    assert precision_at_1(vectors, vectors) == 1.0
    assert precision_at_1(vectors, vectors.roll(1, 0)) == 0.0
    half = vectors.clone()
    half[: len(lines) // 2] = half[: len(lines) // 2].roll(1, 0)
    assert precision_at_1(vectors, half) == pytest.approx(
        (len(lines) - len(lines) // 2) / len(lines)
    )


def test_inspect_reports_retrieval(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(recipe(toy, tmp_path, "train.max_update=1"))
    succeed(["inspect", str(tmp_path), "--retrieval"])
    printed = capsys.readouterr().out.split("\n")
    assert [line.split()[0] for line in printed[:2]] == ["en-de", "de-en"]
    assert all(
        line.endswith("of 24 sentences find their translation first (chance 4.17%)")
        for line in printed[:2]
    )
    assert masscli(["inspect", str(tmp_path), "--retrieval", "--split", "test"]) == 2
    assert capsys.readouterr().err.startswith(
        f"error: {toy}: has no pairs in its split test\n"
    )
    # Without --retrieval its options have no effect.
    succeed(["inspect", str(toy), "--split", "test", "--data", "x"])
    err = capsys.readouterr().err.splitlines()
    assert err == [
        f"warning: {option} has no effect: it is for --retrieval"
        for option in ("--data", "--split")
    ]


def test_a_recurring_warning_is_shown_again() -> None:
    """Copying in the first updates is usual; a collapse hundreds of updates later must not be silent for that."""
    told = io.StringIO()
    console = Console(file=told, width=200)
    concerns: list[tuple[str, ...]] = [
        ("copies (40%)",),
        ("copies (50%)",),
        (),
        ("copies (90%)",),
    ]
    events: list[Event] = [
        Stepped(step=n, epoch=0, losses={}, lr=0.1, grad_norm=1.0, targets=1, padding=0.0, seconds=1.0, loss_scale=1.0, overflows=0,
                oom_retries=0, memory=0.1, generation_share=0.0, objective_metrics={}, warnings=each)
        for n, each in enumerate(concerns)
    ]  # fmt: skip
    follow([*events, Finished(4, "the end", 1.0)], 0, 4, console)
    assert [line for line in told.getvalue().split("\n") if "warning" in line] == [
        "warning: copies (40%)",
        "warning: copies (90%)",
    ]


def test_a_validation_reports_no_number_twice() -> None:
    console = io.StringIO()
    one = {"loss": 2.5, "ppl": 12.2, "mass-en.loss": 2.5}
    two = {
        "loss": 2.5,
        "bt-en-de.loss": 2.0,
        "bt-de-en.loss": 3.0,
        "bleu": 4.0,
        "bleu.en-de": 4.0,
        "chrf": 0.5,
        "chrf.en-de": 0.4,
    }
    events: list[Event] = [
        *(Evaluated(n, metrics, {}, 1.0) for n, metrics in enumerate((one, two))),
        Finished(1, "the end", 1.0),
    ]
    follow(events, 0, 1, Console(file=console, width=200))
    assert console.getvalue().split("\n")[:2] == [
        "valid 0: loss 2.5  ppl 12.2  (1 s)",
        "valid 1: loss 2.5  bt-en-de.loss 2  bt-de-en.loss 3  bleu 4  chrf 0.5  chrf.en-de 0.4  (1 s)",
    ]
