"""A command line of masscli that is being built from one of another toolkit."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from masscli.cli.foreign.values import checkpoint


@dataclass(slots=True)
class Conversion:
    """A masscli command line that is being built from a command line of another toolkit."""

    command: str
    options: dict[str, str | None] = field(default_factory=dict)
    """The flags of masscli with their values; the value is None for a flag that takes none."""
    arguments: list[str] = field(default_factory=list)
    """The positional arguments of masscli, such as a data folder or runs."""
    remarks: list[str] = field(default_factory=list)
    """Messages for the user about flags without an equivalent, and about further steps."""
    always: list[str] = field(default_factory=list)
    """Flags of the other toolkit that masscli does not need, since it always does what they ask for."""
    processes: str | None = None
    """Number of processes per machine for torchrun; None for a single process."""

    def add(self, words: Sequence[str]) -> None:
        """Add masscli flags with their values, the words of a command line; they replace earlier ones.

        A flag also replaces its opposite, as --no-share replaces --share. A value may have spaces.
        """
        for number, word in enumerate(words):
            if not word.startswith("--"):
                continue
            self.options.pop(_opposite(word), None)
            self.options[word] = None
            following = words[number + 1 : number + 2]
            if following and not following[0].startswith("--"):
                self.options[word] = following[0]

    @property
    def objective(self) -> str:
        """The value of --task or --objective, or an empty string if neither is set."""
        return self.options.get("--task") or self.options.get("--objective") or ""

    def words(self) -> list[str]:
        """Return the words of the masscli command line, with torchrun before it for several processes."""
        start = ["masscli"]
        if self.processes is not None:
            start = ["torchrun", "--nproc-per-node", self.processes, "-m", "masscli"]
        words = [*start, self.command, *self.arguments]
        for flag, value in self.options.items():
            words += [flag] if value is None else [flag, value]
        return words


def _opposite(flag: str) -> str:
    """Return the opposite of a flag: --no-x for --x, and --x for --no-x."""
    if flag.startswith("--no-"):
        return f"--{flag.removeprefix('--no-')}"
    return f"--no-{flag.removeprefix('--')}"


def remark_on_import(conversion: Conversion, paths: Iterable[str]) -> None:
    """Add a remark for each checkpoint of another toolkit, from `paths`, that has to be imported first."""
    for path in paths:
        converted = checkpoint(path)
        # A path with fairseq's file names becomes a masscli run; other files have to be imported.
        if not path.endswith(("checkpoint_best.pt", "checkpoint_last.pt")):
            conversion.remarks.append(
                f"{path}: has to be a run of masscli; masscli import makes one of foreign weights, "
                f"such as {converted}"
            )


def remark_on_endless_decay(conversion: Conversion) -> None:
    """Add a remark if a schedule falls until --max-update, which the command line does not give."""
    schedule = conversion.options.get("--lr-scheduler")
    if schedule in ("linear", "cosine") and "--max-update" not in conversion.options:
        conversion.remarks.append(
            f"--lr-scheduler {schedule}: falls until --max-update, which has to be added: the updates of an "
            "epoch times the epochs"
        )


def format_command(words: Iterable[str], width: int = 100) -> str:
    """Return words as a quoted shell command, in lines of about `width` columns that backslashes join.

    Words with shell variables, such as $DATA, are quoted so that the shell still expands them, unless they
    have a double quote.
    """
    lines = [""]
    for word in words:
        quoted = shlex.quote(word)
        if "$" in word and '"' not in word:
            quoted = f'"{word}"'
        if len(lines[-1]) + len(quoted) > width and word.startswith("-"):
            lines.append("   ")
        if lines[-1]:
            quoted = f" {quoted}"
        lines[-1] += quoted
    return " \\\n".join(lines)
