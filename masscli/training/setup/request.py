"""The options that a user gives for a training run, before defaults are filled in: the input of `compose`."""

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
    """One item of --auxiliary, which is written as NAME=WEIGHT or NAME@FOLDER=WEIGHT.

    `data_dir` is None without a folder, and `loss_weight` may be a schedule over updates.
    """

    name: str
    data_dir: Path | None
    loss_weight: str


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """The options of a training command: only those that the user gave, as plain data."""

    recipe_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of a `Recipe` without its streams, by section. Flags override the file of --config, and --set
    overrides both."""
    stream_tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The [stream] tables in the file of --config or in --set, by name. If there are none, `objective` and
    `selection` decide on the streams."""
    objective: str | None = None
    """The name that --objective or --task gives; None if neither is given."""
    objective_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of objectives that flags give. Each holds for every stream whose objective has this option."""
    selection: StreamSelection = field(default_factory=StreamSelection)
    """The flags that choose languages, tables and auxiliary objectives to train on."""
    flag_keys: frozenset[str] = frozenset()
    """The dotted keys of those recipe options that were given as flags, such as `optim.lr`."""
    verify: bool = True
    """Whether to compare data folders with their checksums, which --no-verify turns off."""
    accept_changes: bool = False
    """Whether a continued run may change its learning rate, schedule, dropout or batch size."""
    dry_run: bool = False
    """Whether to prepare and try everything, but to train and write nothing."""
    names: Mapping[str, str] = field(default_factory=dict)
    """How the user wrote each option, by its dotted key, for error messages: `optim.lr` is `--lr`, or
    `run.toml: optim.lr`."""

    def options_for(self, objective: str) -> dict[str, Any]:
        """Return those of `objective_options` that the objective with this name has."""
        # A flag holds for every stream, but not every objective has the option.
        known = {option.key for option in iter_options(OBJECTIVES.load(objective))}
        return {
            key: value for key, value in self.objective_options.items() if key in known
        }


def parse_weighted(items: Sequence[str]) -> list[AuxiliaryObjective]:
    """Return the objectives, data folders and loss weights that the items of --auxiliary name.

    The items were split at commas, but a weight may be a schedule with commas: an item that begins with
    a digit or a point belongs to the weight of the item before it. A missing weight is `1`; other
    weights are not checked here. Raises MasscliError for an empty folder name.
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
