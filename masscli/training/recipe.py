"""Every knob of a training run on one page.

A run is a `Recipe`: sections of plain values, the same in a TOML file, on the command line (`--max-tokens` is `train.max_tokens`; a
field's name is unique over all sections, so flags need no prefix) and in a checkpoint.  The knobs of the other commands are in
masscli/commands.py.  Flag names are fairseq's where fairseq has one.  Nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from masscli.core.config import ConfigError, Flags, Problem, check, config
from masscli.core.schedule import parse_schedule
from masscli.models.config import ModelConfig
from masscli.objectives.registry import ObjectiveConfig
from masscli.training.config import CheckpointConfig, OptimConfig, TrainConfig, ValidConfig


@config
class StreamConfig:
    """One source of training examples, and what to learn from it."""

    dataset: str
    """A language (en), a direction (en-de), or a table of labelled examples."""
    objective: ObjectiveConfig
    """What to learn."""
    data_dir: Path | None = None
    """Another data folder in the same vocabulary to read from, to train and to validate (default: the run's)."""
    loss_weight: str = "1"
    """Multiplies the loss; a number, or a schedule over updates such as 0:1,100000:0.1,300000:0."""
    sampling_weight: float = 1.0
    """How often the stream is drawn, relative to the others."""
    max_examples: int | None = None
    """Use the first so many rows only (low-resource studies)."""

    def __post_init__(self) -> None:
        check(
            (self.sampling_weight > 0, "sampling_weight", f"must be above 0, got {self.sampling_weight}"),
            (
                self.max_examples is None or self.max_examples > 0,
                "max_examples",
                f"must be above 0, got {self.max_examples}",
            ),
        )
        try:
            parse_schedule(self.loss_weight)
        except ValueError as error:
            problem = Problem("loss_weight", f"{error}, got {self.loss_weight!r}")
            raise ConfigError(problem) from None


@config
class Recipe:
    """A training run."""

    data: Path = Path("data-bin")
    """Folder written by `masscli preprocess`."""
    save_dir: Path | None = None
    """Folder of the run (default: runs/OBJECTIVE); a run that is already there is continued."""
    init_from: Annotated[Path | None, Flags("--finetune-from-model")] = None
    """Begin with the weights of this run or checkpoint; everything else starts anew."""
    init_stacks: Literal["both", "encoder", "decoder"] = "both"
    """Take only this stack of --init-from, with the token table; the other one is drawn at random, or left out by tasks that read one stack
    alone (classify, tag, ...)."""
    init_decoder_from: Path | None = None
    """Take the decoder from this run instead: --init-from an MLM and this from a CLM is the BERT+LM baseline. Of a run that has none, its
    encoder is taken, but for attention to the source, which is new: XLM's MLM on both sides."""
    init_vectors: tuple[str, ...] = ()
    """LANG=FILE: begin with these word vectors (word2vec or fastText text format) for the pieces of the training text of a language that
    they know; the size must be that of the model. Repeatable."""
    seed: int = 1
    """Seed of weights, order, noise and dropout."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """Network."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimizer."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Loop."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """Checkpoints."""
    valid: ValidConfig = field(default_factory=ValidConfig)
    """Validation."""
    stream: dict[str, StreamConfig] = field(default_factory=dict)
    """What to train on, by name."""

    def __post_init__(self) -> None:
        alone = self.init_from is not None or (self.init_stacks == "both" and self.init_decoder_from is None)
        check(
            (
                alone,
                "init_stacks" if self.init_stacks != "both" else "init_decoder_from",
                "goes with init_from",
            ),
            (
                self.init_stacks == "both" or self.init_decoder_from is None,
                "init_stacks",
                "cannot be combined with init_decoder_from",
            ),
            (all("=" in entry for entry in self.init_vectors), "init_vectors", "expected LANG=FILE"),
        )
        check((0 <= self.seed < 2**63, "seed", f"must lie between 0 and 2^63 - 1, got {self.seed}"))
