"""What a user asks of a training run, before anything is filled in: the input of `compose`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from masscli.core.config import iter_options
from masscli.core.errors import MasscliError
from masscli.objectives.registry import OBJECTIVES
from masscli.objectives.stream_selection import StreamSelection


class AuxiliaryObjective(NamedTuple):
    """One item of --auxiliary: NAME=WEIGHT or NAME@FOLDER=WEIGHT."""

    name: str
    data_dir: Path | None
    loss_weight: str


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What a training command asks for: only what the user gave, as plain data."""

    recipe_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of a `Recipe` without streams: the file of --config, flags over it, and --set over both."""
    stream_tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The streams that the file or --set lists, by name. If there are none, `objective` and `selection`
    choose them."""
    objective: str | None = None
    """The name that --objective or --task gives."""
    objective_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of objectives that flags give. Each holds for every stream whose objective has it."""
    selection: StreamSelection = field(default_factory=StreamSelection)
    """What to train on."""
    flag_keys: frozenset[str] = frozenset()
    """The dotted keys of the recipe that flags give, such as `optim.lr`."""
    verify: bool = True
    """Whether the checksums of the data folders are compared, which --no-verify turns off."""
    accept_changes: bool = False
    """Whether a run goes on although its learning rate, schedule, dropout or batch size changes."""
    dry_run: bool = False
    """Whether everything is prepared and tried, but nothing learned and nothing written."""
    names: Mapping[str, str] = field(default_factory=dict)
    """How the user wrote each option, by its dotted key, for messages: `optim.lr` is `--lr`, or `run.toml:
    optim.lr`."""

    def options_for(self, objective: str) -> dict[str, Any]:
        """Return those of the given objective options that the objective called `objective` has."""
        # A flag holds for every stream, but not every objective has the option.
        known = {option.key for option in iter_options(OBJECTIVES.load(objective))}
        return {key: value for key, value in self.objective_options.items() if key in known}


def parse_weighted(items: Sequence[str]) -> list[AuxiliaryObjective]:
    """Return the objectives, folders and weights of --auxiliary.

    The items were split at commas, but a ramp has commas as well: an item that begins with a digit or a point
    continues the weight of the item before it. Raises MasscliError for an empty folder name.
    """
    whole: list[str] = []
    for item in items:
        # No objective has a name that begins with a digit.
        continues = item[:1] in tuple("0123456789.")
        if whole and continues:
            whole[-1] += f",{item}"
        elif item:
            whole.append(item)
    parsed = []
    for item in whole:
        target, _, weight = item.partition("=")
        name, at, folder = target.partition("@")
        if at and not folder:
            raise MasscliError(
                f"--auxiliary {target}: names no folder",
                f"write {name}@FOLDER, or {name} for the data of the run",
            )
        data_dir = Path(folder) if at else None
        parsed.append(AuxiliaryObjective(name, data_dir, weight or "1"))
    return parsed
