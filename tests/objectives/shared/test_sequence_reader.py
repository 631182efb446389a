"""Which stack reads the texts of a task, and in which format."""

from __future__ import annotations

from pathlib import Path

import pytest

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.cli.app import dispatch
from masscli.cli.preprocess import run
from masscli.core.errors import MasscliError
from masscli.data.batches.framing import Framing
from masscli.data.prepare.config import PreprocessConfig
from masscli.models.config import ModelConfig
from masscli.objectives.labeled.options import ClassifyOptions
from masscli.objectives.objective import ObjectiveContext
from masscli.objectives.shared.sequence_reader import SequenceReader
from tests.commands import succeed
from tests.objectives.test_pretraining import VOCAB
from tests.toy_tasks import ENCODER, REST, TINY, finetune, save

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")


@pytest.mark.parametrize("objective", ["mlm", "clm", "mass"])
def test_every_pre_training_can_be_fine_tuned(
    objective: str, labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = {
        "mlm": ["--decoder-layers", "0"],
        "clm": ["--encoder-layers", "0"],
        "mass": [],
    }[objective]
    command = [
        "--objective",
        objective,
        "--max-update",
        "2",
        "--save-dir",
        str(tmp_path / "a"),
        *TINY,
        *half,
    ]
    dispatch(["pretrain", str(labeled / "data"), *command])
    decoder = [["--read", "decoder"]] if objective == "mass" else []
    for n, more in enumerate(([], *decoder)):
        task = [
            *f"--task classify --table two --init-from {tmp_path}/a".split(),
            *REST,
            *more,
        ]
        assert finetune(labeled, tmp_path / f"b{n}", *task)
    assert "tensors from" in capsys.readouterr().err
    old, new = (
        Checkpoint.open(tmp_path / "a").recipe.model,
        Checkpoint.open(tmp_path / "b0").recipe.model,
    )
    assert (old.encoder_layers, old.decoder_layers) == (
        new.encoder_layers,
        new.decoder_layers,
    )


@pytest.mark.parametrize(
    ("objective", "options", "frame"),
    [
        ("roberta", [], "roberta"),
        ("roberta", ["--input-form", "segment-pair", "--segments", "2"], "auto"),
        ("mlm", [], "auto"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_texts_are_joined_as_in_the_run_of_the_initial_weights(
    objective: str, options: list[str], frame: str, labeled: Path, tmp_path: Path
) -> None:
    rows = [
        line.split("\t")
        for line in (labeled / "train.pairs.tsv").read_text().splitlines()[1:]
    ]
    text = save(tmp_path / "text.en", [f"{row[1]}\n{row[2]}\n" for row in rows])
    tables = tuple(
        f"{split}={labeled / split}.pairs.tsv" for split in ("train", "valid")
    )
    run(
        PreprocessConfig(
            langs=("en",),
            mono=(f"en={text}", f"valid.en={text}"),
            tsv=tables,
            destdir=tmp_path / "data",
            vocab_size=60,
        )
    )
    size = ["--tokens-per-sample", "24"] if objective == "roberta" else []
    learn = [
        "pretrain",
        "--objective",
        objective,
        *options,
        *size,
        *ENCODER,
        "--save-dir",
        tmp_path / "pre",
    ]
    tune = [
        *f"finetune --task classify --init-from {tmp_path}/pre".split(),
        *REST,
        "--save-dir",
    ]
    for command in (
        learn,
        [*tune, tmp_path / "a"],
        [*tune, tmp_path / "b", "--pair-format", "bert"],
    ):
        succeed(
            [
                str(arg)
                for arg in (
                    command[0],
                    tmp_path / "data",
                    *command[1:],
                    "--max-update",
                    1,
                )
            ]
        )
    for name, expected in (("a", frame), ("b", "bert")):
        [stream] = Checkpoint.open(tmp_path / name).recipe.stream.values()
        assert (
            isinstance(stream.objective, ClassifyOptions)
            and stream.objective.pair_format == expected
        )


@pytest.mark.parametrize("layers", [0, 1])
def test_a_decoder_reads_no_further_than_its_positions(layers: int) -> None:
    model = ModelConfig(
        dim=16,
        heads=2,
        encoder_layers=layers,
        decoder_layers=1,
        max_positions=128,
        decoder_max_positions=32,
    )
    context = ObjectiveContext(Framing(VOCAB, False, False, ()), model, "table")
    with pytest.raises(
        MasscliError, match="--max-length 64: the model has 32 positions"
    ):
        SequenceReader.from_options(
            ClassifyOptions(read="decoder", max_length=64), context
        )
    assert SequenceReader.from_options(
        ClassifyOptions(read="decoder", max_length=32), context
    )


@pytest.mark.parametrize(
    "task",
    [("classify", "--table", "two"), ("choose",), ("extract", "--max-length", "100")],
    ids=lambda t: t[0],
)
def test_a_model_with_one_kind_of_segment_reads_pairs(
    task: tuple[str, ...], labeled: Path, tmp_path: Path
) -> None:
    """RoBERTa's; what would be of the second kind is of the first."""
    finetune(
        labeled,
        tmp_path / "run",
        "--task",
        *task,
        "--pair-format",
        "roberta",
        "--segments",
        "1",
        *ENCODER,
        updates=1,
    )
    finetune(
        labeled,
        tmp_path / "bert",
        "--task",
        *task,
        "--segments",
        "1",
        *ENCODER,
        updates=1,
    )
