"""The recipe of a run: all its options, section by section.

A recipe lists the training streams of the run: each stream is a dataset with an objective, and the
stream of each micro-batch is drawn at random, in proportion to the sampling weights of the streams.

A `Recipe` is the same in a TOML file, on the command line and in a checkpoint. The name of an option is
unique over all sections, so flags need no prefix: `--max-tokens` is `train.max_tokens`. This module
imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from masscli.core.config import (
    NUMBER_AS_TEXT,
    ConfigError,
    Flags,
    Problem,
    check,
    config,
    positive,
)
from masscli.core.schedule import parse_schedule
from masscli.models.config import ModelConfig
from masscli.objectives.registry import ObjectiveConfig
from masscli.training.config import (
    OLD_EMBEDDINGS,
    CheckpointConfig,
    OptimConfig,
    TrainConfig,
    ValidConfig,
)


@config
class StreamConfig:
    """A training stream: one source of examples, and the objective that learns from it."""

    dataset: str
    """A language (en), a direction (en-de), or a table of labeled examples."""
    objective: ObjectiveConfig
    """What to learn."""
    data_dir: Path | None = None
    """Another data folder with the same vocabulary to read from, for training and validation (default: that
    of the run)."""
    loss_weight: Annotated[str, NUMBER_AS_TEXT] = "1"
    """Factor of the loss: a number, or a schedule over updates such as 0:1,100000:0.1,300000:0."""
    sampling_weight: float = 1.0
    """How often the stream is sampled, relative to the others."""
    max_examples: int | None = None
    """Use only the first N examples (for running text and documents, the first N lines), for studies
    with little data."""

    def __post_init__(self) -> None:
        check(*positive(self, "sampling_weight", "max_examples"))
        try:
            # Parsed here only to report an error at its key.
            parse_schedule(self.loss_weight)
        except ValueError as error:
            problem = Problem("loss_weight", f"{error}, got {self.loss_weight!r}")
            raise ConfigError(problem) from None


@config
class Recipe:
    """Data, folder and initial weights of the run.

    The sections below contain all other settings of a run: network, optimizer, training loop,
    checkpoints, validation and streams. The first line is the heading of this class's own options in
    help screens.
    """

    data: Path = Path("data-bin")
    """Folder that `masscli preprocess` has written."""
    save_dir: Path | None = None
    """Folder of the run (default: runs/OBJECTIVE). An existing run is continued."""
    init_from: Annotated[Path | None, Flags("--finetune-from-model")] = None
    """Start from the weights of this run or checkpoint, and nothing else of it."""
    init_stacks: Literal["both", "encoder", "decoder"] = "both"
    """Take only this stack of --init-from, with the token embeddings. The other one gets random
    weights, or is omitted for tasks that use a single stack (classify, tag, ...)."""
    init_decoder_from: Path | None = None
    """Take the decoder from this run instead. With an MLM as --init-from and a CLM here, this is the BERT+LM
    baseline of MASS. If the run has no decoder, its encoder becomes the decoder with new
    cross-attention, as XLM initializes a translation model with an MLM on both sides."""
    init_new: Literal["parts", "mean", "random"] = "parts"
    """Initial embeddings of pieces and languages that --init-from lacks after --extend. parts: a new
    piece is the mean of the old pieces that it is made of, and a new character the mean of all old
    pieces; mean: every new piece is the mean of all old pieces; random: as in a new model. A new
    language is the mean of the old ones, or random."""
    init_vectors: tuple[str, ...] = ()
    """LANG=FILE: initialize the pieces of a language's training text with word vectors from this file,
    which is in the text format of word2vec or fastText. Their size must be that of the embeddings.
    After --extend, only new pieces get them; old ones keep the embeddings of --init-from.
    Repeatable."""
    seed: int = 1
    """Random seed for initial weights, data order, noise and dropout."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """Network."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimizer."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Training loop."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """Checkpoints."""
    valid: ValidConfig = field(default_factory=ValidConfig)
    """Validation."""
    stream: dict[str, StreamConfig] = field(default_factory=dict)
    """The training streams by name: each is a dataset with an objective."""

    def __post_init__(self) -> None:
        takes_stack = self.init_stacks != "both"
        takes_decoder = self.init_decoder_from is not None
        check(
            (
                self.init_from is not None or not takes_stack,
                "init_stacks",
                "goes with --init-from",
            ),
            (
                self.init_from is not None or not takes_decoder,
                "init_decoder_from",
                "goes with --init-from",
            ),
            (
                self.init_from is not None or self.init_new == "parts",
                "init_new",
                "goes with --init-from",
            ),
            (
                self.init_from is not None or OLD_EMBEDDINGS not in self.optim.freeze,
                "optim.freeze",
                f"{OLD_EMBEDDINGS} are those of --init-from, which is not given",
            ),
            (
                not takes_stack or not takes_decoder,
                "init_stacks",
                "cannot be combined with --init-decoder-from",
            ),
            (
                all("=" in entry for entry in self.init_vectors),
                "init_vectors",
                "expected LANG=FILE",
            ),
            # torch seeds are signed 64-bit integers.
            (
                0 <= self.seed < 2**63,
                "seed",
                f"must lie between 0 and 2^63 - 1, got {self.seed}",
            ),
        )
