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

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from masscli.checkpoint.find_checkpoint import find_checkpoint
from masscli.checkpoint.run_state import RunState, parse_run_state
from masscli.checkpoint.state_file import (
    STATE_FILE,
    DamagedStateError,
    read_state_file,
)
from masscli.core.config import (
    ConfigError,
    from_dict,
    parse_toml,
)
from masscli.core.errors import MasscliError
from masscli.core.files import sha256_of
from masscli.data.batches.framing import Framing
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


class DamagedCheckpointError(MasscliError):
    """A file of a checkpoint is missing or damaged; another checkpoint of the run may be intact."""

    def __init__(self, message: str) -> None:
        super().__init__(message, _DAMAGE_HINT)


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
        folder = find_checkpoint(path)
        try:
            contents = read_state_file(folder)
            state = parse_run_state(contents.state)
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
        """Return the tensors of a file by name, after verifying its checksum.

        Raises DamagedCheckpointError if it cannot be read.
        """
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


def _verify(path: Path, checksum: str | None) -> None:
    """Raise DamagedCheckpointError if a file is missing, or if its SHA-256 is not `checksum`.

    If `checksum` is None, the file only has to exist.
    """
    if not path.is_file():
        raise DamagedCheckpointError(f"{path}: missing")
    if checksum is not None and sha256_of(path) != checksum:
        raise DamagedCheckpointError(f"{path}: damaged (its checksum differs)")
