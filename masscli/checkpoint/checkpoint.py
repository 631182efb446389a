"""A checkpoint: a folder with everything a command needs, and nothing that could run.

    step-0001000/  recipe.toml  vocab.model  tokenizer.json  model.safetensors  objective.safetensors  optimizer.safetensors  state.json

`state.json` is written last and holds the checksum of the others; the folder is made aside and renamed, so it is whole or not there.
`Checkpoint.open` takes such a folder or the folder of a run, whose best checkpoint it then means, else its last.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from masscli.core.config import from_dict, to_dict, to_toml
from masscli.core.errors import MasscliError
from masscli.core.files import fsync_path, sha256_of, update_link, write_synced
from masscli.data.batches.framing import Framing
from masscli.data.batches.sampler import Position
from masscli.models.transformer import Transformer
from masscli.objectives.write.options import ConditionalGenerationOptions
from masscli.text.tokenizer import Tokenizer
from masscli.training.recipe import Recipe

FORMAT = 1
_GO_ON = "to go on training from the one before, delete its folder"
WEIGHTS, OBJECTIVES_FILE, OPTIMIZER = "model.safetensors", "objective.safetensors", "optimizer.safetensors"


@dataclass(slots=True)
class RunState:
    """What a run needs to go on, besides tensors: all randomness is a function of seeds and these numbers."""

    step: int = 0
    targets: int = 0
    """Targets learned from, so far."""
    seconds: float = 0.0
    update_freq: int = 1
    positions: dict[str, Position] = field(default_factory=dict)
    best_score: float | None = None
    validations_since_best: int = 0
    """Validations since the best."""
    loss_scale: float = 2.0**15
    updates_since_overflow: int = 0
    """Updates since the last overflow."""
    overflows: int = 0
    oom_retries: int = 0
    """Updates redone in smaller pieces for want of memory."""
    languages: tuple[str, ...] = ()
    vocab_fingerprint: str = ""
    """Fingerprint of the vocabulary."""
    data_fingerprint: str = ""
    """Fingerprint of the rows of the training split."""
    cpu_precision: Literal["", "bf16", "fp32"] = ""
    """What `--precision auto` came to on a CPU."""


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint; tensors are read when asked for."""

    path: Path
    recipe: Recipe
    state: RunState
    metrics: Mapping[str, float]
    checksums: Mapping[str, str]
    """sha256 of each file."""

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """A checkpoint, or the best (else last) of a run; raises MasscliError when there is none or its files do not add up.

        Tensors are compared with their checksum when they are read: a model can be used without reading what the optimizer knew.
        """
        folder = _find(path)
        try:
            raw = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            if raw["format"] != FORMAT:
                raise MasscliError(
                    f"{folder}: format {raw['format']} of a checkpoint is not known",
                    f"this masscli reads format {FORMAT}",
                )
            for name, expected in raw["files"].items():
                _verify(folder / name, None if name.endswith(".safetensors") else expected)
            state = RunState(**raw["state"])
            state.positions = {name: Position(*p) for name, p in state.positions.items()}
            state.languages = tuple(state.languages)
            recipe = from_dict(Recipe, tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8")))
        except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise MasscliError(
                f"{folder / 'state.json'}: damaged ({error})", f"use another checkpoint; {_GO_ON}"
            ) from None
        return cls(folder, recipe, state, raw["metrics"], raw["files"])

    def tokenizer(self) -> Tokenizer:
        """The tokenizer the model was trained with."""
        return Tokenizer.load(self.path)

    def framing(self) -> Framing:
        """How text is framed for the model."""
        return make_framing(self.recipe, self.tokenizer(), self.state.languages)

    def model(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Transformer:
        """The model, for inference: in eval mode, weights in `dtype`."""
        with torch.device("meta"):
            model = Transformer(self.recipe.model, self.tokenizer().vocab.size, self.state.languages)
        model.load_state_dict(self.weights(), assign=True)
        model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        model.compute_dtype = dtype
        return model

    def weights(self) -> dict[str, Tensor]:
        """The model's tensors by name."""
        return self._tensors(WEIGHTS)

    def objective_state(self) -> dict[str, Tensor]:
        """The objectives' own tensors: `STREAM.NAME`."""
        return self._tensors(OBJECTIVES_FILE) if OBJECTIVES_FILE in self.checksums else {}

    def optimizer_state(self) -> dict[str, Tensor]:
        """The optimizer's tensors."""
        if OPTIMIZER not in self.checksums:
            raise MasscliError(
                f"{self.path}: has no optimizer state to continue from",
                "start anew from its weights with --init-from",
            )
        return self._tensors(OPTIMIZER)

    def verify(self) -> int:
        """Read every file and compare it with its checksum; how many there are."""
        for name, expected in self.checksums.items():
            _verify(self.path / name, expected)
        return len(self.checksums)

    def _tensors(self, name: str) -> dict[str, Tensor]:
        path = self.path / name
        _verify(path, self.checksums[name])
        try:
            return load_file(path)
        except SafetensorError as error:
            raise MasscliError(
                f"{path}: cannot be read ({error})", f"use another checkpoint; {_GO_ON}"
            ) from None

    @property
    def directions(self) -> tuple[tuple[str, str], ...]:
        """(source, target) languages of the directions it was trained to write."""
        written = (f"{options.language}-{options.language}" for options in self.writers.values())
        texts = (
            *(s.dataset for s in self.recipe.stream.values() if s.objective.input_kind.has_direction),
            *written,
        )
        return tuple((a, b) for a, b in dict.fromkeys(tuple(t.split("-")) for t in texts))

    @property
    def writers(self) -> dict[str, ConditionalGenerationOptions]:
        """The tasks that it was trained to write for, by stream."""
        return {
            name: s.objective
            for name, s in self.recipe.stream.items()
            if isinstance(s.objective, ConditionalGenerationOptions)
        }


def make_framing(recipe: Recipe, tokenizer: Tokenizer, languages: tuple[str, ...]) -> Framing:
    """How the text of a run is framed."""
    model = recipe.model
    return Framing(tokenizer.vocab, model.source_bos, model.languages == "tag", languages)


def save_checkpoint(folder: Path, recipe: Recipe, state: RunState, metrics: Mapping[str, float], tokenizer: Tokenizer,
         weights: Mapping[str, Tensor], heads: Mapping[str, Tensor], moments: Mapping[str, Tensor]) -> Path:  # fmt: skip
    """Write `folder`/step-N; returns it.  A folder of that name is replaced.  Raises MasscliError when the disk does not take it."""
    final = folder / f"step-{state.step:07d}"
    aside = folder / f".{final.name}.new"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        write_synced(aside / "recipe.toml", to_toml(to_dict(recipe)).encode())
        tokenizer.save(aside)
        for name, tensors in ((WEIGHTS, weights), (OBJECTIVES_FILE, heads), (OPTIMIZER, moments)):
            if tensors:
                save_file(
                    {key: tensor.detach().contiguous().cpu() for key, tensor in tensors.items()}, aside / name
                )
        for path in aside.iterdir():
            fsync_path(path)
        files = {path.name: sha256_of(path) for path in sorted(aside.iterdir())}
        content = {"format": FORMAT, "state": asdict(state), "metrics": dict(metrics), "files": files}
        write_synced(aside / "state.json", json.dumps(content, indent=1, allow_nan=False).encode())
        fsync_path(aside)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        why = (error.strerror if isinstance(error, OSError) else str(error)) or str(error)
        raise MasscliError(
            f"{final}: cannot be written ({why})", "make room, then run the same command again to go on"
        ) from None
    if final.exists():
        shutil.rmtree(final)
    aside.rename(final)
    fsync_path(folder)
    return final


def rank_steps(kept: Mapping[int, float | None], lower_is_better: bool) -> list[int]:
    """The saved steps that have a score, the best first; the earlier of two equals."""
    scores = {step: score for step, score in kept.items() if score is not None}
    return sorted(scores, key=lambda s: (scores[s] if lower_is_better else -scores[s], s))


def stale_steps(kept: Mapping[int, float | None], last: int, best: int, lower_is_better: bool) -> list[int]:
    """Which of the saved steps (step: score, None where not validated) may go: neither of the `last` latest nor of the `best` best."""
    spared = {*sorted(kept)[-last:], *rank_steps(kept, lower_is_better)[:best]}
    return [s for s in sorted(kept) if s not in spared]


def link_checkpoint(folder: Path, name: str, target: Path) -> None:
    """Make `folder`/name (`last`, `best`) stand for a checkpoint."""
    update_link(folder / name, target.name)


def remove_checkpoint(folder: Path, step: int) -> None:
    """Delete a checkpoint; aside first, so that none is ever half there."""
    aside = folder / f".step-{step:07d}.new"
    (folder / f"step-{step:07d}").rename(aside)
    shutil.rmtree(aside)


def remove_partial_saves(run: Path) -> None:
    """Remove what an interrupted save left behind; only for the process that trains into the run."""
    for leftover in (run / "checkpoints").glob(".step-*.new"):
        shutil.rmtree(leftover)


def require_empty_folder(folder: Path) -> None:
    """That a command which makes a folder of `--output` finds nothing there, but for what it left behind when it was killed."""
    if folder.exists() and not folder.is_dir():
        raise MasscliError(f"{folder}: is a file", "choose a folder with --output")
    remove_partial_saves(folder)
    if any(path.is_file() for path in folder.rglob("*")):
        raise MasscliError(f"{folder}: is not empty", "choose another folder with --output")


def saved_checkpoints(run: Path) -> dict[int, Path]:
    """Complete checkpoints of a run, by step."""
    found = ((re.fullmatch(r"step-(\d+)", p.name), p) for p in sorted((run / "checkpoints").glob("step-*")))
    return {int(name[1]): path for name, path in found if name and (path / "state.json").exists()}


def _find(path: Path) -> Path:
    if (path / "state.json").exists():
        return path
    for name in ("best", "last"):
        if (path / "checkpoints" / name / "state.json").exists():
            return (path / "checkpoints" / name).resolve()
    if not path.exists():
        raise MasscliError(
            f"{path}: no such run or checkpoint", "train one with `masscli pretrain` or `masscli finetune`"
        )
    raise MasscliError(
        f"{path}: holds no checkpoint", "give the folder of a run, or one of its checkpoints/step-N"
    )


def _verify(path: Path, expected: str | None) -> None:
    """That a file is there and, if we know what to expect, what it was."""
    if not path.exists() or (expected is not None and sha256_of(path) != expected):
        raise MasscliError(
            f"{path}: damaged or missing (its checksum differs)", f"use another checkpoint; {_GO_ON}"
        )
