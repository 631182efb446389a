"""Checkpoints: folders with everything that a command needs, and nothing that could be executed.

    step-0001000/  recipe.toml  vocab.model  tokenizer.json  state.json
                   model.safetensors  objective.safetensors  optimizer.safetensors

A run with averaged weights (EMA) has the average in `model.safetensors`, and the weights that training
continues from in `trained.safetensors`. `state.json` is written last and holds the checksums of the
other files. The folder is made under another name and renamed, so it is either complete or absent.
`Checkpoint.open` accepts such a folder, or the folder of a run; it then opens the run's best
checkpoint, or the last one if none is marked as the best.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from masscli.checkpoint.state_file import (
    STATE_FILE,
    DamagedStateError,
    read_state_file,
)
from masscli.core.config import (
    MAX_INTEGER,
    ConfigError,
    from_dict,
    parse_toml,
)
from masscli.core.errors import MasscliError
from masscli.core.files import broken_link_hint, sha256_of
from masscli.core.folder_kinds import PART_FILE, PART_HINT
from masscli.core.listing import list_some
from masscli.data.batches.framing import Framing
from masscli.data.batches.sampler import Position
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer
from masscli.objectives.write.options import ConditionalGenerationOptions
from masscli.text.corpus import read_regular_text
from masscli.text.tokenizer import Tokenizer
from masscli.text.vocabulary import Vocabulary
from masscli.training.recipe import Recipe

MODEL = "model.safetensors"
OBJECTIVES = "objective.safetensors"
OPTIMIZER = "optimizer.safetensors"
TRAINED = "trained.safetensors"
"""Name of the file with the weights that training continues from. It exists only with --ema-decay, where the
files of model and objectives hold a moving average of these weights."""
CONTINUATION_FILES = (OPTIMIZER, TRAINED)
"""Names of the files that are needed only to continue a run."""
_DAMAGE_HINT = "use another checkpoint; training continues from the last complete one"
LISTED_RUNS = 8
"""How many runs in a folder of runs an error names."""
_STEP_FOLDER = re.compile(r"step-(\d+)")
FOREIGN_SUFFIXES = (".pt", ".pth", ".bin")
"""Suffixes of the files in which other programs store models."""


class DamagedCheckpointError(MasscliError):
    """A file of a checkpoint is missing or damaged; another checkpoint of the run may be intact."""

    def __init__(self, message: str) -> None:
        super().__init__(message, _DAMAGE_HINT)


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


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint. Its tensors are read only when a method asks for them.

    Methods that read tensors raise DamagedCheckpointError if their file does not match its checksum.
    """

    path: Path
    """The folder of the checkpoint, `step-N`."""
    recipe: Recipe
    state: RunState
    metrics: Mapping[str, float]
    """Values of the validation at this checkpoint, by the name of the metric; empty if there was none."""
    checksums: Mapping[str, str]
    """SHA-256 of each file other than `state.json`, by file name."""
    verified: set[str] = field(default_factory=set, compare=False)
    """Names of the files that this object has already compared with their checksums."""

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Open the checkpoint in the folder `path`; if that is a run, open its best checkpoint, or the last.

        Tensor files must exist, but are compared with their checksums only when they are read, so a
        model can be used without reading the optimizer state. Raises DamagedCheckpointError if files
        are missing or damaged, and MasscliError if there is no checkpoint, or if its format or a
        setting of its recipe is unknown.
        """
        folder = _find(path)
        try:
            contents = read_state_file(folder)
            state = _parse_state(contents.state)
        except (DamagedStateError, ConfigError) as error:
            reason = str(error).splitlines()[0]
            raise DamagedCheckpointError(
                f"{folder / STATE_FILE}: damaged ({reason})"
            ) from None
        for name, checksum in contents.files.items():
            is_tensors = name.endswith(".safetensors")
            _verify(folder / name, None if is_tensors else checksum)
        recipe = _read_recipe(folder / "recipe.toml")
        return cls(folder, recipe, state, contents.metrics, contents.files)

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer that the model was trained with; it is loaded at the first call."""
        return self._tokenizer

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.path)

    def framing(self) -> Framing:
        """Return the framing of this model: how special tokens and language marks are added to text."""
        return make_framing(
            self.recipe.model, self.tokenizer().vocab, self.state.languages
        )

    def model(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Transformer:
        """Return the model on `device` for inference: in evaluation mode, frozen, with weights in `dtype`.

        Raises MasscliError if the stored tensors do not match the model that the recipe describes.
        """
        # On this device a model takes no memory and draws no random numbers; the stored tensors replace
        # its parameters.
        with torch.device("meta"):
            vocab = self.tokenizer().vocab
            model = Transformer(
                self.recipe.model, vocab.size, self.state.languages, vocab.id_ranges
            )
        load_tensors(model, self.weights(), self.path / MODEL, assign=True)
        model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        model.compute_dtype = dtype
        return model

    def weights(self) -> dict[str, Tensor]:
        """Return the tensors of the model by name; in a run with --ema-decay they are the moving average."""
        return self._tensors(MODEL)

    def objective_state(self) -> dict[str, Tensor]:
        """Return the tensors of the objectives, such as classification heads, by `STREAM.NAME`.

        The dictionary is empty if no objective has tensors of its own.
        """
        if OBJECTIVES not in self.checksums:
            return {}
        return self._tensors(OBJECTIVES)

    def restore_objective(self, stream: str, objective: nn.Module) -> None:
        """Load the parameters of the objective of a training stream into `objective`, in place.

        Raises MasscliError if names or shapes do not match.
        """
        # The objectives of all streams share one file, in which names begin with the stream. The name of a
        # stream may begin with that of another one, as a.b does with a.
        prefix = f"{stream}."
        longer = [f"{name}." for name in self.recipe.stream if name.startswith(prefix)]
        tensors = {}
        for name, tensor in self.objective_state().items():
            if name.startswith(prefix) and not name.startswith(tuple(longer)):
                tensors[name.removeprefix(prefix)] = tensor
        load_tensors(objective, tensors, self.path / OBJECTIVES)

    def optimizer_state(self) -> dict[str, Tensor]:
        """Return the tensors of the optimizer state by name.

        Raises MasscliError if there are none, as in an averaged or imported checkpoint.
        """
        if OPTIMIZER not in self.checksums:
            raise MasscliError(
                f"{self.path}: has no optimizer state to continue from",
                "start a new run from its weights with --init-from",
            )
        return self._tensors(OPTIMIZER)

    def trained_weights(self) -> dict[str, Tensor]:
        """Return the weights that training continues from, by name, for a run with a moving average.

        Without one (--ema-decay) the dictionary is empty, and training continues from the model's weights.
        """
        if TRAINED not in self.checksums:
            return {}
        return self._tensors(TRAINED)

    def verify(self) -> int:
        """Verify the checksum of every file not yet verified; return the number of all files.

        Raises DamagedCheckpointError, which names the file, if one is damaged or missing.
        """
        for name in self.checksums:
            self._verify_file(name)
        return len(self.checksums)

    def _verify_file(self, name: str) -> None:
        if name not in self.verified:
            _verify(self.path / name, self.checksums[name])
            self.verified.add(name)

    def _tensors(self, name: str) -> dict[str, Tensor]:
        self._verify_file(name)
        try:
            return load_file(self.path / name)
        except SafetensorError as error:
            raise DamagedCheckpointError(
                f"{self.path / name}: cannot be read ({error})"
            ) from None

    def find_data(self, data_dir: Path | None = None) -> Path:
        """Return the path of the run's data folder, or `data_dir`, that of one of its streams, if given.

        Raises MasscliError if there is no such folder, for example because the command is run in a
        different working directory from the one the run was trained in.
        """
        path = data_dir or self.recipe.data
        if not path.is_dir():
            raise MasscliError(
                f"{path}: this data folder, which {self.path} names, does not exist here",
                "name the data with --data, or change to the folder in which the run was trained",
            )
        return path

    @property
    def directions(self) -> tuple[tuple[str, str], ...]:
        """Return the (source, target) pairs of languages that the model was trained to generate for.

        For a task that generates text from tables, both are the one language of the task.
        """
        # A dictionary keeps the order of the streams, and each direction once.
        directions: dict[tuple[str, str], None] = {}
        for stream in self.recipe.stream.values():
            if stream.objective.input_kind.has_direction:
                source, target = stream.dataset.split("-")
                directions[source, target] = None
        for options in self.writers.values():
            directions[options.language, options.language] = None
        return tuple(directions)

    @property
    def writers(self) -> dict[str, ConditionalGenerationOptions]:
        """Return the options of each stream whose task is to generate text from tables, by stream name."""
        writers = {}
        for name, stream in self.recipe.stream.items():
            if isinstance(stream.objective, ConditionalGenerationOptions):
                writers[name] = stream.objective
        return writers


def _parse_state(raw: Mapping[str, Any]) -> RunState:
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
    ]
    counts += [
        state.validations_since_best,
        state.updates_since_overflow,
        state.plateau_validations,
    ]
    for name, numbers in positions.items():
        is_position = isinstance(numbers, list) and len(numbers) == len(
            Position._fields
        )
        if not is_position or any(type(number) is not int for number in numbers):
            raise DamagedStateError(
                f"the position of {name} is not {len(Position._fields)} numbers"
            )
        state.positions[name] = Position(*numbers)
        counts += numbers
    # Such counts have the right type, and would only cause an error much later.
    if min(counts) < 0:
        raise DamagedStateError("a count is below 0")
    if max(counts) > MAX_INTEGER:
        raise DamagedStateError("a count has more than 64 bits")
    return state


def load_tensors(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    path: Path,
    *,
    assign: bool = False,
) -> None:
    """Load tensors by name into a model or an objective in place.

    Values are copied into its parameters; with `assign`, the tensors themselves become its parameters. Raises
    MasscliError, which names the file `path`, if names or shapes are not those of `module`.
    """
    try:
        module.load_state_dict(tensors, assign=assign)
    except RuntimeError as error:
        # The first line of PyTorch's message names the class only.
        reason = str(error).strip().splitlines()[-1].strip().rstrip(".")
        raise MasscliError(
            f"{path}: does not match the recipe next to it ({reason})",
            "one of the two was replaced or changed",
        ) from None


def make_framing(
    model: ModelConfig, vocab: Vocabulary, languages: tuple[str, ...]
) -> Framing:
    """Return the framing of a model: how special tokens and language marks are added to text.

    `languages` are names in the order of the model's language vectors.
    """
    return Framing(
        vocab,
        model.source_bos,
        model.languages == "tag",
        languages,
        model.source_tag,
        model.target_tag,
    )


def saved_checkpoints(run: Path) -> dict[int, Path]:
    """Return the folders of all checkpoints of a run by step, in ascending order, without verifying them."""
    checkpoints = {}
    for path in (run / "checkpoints").glob("step-*"):
        name = _STEP_FOLDER.fullmatch(path.name)
        if name is not None and path.is_dir():
            checkpoints[int(name[1])] = path
    # By number: from 10,000,000 on, names have more digits and would sort differently.
    return dict(sorted(checkpoints.items()))


def _read_recipe(path: Path) -> Recipe:
    """Return the recipe in the `recipe.toml` of a checkpoint.

    Raises MasscliError if it has wrong settings, and DamagedCheckpointError if it is not TOML. Both
    name the file, since the error is not in an option of the command line.
    """
    try:
        return from_dict(Recipe, parse_toml(read_regular_text(path)))
    except ConfigError as error:
        lines = [f"{path}: {line}" for line in error.message.split("\n")]
        hint = error.hint or (
            "it was changed, or needs another version of masscli or a plug-in that is not installed"
        )
        raise MasscliError("\n".join(lines), hint) from None
    except ValueError as error:
        raise DamagedCheckpointError(f"{path}: damaged ({error})") from None


def _is_foreign(path: Path) -> bool:
    """Return whether a path looks like a file or folder of weights that `masscli import` reads."""
    return path.suffix in FOREIGN_SUFFIXES or (path / "config.json").is_file()


def _find(path: Path) -> Path:
    """Return the folder of the checkpoint that a path refers to.

    The path is that of a checkpoint, or of a run, which refers to its best checkpoint, or to its last
    one if none is marked as the best. Raises MasscliError if there is none.
    """
    # A folder step-N without its state is a damaged checkpoint, not a run without checkpoints.
    is_step = path.is_dir() and _STEP_FOLDER.fullmatch(path.resolve().name) is not None
    if is_step or (path / STATE_FILE).exists():
        return path
    for name in ("best", "last"):
        if (path / "checkpoints" / name).is_dir():
            return (path / "checkpoints" / name).resolve()
    # A kill between the first save and its links leaves a run without links.
    steps = saved_checkpoints(path)
    if steps:
        return steps[max(steps)]
    raise _no_checkpoint(path)


def _no_checkpoint(path: Path) -> MasscliError:
    """Return the error that a path has no checkpoint, which says what is there; the caller raises it."""
    if not path.exists():
        return MasscliError(
            f"{path}: no such run or checkpoint",
            broken_link_hint(path)
            or "train one with `masscli pretrain` or `masscli finetune`",
        )
    if _is_foreign(path):
        return MasscliError(
            f"{path}: is a model of another program, not a run of masscli",
            f"`masscli import {path} --output RUN` makes a run of it",
        )
    if path.is_file():
        return MasscliError(
            f"{path}: is a file, expected the folder of a run or of a checkpoint",
            "name that folder; `masscli import` makes a run of the weights of another program",
        )
    return MasscliError(f"{path}: holds no checkpoint", _hint_for_folder(path))


def _hint_for_folder(path: Path) -> str:
    """Return what to give instead of a folder that is not a run."""
    if (path / PART_FILE).is_file():
        return PART_HINT
    runs = sorted(str(folder.parent) for folder in path.glob("*/checkpoints"))
    if runs:
        return f"it is a folder of runs: name one of {list_some(runs, LISTED_RUNS)}"
    return "give the folder of a run, or one of its checkpoints/step-N"


def _verify(path: Path, checksum: str | None) -> None:
    """Raise DamagedCheckpointError if a file is missing, or if its SHA-256 is not `checksum`.

    If `checksum` is None, the file only has to exist.
    """
    if not path.is_file():
        raise DamagedCheckpointError(f"{path}: missing")
    if checksum is not None and sha256_of(path) != checksum:
        raise DamagedCheckpointError(f"{path}: damaged (its checksum differs)")
