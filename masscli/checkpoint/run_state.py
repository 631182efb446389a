"""The state of a run, as stored in `state.json`: what it needs in order to continue, except for tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from masscli.checkpoint.state_file import DamagedStateError
from masscli.core.config import MAX_INTEGER, from_dict
from masscli.data.batches.sampler import Position


@dataclass(slots=True)
class RunState:
    """Everything except tensors that a run needs in order to continue, as stored in `state.json`.

    Random numbers depend only on the seed and on these values, so a continued run draws the same ones.
    """

    step: int = 0
    """Number of updates that the optimizer has made so far."""
    targets: int = 0
    """Number of targets (mostly tokens to predict) that the run has learned from so far."""
    seconds: float = 0.0
    """Training time so far, in seconds."""
    update_freq: int = 1
    """Number of micro-batches, of all processes together, whose gradients make up one update."""
    positions: dict[str, Position] = field(default_factory=dict)
    """How far the examples of each stream have been read, by the name of the stream."""
    ends_epoch: bool = False
    """Whether the last update completed an epoch of the first stream."""
    pending_validation: Literal["", "scheduled", "final"] = ""
    """The validation of these weights that was interrupted by a signal and that a continued run catches
    up on: one that was due, or the extra one at the end of a run. Empty if there is none."""
    valid_fingerprints: dict[str, str] = field(default_factory=dict)
    """Fingerprint of the examples of each split that was validated on last, by the split with which the names
    of its metrics begin; that of the first split is an empty string."""
    best_score: float | None = None
    """Best value of --best-checkpoint-metric so far; None if no validation has produced one."""
    validations_since_best: int = 0
    """Number of validations since the one with the best score, without extra ones at the end of a run."""
    lr_factor: float = 1.0
    """Product of all reductions of the learning rate that reduce_lr_on_plateau has made so far."""
    plateau_best: float | None = None
    """Best score that reduce_lr_on_plateau has seen after the warm-up; None if it has seen none."""
    plateau_validations: int = 0
    """Number of validations since reduce_lr_on_plateau last saw a better score or reduced the learning
    rate."""
    loss_scale: float = 2.0**15
    """Loss scale of mixed precision; used in fp16 only."""
    updates_since_overflow: int = 0
    """Number of updates since a gradient last overflowed."""
    overflows: int = 0
    """Number of updates that were skipped because a gradient overflowed."""
    oom_retries: int = 0
    """Number of times an update was repeated in smaller pieces because memory ran out."""
    languages: tuple[str, ...] = ()
    """Languages that have their own vectors or output projections in the model, in the order of those;
    empty if it has none."""
    initial_ids: int = 0
    """Number of ids of the vocabulary of --init-from; 0 without initial weights."""
    initial_languages: int = 0
    """How many of `languages` are those of --init-from, which come first."""
    vocab_fingerprint: str = ""
    """Fingerprint of the vocabulary (`Vocabulary.fingerprint`)."""
    data_fingerprint: str = ""
    """Fingerprint of the training examples of all data folders; empty in an imported run."""
    generation: dict[str, str] = field(default_factory=dict)
    """Default generation settings of the program that an imported model comes from: values of some
    fields of `GenerationConfig`, by field, written as on the command line."""
    attribution: tuple[str, ...] = ()
    """Lines about the origin and the license of imported weights, as far as their folder states them."""
    began_with_import: bool = False
    """Whether the weights that the run began with were imported, or came from a run of which this is true."""
    cpu_precision: Literal["", "bf16", "fp32"] = ""
    """The precision that `--precision auto` chose on a CPU; empty if it has not chosen one."""

    @property
    def has_imported_weights(self) -> bool:
        """Whether the weights were imported, or trained from imported ones, in this run or an earlier one."""
        # Only an import makes a checkpoint without any update.
        return self.step == 0 or self.began_with_import


def parse_run_state(raw: Mapping[str, Any]) -> RunState:
    """Return the typed state of a run from `raw`, the object `state` in its `state.json`.

    Raises ConfigError or DamagedStateError if a value has the wrong type, or if a count is out of range.
    """
    positions = raw.get("positions", {})
    if not isinstance(positions, dict):
        raise DamagedStateError("positions is not a table")
    # Positions are named tuples, which do not occur in the sections of a recipe.
    state = from_dict(
        RunState, {key: value for key, value in raw.items() if key != "positions"}
    )
    counts = [
        state.step,
        state.targets,
        state.update_freq,
        state.overflows,
        state.oom_retries,
        state.validations_since_best,
        state.updates_since_overflow,
        state.plateau_validations,
    ]
    size = len(Position._fields)
    for name, numbers in positions.items():
        is_position = isinstance(numbers, list) and len(numbers) == size
        if not is_position or any(type(number) is not int for number in numbers):
            raise DamagedStateError(f"the position of {name} is not {size} numbers")
        state.positions[name] = Position(*numbers)
        counts += numbers
    # Such counts have the right type, and would only cause an error much later.
    if min(counts) < 0:
        raise DamagedStateError("a count is below 0")
    if max(counts) > MAX_INTEGER:
        raise DamagedStateError("a count has more than 64 bits")
    return state
