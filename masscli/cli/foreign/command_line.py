"""Take a command line of another toolkit apart: its program, its flags and its other arguments."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from masscli.cli.foreign.table import ForeignFlag, ForeignProgram, programs
from masscli.core.errors import MasscliError

SCRIPTS = {
    "fairseq-preprocess": "fairseq-preprocess",
    "preprocess.py": "fairseq-preprocess",
    "fairseq-train": "fairseq-train",
    "fairseq-hydra-train": "",
    "fairseq-generate": "fairseq-generate",
    "generate.py": "fairseq-generate",
    "fairseq-interactive": "fairseq-generate",
    "interactive.py": "fairseq-generate",
    "train.py": "train.py",
    "run_translation.py": "run_translation.py",
}
"""The program that a word of a command line starts. An empty one has no command line of flags."""

SEPARATORS = ";&|<>"
"""What ends a command in a shell."""
KNOWN = (
    "fairseq-preprocess, fairseq-train, fairseq-generate, fairseq-interactive, train.py of XLM and MASS, "
    "run_translation.py"
)


@dataclass(frozen=True, slots=True)
class GivenFlag:
    """A flag as it was given."""

    name: str
    flag: ForeignFlag | None
    """The flag in the table; None if it is not there."""
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForeignCommand:
    """A command line of another toolkit."""

    script: str
    """The word that starts the program."""
    program: ForeignProgram
    flags: tuple[GivenFlag, ...]
    arguments: tuple[str, ...]
    """What is neither a flag nor its value, such as the data folder of fairseq."""
    processes: str | None
    """How many processes on this machine a launcher starts, as it is written there."""


def parse_foreign(text: str) -> ForeignCommand:
    """Take a command line apart. Raises MasscliError if its quotes are open or its program is unknown."""
    try:
        words = _join_tuples(_split_words(text))
    except ValueError as error:
        raise MasscliError(f"the command line cannot be read: {error}", "close its quotes") from None
    start = _find_script(words)
    script = PurePath(words[start])
    name = SCRIPTS[script.name]
    # fairseq's own script has the name of XLM's.
    if script.name == "train.py" and "fairseq" in str(script):
        name = "fairseq-train"
    program = programs()[name]
    # The command ends where the shell would begin another, or send its output to a file.
    own_words = itertools.takewhile(lambda word: not _ends_command(word), words[start + 1 :])
    flags, arguments = _split(program, list(own_words))
    return ForeignCommand(script.name, program, tuple(flags), tuple(arguments), _processes(words[:start]))


def _ends_command(word: str) -> bool:
    """Return whether a word is a separator of the shell; an empty word is a value."""
    return word != "" and word.strip(SEPARATORS) == ""


def _split_words(text: str) -> list[str]:
    """Return the words of a command line, without comments. Raises ValueError for open quotes."""
    # A backslash at the end of a line joins it with the next one.
    joined = re.sub(r"\\\s*\n", " ", text)
    lexer = shlex.shlex(joined, posix=True, punctuation_chars=SEPARATORS)
    lexer.whitespace_split = True
    return list(lexer)


def _join_tuples(words: Sequence[str]) -> list[str]:
    """Put tuples together whose quotes are lost, as in 'fairseq-train --adam-betas (0.9, 0.98)'.

    Inside the quotes around a whole command line there is often no room for those of a value.
    """
    joined: list[str] = []
    for word in words:
        is_open = bool(joined) and joined[-1].startswith("(") and ")" not in joined[-1]
        if is_open:
            joined[-1] += f" {word}"
        else:
            joined.append(word)
    return joined


def _find_script(words: Sequence[str]) -> int:
    """Return the place of the word that starts a program."""
    for number, word in enumerate(words):
        name = PurePath(word).name
        if SCRIPTS.get(name):
            return number
        if name in SCRIPTS:
            raise MasscliError(f"{name}: its settings are in YAML files", f"known are {KNOWN}")
    raise MasscliError("there is no program that is known in this command line", f"known are {KNOWN}")


def _split(program: ForeignProgram, words: Sequence[str]) -> tuple[list[GivenFlag], list[str]]:
    """Return the flags with their values, and the other arguments."""
    flags: list[GivenFlag] = []
    arguments: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not _is_flag(word):
            arguments.append(word)
            continue
        name, equals, value = word.partition("=")
        flag = program.find(name)
        values = [value] if equals else _following_values(flag, words[position:])
        if not equals:
            position += len(values)
        flags.append(GivenFlag(name, flag, tuple(values)))
    return flags, arguments


def _following_values(flag: ForeignFlag | None, words: Sequence[str]) -> list[str]:
    """Return the values that follow a flag."""
    values: list[str] = []
    for word in words:
        if _is_flag(word):
            break
        values.append(word)
    count = "?" if flag is None else flag.values
    if count == "+":
        return values
    # A switch may be followed by an argument of the program, but not by true or false.
    if count == "?" and flag is not None:
        return [value for value in values[:1] if value.lower() in ("true", "false")]
    return values[: 0 if count == "0" else 1]


def _is_flag(word: str) -> bool:
    """Return whether a word is a flag, and not a negative number."""
    return re.match(r"--?[A-Za-z]", word) is not None


def _processes(words: Sequence[str]) -> str | None:
    """Return how many processes the launcher in front of the program starts, or None."""
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name.replace("_", "-") in ("--nproc-per-node", "--num-processes"):
            return value if equals else words[number + 1]
    return None
