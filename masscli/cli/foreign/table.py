"""Read the table of flags of other toolkits (flags.toml), and look flags up in it."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files

PROGRAMS_OF = {
    "preprocess": ("fairseq-preprocess",),
    "pretrain": ("fairseq-train", "train.py", "run_translation.py"),
    "finetune": ("fairseq-train", "train.py", "run_translation.py"),
    "generate": ("fairseq-generate",),
}
"""For each command, the programs whose flags may be expected there; the first that has a flag counts."""


@dataclass(frozen=True, slots=True)
class ForeignFlag:
    """A flag of another program, and its counterpart."""

    name: str
    values: str = "1"
    """How many values follow: 0, 1, ? (one or none) or + (one or more)."""
    template: str | None = None
    """The flags here, with {} in place of the value."""
    choices: Mapping[str, str] = field(default_factory=dict)
    """The flags here for each value."""
    form: str = "text"
    """How the value is written here."""
    is_base: bool = False
    """Whether other flags change what it sets."""
    always: str | None = None
    """Why the flag is not needed here."""
    missing: str | None = None
    """What to do instead of the flag."""

    def describe(self, value: str = "") -> str:
        """Return what stands for the flag here, in words; `value` is what was given to it."""
        if self.always is not None:
            return f"leave it out; {self.always}"
        if self.missing is not None:
            return f"has no counterpart; {self.missing}"
        if self.choices:
            return self._describe_choice(value)
        flags = str(self.template).replace("{}", value or "VALUE")
        if not flags.startswith("--"):
            return f"is the argument {flags} here"
        return f"is {flags} here"

    def _describe_choice(self, value: str) -> str:
        flags = self.choices.get(value)
        if flags is None:
            return f"has a counterpart for {', '.join(self.choices)} only"
        if not flags:
            return "leave it out; nothing is needed here"
        return f"is {flags} here"


@dataclass(frozen=True, slots=True)
class ForeignProgram:
    """A program of another toolkit."""

    name: str
    command: str
    """The command of masscli, with the flags that choose its task."""
    defaults: str
    """What the program does unless it is told otherwise, as flags of masscli."""
    flags: Mapping[str, ForeignFlag]
    aliases: Mapping[str, str]
    """Short names of flags."""

    def find(self, name: str) -> ForeignFlag | None:
        """Return the flag that is called so, with - or _ between its words, or None.

        As argparse does, the beginning of a name is taken for the name if only one flag begins with it.
        """
        name = self.aliases.get(name, name)
        wanted = _normalize(name)
        beginnings = []
        for flag in self.flags.values():
            known = _normalize(flag.name)
            if known == wanted:
                return flag
            if known.startswith(wanted) and len(wanted) > len("--x"):
                beginnings.append(flag)
        if len(beginnings) == 1:
            return beginnings[0]
        return None


@functools.cache
def programs() -> dict[str, ForeignProgram]:
    """Return every program of the table by its name."""
    text = files("masscli.cli.foreign").joinpath("flags.toml").read_text(encoding="utf-8")
    found = {}
    for name, entry in tomllib.loads(text).items():
        flags = {}
        for flag_name, row in entry["flags"].items():
            flags[flag_name] = ForeignFlag(
                name=flag_name,
                values=str(row.get("values", 1)),
                template=row.get("is"),
                choices=entry.get("choices", {}).get(flag_name, {}),
                form=row.get("form", "text"),
                is_base=row.get("base", False),
                always=row.get("always"),
                missing=row.get("missing"),
            )
        found[name] = ForeignProgram(
            name, entry["command"], " ".join(entry["defaults"].split()), flags, entry.get("aliases", {})
        )
    return found


def explain_flag(name: str, value: str, command: str) -> str | None:
    """Return what an unknown flag of `command` is here, or None if no other toolkit has it."""
    for program in PROGRAMS_OF.get(command, ()):
        for flag in programs()[program].flags.values():
            if _normalize(flag.name) == _normalize(name):
                return f"{name} (of {program}): {flag.describe(value)}"
    return None


def _normalize(name: str) -> str:
    return name.replace("_", "-")
