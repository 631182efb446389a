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
    "interactive": ("fairseq-generate",),
}
"""For each masscli command, the programs whose flags users may try on it, in the order of the search."""

IGNORED = "it has no effect on what this program writes"
"""Reason why flags are not needed that a program accepts only because it accepts all flags of another."""


@dataclass(frozen=True, slots=True)
class ForeignFlag:
    """A flag of another program, and its counterpart in masscli: a template, choices, or a reason."""

    name: str
    values: str = "1"
    """How many values follow the flag: 0, 1, ? (a switch, perhaps with true or false) or + (any number)."""
    template: str | None = None
    """The masscli flags or argument that replace the flag, with {} in place of its value."""
    choices: Mapping[str, str] = field(default_factory=dict)
    """The masscli flags that replace the flag, for each of its possible values."""
    form: str = "text"
    """Name of the conversion of the value, a key of FORMS or WHOLE_FORMS in values.py."""
    is_base: bool = False
    """Whether the flag sets defaults that other flags override, such as --arch, so that it comes first."""
    always: str | None = None
    """Why masscli does not need the flag; None if it is needed."""
    missing: str | None = None
    """What to do instead of the flag, if masscli has no equivalent; otherwise None."""

    def describe(self, value: str = "") -> str:
        """Return a sentence part on what replaces the flag in masscli, such as `is --lr 0.1 here`.

        `value` is the value that the user gave to the flag, if any. It is shown as it is, although masscli
        may write it in another form.
        """
        if self.always is not None:
            return f"leave it out; {self.always}"
        if self.missing is not None:
            return f"has no counterpart; {self.missing}"
        if self.choices:
            return self._describe_choice(value)
        flags = str(self.template).replace("{}", value or "VALUE")
        # A template without a flag stands for an argument, such as the data folder.
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
    """A program of another toolkit, with its flags by name, as flags.toml describes it."""

    name: str
    command: str
    """The masscli command that replaces the program, with the flags that choose its task."""
    defaults: str
    """The defaults of the program that differ from masscli's, as masscli flags."""
    flags: Mapping[str, ForeignFlag]
    aliases: Mapping[str, str]
    """Other names of flags, such as short ones, with the full names."""
    ignores: str = ""
    """Name of another program whose flags this one also accepts, although they have no effect on its
    output; empty for none."""

    def find(self, name: str) -> ForeignFlag | None:
        """Return the flag with this name or alias, or None; - and _ in names are the same.

        As in argparse, the beginning of a name is enough if only one flag begins with it; here it must have
        two letters at least.
        """
        name = self.aliases.get(name, name)
        normalized = _normalize(name)
        # An exact name has priority over a prefix, since --lr is both a flag and a prefix of others.
        beginnings = []
        for flag in self.flags.values():
            known = _normalize(flag.name)
            if known == normalized:
                return flag
            # An unknown short flag such as -x must not be interpreted as the prefix of a long one.
            if known.startswith(normalized) and len(normalized) > len("--x"):
                beginnings.append(flag)
        if len(beginnings) == 1:
            return beginnings[0]
        return self._ignored_flag(name)

    def _ignored_flag(self, name: str) -> ForeignFlag | None:
        """Return the flag `name` of the program `ignores` as one that is not needed, or None."""
        flag = programs()[self.ignores].find(name) if self.ignores else None
        if flag is None:
            return None
        return ForeignFlag(flag.name, flag.values, always=IGNORED)


@functools.cache
def programs() -> dict[str, ForeignProgram]:
    """Return all programs of flags.toml by name; the file is read once."""
    text = (
        files("masscli.cli.foreign").joinpath("flags.toml").read_text(encoding="utf-8")
    )
    by_name = {}
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
        by_name[name] = ForeignProgram(
            name,
            entry["command"],
            " ".join(entry["defaults"].split()),
            flags,
            entry.get("aliases", {}),
            entry.get("ignores", ""),
        )
    return by_name


def explain_flag(name: str, value: str, command: str) -> str | None:
    """Return an explanation of a flag that the masscli command `command` lacks but another toolkit has.

    `value` is the value that the user gave to the flag. The result is None if no program in PROGRAMS_OF of
    the command has the flag.
    """
    for program in PROGRAMS_OF.get(command, ()):
        for flag in programs()[program].flags.values():
            if _normalize(flag.name) == _normalize(name):
                return f"{name} (of {program}): {flag.describe(value)}"
    return None


def explain_value(name: str, value: str, command: str) -> str | None:
    """Return an explanation of a value that the flag `name` has in another toolkit, but not in masscli.

    The flags of the masscli command `command` and of the other toolkit have the same name, such as --arch;
    what fairseq calls --task is --objective in `pretrain`. The result is None if no program in PROGRAMS_OF of
    the command knows the value.
    """
    if name == "--objective":
        name = "--task"
    for program in PROGRAMS_OF.get(command, ()):
        flag = programs()[program].flags.get(name)
        if flag is not None and value in flag.choices:
            return f"{name} {value} (of {program}): {flag.describe(value)}"
    return None


def _normalize(name: str) -> str:
    return name.replace("_", "-")
