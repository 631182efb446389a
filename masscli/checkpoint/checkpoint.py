"""Checkpoints: folders with everything that a command needs, and nothing that could be executed.

    step-0001000/  recipe.toml  vocab.model  tokenizer.json  state.json
                   model.safetensors  objective.safetensors  optimizer.safetensors

`state.json` is written last and holds the checksums of the other files. The folder is made under another name
and renamed, so it is complete or not there. `Checkpoint.open` accepts such a folder, or the folder of a run,
which stands for its best checkpoint, else its last.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from masscli.checkpoint.state_file import (
    STATE_FILE,
    DamagedStateError,
    StateFile,
    read_state_file,
    write_state_file,
)
from masscli.checkpoint.tensor_file import save_tensors
from masscli.core.config import MAX_INTEGER, ConfigError, from_dict, parse_toml, to_dict, to_toml
from masscli.core.errors import MasscliError
from masscli.core.files import (
    fsync_path,
    new_folder,
    read_regular,
    remove_leftovers,
    sha256_of,
    update_link,
    write_synced,
)
from masscli.data.batches.framing import Framing
from masscli.data.batches.sampler import Position
from masscli.models.transformer import Transformer
from masscli.objectives.write.options import ConditionalGenerationOptions
from masscli.text.corpus import decode_text
from masscli.text.tokenizer import Tokenizer
from masscli.training.recipe import Recipe

MODEL = "model.safetensors"
OBJECTIVES = "objective.safetensors"
OPTIMIZER = "optimizer.safetensors"
TRAINED = "trained.safetensors"
"""The weights to continue from, where model and objectives have their moving average (--ema-decay)."""
CONTINUATION_FILES = (OPTIMIZER, TRAINED)
"""What is needed only to continue a run."""
_DAMAGE_HINT = "use another checkpoint; training goes on from the last one that is whole"
_STEP_FOLDER = re.compile(r"step-(\d+)")


class DamagedCheckpointError(MasscliError):
    """A file of a checkpoint is missing or is not what was written; another checkpoint may be whole."""

    def __init__(self, message: str) -> None:
        super().__init__(message, _DAMAGE_HINT)


@dataclass(slots=True)
class RunState:
    """What a run needs to continue, besides tensors.

    All randomness is a function of seeds and these numbers.
    """

    step: int = 0
    targets: int = 0
    """Targets learned from, so far."""
    seconds: float = 0.0
    update_freq: int = 1
    positions: dict[str, Position] = field(default_factory=dict)
    """How far each stream has been read."""
    ends_epoch: bool = False
    """Whether the last update completed an epoch of the first stream."""
    best_score: float | None = None
    validations_since_best: int = 0
    lr_factor: float = 1.0
    """Factor that reduce_lr_on_plateau has on the learning rate by now."""
    plateau_best: float | None = None
    """Best score that reduce_lr_on_plateau has seen."""
    plateau_validations: int = 0
    """Validations since then."""
    loss_scale: float = 2.0**15
    updates_since_overflow: int = 0
    overflows: int = 0
    """Updates that were skipped because of an overflow."""
    oom_retries: int = 0
    """Updates that were repeated in smaller pieces for lack of memory."""
    languages: tuple[str, ...] = ()
    vocab_fingerprint: str = ""
    data_fingerprint: str = ""
    """Fingerprint of the rows of the training split."""
    generation: dict[str, str] = field(default_factory=dict)
    """How the program of an imported model generates by default: fields of GenerationConfig,
    as they are typed."""
    attribution: tuple[str, ...] = ()
    """Where imported weights are from, and their licences, as far as their folder says it."""
    cpu_precision: Literal["", "bf16", "fp32"] = ""
    """What `--precision auto` chose on a CPU."""


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint. Its tensors are read only when a method asks for them."""

    path: Path
    recipe: Recipe
    state: RunState
    metrics: Mapping[str, float]
    checksums: Mapping[str, str]
    """sha256 of each file."""
    verified: set[str] = field(default_factory=set, compare=False)
    """The files that have been compared with their checksums."""

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Open a checkpoint, or the best (else the last) of a run.

        Tensors are compared with their checksums when they are read, so that a model can be used without
        reading the state of the optimizer. Raises DamagedCheckpointError if files are damaged, and
        MasscliError if there is no checkpoint, or if it is of an unknown format.
        """
        folder = _find(path)
        try:
            contents = read_state_file(folder)
            state = _parse_state(contents.state)
        except (DamagedStateError, ConfigError) as error:
            reason = str(error).splitlines()[0]
            raise DamagedCheckpointError(f"{folder / STATE_FILE}: damaged ({reason})") from None
        for name, checksum in contents.files.items():
            is_tensors = name.endswith(".safetensors")
            _verify(folder / name, None if is_tensors else checksum)
        recipe = _read_recipe(folder / "recipe.toml")
        return cls(folder, recipe, state, contents.metrics, contents.files)

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer that the model was trained with."""
        return Tokenizer.load(self.path)

    def framing(self) -> Framing:
        """Return how special tokens and language marks are added to text for this model."""
        return make_framing(self.recipe, self.tokenizer(), self.state.languages)

    def model(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Transformer:
        """Return the model for inference: in evaluation mode, with weights in `dtype`."""
        with torch.device("meta"):
            vocab = self.tokenizer().vocab
            model = Transformer(self.recipe.model, vocab.size, self.state.languages, vocab.id_ranges)
        load_tensors(model, self.weights(), self.path / MODEL, assign=True)
        model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        model.compute_dtype = dtype
        return model

    def weights(self) -> dict[str, Tensor]:
        """Return the tensors of the model by name."""
        return self._tensors(MODEL)

    def objective_state(self) -> dict[str, Tensor]:
        """Return the tensors of the objectives, such as classification heads, by `STREAM.NAME`."""
        return self._tensors(OBJECTIVES) if OBJECTIVES in self.checksums else {}

    def optimizer_state(self) -> dict[str, Tensor]:
        """Return the tensors of the optimizer.

        Raises MasscliError if there are none, as in an averaged or imported checkpoint.
        """
        if OPTIMIZER not in self.checksums:
            raise MasscliError(
                f"{self.path}: has no optimizer state to continue from",
                "start anew from its weights with --init-from",
            )
        return self._tensors(OPTIMIZER)

    def trained_weights(self) -> dict[str, Tensor]:
        """Return the weights to continue from by name, if the checkpoint has a moving average beside them."""
        return self._tensors(TRAINED) if TRAINED in self.checksums else {}

    def verify(self) -> int:
        """Compare every file with its checksum unless this was done before, and return the number of files.

        Raises DamagedCheckpointError, which names the damaged file.
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
            raise DamagedCheckpointError(f"{self.path / name}: cannot be read ({error})") from None

    @property
    def directions(self) -> tuple[tuple[str, str], ...]:
        """Return each (source, target) pair of languages that the model was trained to generate for."""
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
        """Return the options of the tasks that generate text from tables, by the name of their stream."""
        writers = {}
        for name, stream in self.recipe.stream.items():
            if isinstance(stream.objective, ConditionalGenerationOptions):
                writers[name] = stream.objective
        return writers


def _parse_state(raw: Mapping[str, Any]) -> RunState:
    """Return the state of a run. Raises ConfigError or DamagedStateError if a value has the wrong type."""
    positions = raw.get("positions", {})
    if not isinstance(positions, dict):
        raise DamagedStateError("positions is not a table")
    state = from_dict(RunState, {key: value for key, value in raw.items() if key != "positions"})
    counts = [state.step, state.targets, state.update_freq, state.overflows, state.oom_retries]
    counts += [state.validations_since_best, state.updates_since_overflow, state.plateau_validations]
    for name, numbers in positions.items():
        is_position = isinstance(numbers, list) and len(numbers) == len(Position._fields)
        if not is_position or any(type(number) is not int for number in numbers):
            raise DamagedStateError(f"the position of {name} is not {len(Position._fields)} numbers")
        state.positions[name] = Position(*numbers)
        counts += numbers
    if min(counts) < 0:
        raise DamagedStateError("a count is below 0")
    if max(counts) > MAX_INTEGER:
        raise DamagedStateError("a count has more than 64 bits")
    return state


def load_tensors(
    module: nn.Module, tensors: Mapping[str, Tensor], path: Path, *, assign: bool = False
) -> None:
    """Give a model or an objective its tensors; `assign` takes them as they are, without a copy.

    Raises MasscliError, which names the file `path`, if they are not those that the recipe describes.
    """
    try:
        module.load_state_dict(tensors, assign=assign)
    except RuntimeError as error:
        # The first line of PyTorch's message names the class only.
        reason = str(error).strip().splitlines()[-1].strip().rstrip(".")
        raise MasscliError(
            f"{path}: does not fit the recipe beside it ({reason})", "one of the two was replaced or changed"
        ) from None


def make_framing(recipe: Recipe, tokenizer: Tokenizer, languages: tuple[str, ...]) -> Framing:
    """Return how special tokens and language marks are added to the text of a run."""
    model = recipe.model
    return Framing(
        tokenizer.vocab,
        model.source_bos,
        model.languages == "tag",
        languages,
        model.source_tag,
        model.target_tag,
    )


def save_checkpoint(
    folder: Path,
    recipe: Recipe,
    state: RunState,
    metrics: Mapping[str, float],
    tokenizer: Tokenizer,
    model: Mapping[str, Tensor],
    objectives: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor],
    trained: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write the checkpoint `folder`/step-N, replacing one of this name, and return its path.

    `trained` are the weights to continue from, if those of model and objectives are an average of them.
    Raises MasscliError if it cannot be written; nothing is left behind then.
    """
    final = folder / f"step-{state.step:07d}"
    partial = folder / f".{final.name}.new"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        write_synced(partial / "recipe.toml", to_toml(to_dict(recipe)).encode())
        tokenizer.save(partial)
        files = {MODEL: model, OBJECTIVES: objectives, OPTIMIZER: optimizer, TRAINED: trained}
        for name, tensors in files.items():
            if tensors:
                on_cpu = {key: tensor.detach().contiguous().cpu() for key, tensor in tensors.items()}
                save_tensors(on_cpu, partial / name)
        for path in partial.iterdir():
            fsync_path(path)
        checksums = {path.name: sha256_of(path) for path in sorted(partial.iterdir())}
        # state.json is written last: a folder without it is not a checkpoint.
        write_state_file(partial, StateFile(state=asdict(state), metrics=dict(metrics), files=checksums))
        fsync_path(partial)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        reason = error.strerror or str(error)
        raise MasscliError(
            f"{final}: cannot be written ({reason})", "make room, then run the same command again to go on"
        ) from None
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)
    fsync_path(folder)
    return final


def save_new_run(
    folder: Path,
    recipe: Recipe,
    state: RunState,
    tokenizer: Tokenizer,
    model: Mapping[str, Tensor],
    objectives: Mapping[str, Tensor],
) -> Path:
    """Write a run with one checkpoint, which appears all at once, and return the path of the checkpoint.

    It has no optimizer, so it is begun from and not continued. Raises MasscliError if it cannot be written.
    """
    final = folder / "checkpoints"
    aside = final
    try:
        with new_folder(final) as aside:
            saved = save_checkpoint(aside, recipe, state, {}, tokenizer, model, objectives, {})
            link_checkpoint(aside, "last", saved)
    except MasscliError as error:
        # The user knows nothing of the folder aside.
        raise MasscliError(error.message.replace(str(aside), str(final)), error.hint) from None
    except OSError as error:
        raise MasscliError(
            f"{folder}: cannot be written ({error.strerror})", "choose another folder with --output"
        ) from None
    return final / saved.name


def rank_steps(scores: Mapping[int, float | None], lower_is_better: bool) -> list[int]:
    """Return the steps that have a score, best first, and the earlier of two with equal scores first."""
    known = {step: score for step, score in scores.items() if score is not None}
    sign = 1 if lower_is_better else -1
    return sorted(known, key=lambda step: (sign * known[step], step))


def link_checkpoint(folder: Path, name: str, target: Path) -> None:
    """Let the link `folder`/name (`last` or `best`) point to a checkpoint."""
    update_link(folder / name, target.name)


def remove_checkpoint(folder: Path, step: int) -> None:
    """Delete a checkpoint. It is renamed first, so that a checkpoint is never half there."""
    aside = folder / f".step-{step:07d}.new"
    (folder / f"step-{step:07d}").rename(aside)
    shutil.rmtree(aside)


def drop_optimizer_state(path: Path) -> None:
    """Delete what a checkpoint needs only to be continued, such as the state of the optimizer."""
    contents = read_state_file(path)
    # The list of files is changed first: a kill in between leaves a file that no list names.
    files = {name: digest for name, digest in contents.files.items() if name not in CONTINUATION_FILES}
    if files != contents.files:
        write_state_file(path, replace(contents, files=files))
    for name in CONTINUATION_FILES:
        (path / name).unlink(missing_ok=True)


def remove_partial_saves(run: Path) -> None:
    """Remove what an interrupted save left behind. Only the process that trains into the run may do this."""
    for partial in (run / "checkpoints").glob(".step-*.new"):
        shutil.rmtree(partial)


def require_empty_folder(folder: Path) -> None:
    """Raise MasscliError if the folder of `--output` is not empty.

    What `save_new_run` left behind when its process was killed is removed.
    """
    if folder.exists() and not folder.is_dir():
        raise MasscliError(f"{folder}: is a file", "choose a folder with --output")
    remove_leftovers(folder / "checkpoints")
    if any(path.is_file() for path in folder.rglob("*")):
        raise MasscliError(f"{folder}: is not empty", "choose another folder with --output")


def saved_checkpoints(run: Path) -> dict[int, Path]:
    """Return the checkpoints of a run by step. They were complete when they got their names."""
    checkpoints = {}
    for path in sorted((run / "checkpoints").glob("step-*")):
        name = _STEP_FOLDER.fullmatch(path.name)
        if name is not None and path.is_dir():
            checkpoints[int(name[1])] = path
    return checkpoints


def _read_recipe(path: Path) -> Recipe:
    """Return the recipe of a checkpoint.

    Errors name the file, since no option of this command is to blame.
    """
    try:
        return from_dict(Recipe, parse_toml(decode_text(read_regular(path), path)))
    except ConfigError as error:
        lines = [f"{path}: {line}" for line in error.message.split("\n")]
        hint = error.hint or "it was written by another version of masscli, or changed since"
        raise MasscliError("\n".join(lines), hint) from None
    except ValueError as error:
        raise DamagedCheckpointError(f"{path}: damaged ({error})") from None


def _find(path: Path) -> Path:
    """Return the folder of the checkpoint that a path names: a checkpoint, or a run."""
    # Without its state, a checkpoint is damaged.
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
    if not path.exists():
        raise MasscliError(
            f"{path}: no such run or checkpoint", "train one with `masscli pretrain` or `masscli finetune`"
        )
    raise MasscliError(
        f"{path}: holds no checkpoint", "give the folder of a run, or one of its checkpoints/step-N"
    )


def _verify(path: Path, checksum: str | None) -> None:
    """Raise DamagedCheckpointError if a file is missing or does not match `checksum`, unless that is None."""
    if not path.is_file() or (checksum is not None and sha256_of(path) != checksum):
        raise DamagedCheckpointError(f"{path}: damaged or missing (its checksum differs)")
