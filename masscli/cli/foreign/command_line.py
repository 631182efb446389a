"""Parse a command line of another toolkit into its program, flags and other arguments."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Mapping, Sequence
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
    "fairseq-score": "fairseq-score",
    "score.py": "fairseq-score",
    "fairseq-validate": "fairseq-validate",
    "validate.py": "fairseq-validate",
    "fairseq-eval-lm": "fairseq-eval-lm",
    "eval_lm.py": "fairseq-eval-lm",
    "train.py": "train.py",
    "translate.py": "translate.py",
    "run_translation.py": "run_translation.py",
}
"""The names of scripts, with the program in flags.toml that each starts.

An empty program is one that is configured by files instead of flags, so that it cannot be converted.
"""

SEPARATORS = ";&|<>"
"""Characters of a shell that end a command, or say where its input and output are."""
KNOWN = (
    "fairseq-preprocess, fairseq-train, fairseq-generate, fairseq-interactive, fairseq-score, "
    "fairseq-validate, fairseq-eval-lm, train.py and translate.py of XLM and MASS, run_translation.py"
)


@dataclass(frozen=True, slots=True)
class GivenFlag:
    """A flag of a command line as it was written, with its values."""

    name: str
    flag: ForeignFlag | None
    """The entry of the flag in flags.toml; None if it has none."""
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForeignCommand:
    """A command line of another toolkit, split into its program, flags and arguments."""

    script: str
    """Name of the script that starts the program, without its folder."""
    program: ForeignProgram
    flags: tuple[GivenFlag, ...]
    arguments: tuple[str, ...]
    """The positional arguments, such as the data folder of fairseq."""
    processes: str | None
    """Number of processes per machine, as given to a launcher such as torchrun; None if it is not given."""


def parse_foreign(text: str) -> ForeignCommand:
    """Parse a shell command line of another toolkit.

    From the words before the script, the number of processes and the values of variables are read, and
    the variables are replaced by their values; what follows a shell separator such as | is ignored.
    Raises MasscliError if a quote is not closed, if no known script is found, or if the first one is
    configured by files instead of flags.
    """
    words = _read_words(text)
    start = _find_script(words)
    script = PurePath(words[start])
    name = SCRIPTS[script.name]
    # fairseq's script has the same name as XLM's.
    if script.name == "train.py" and "fairseq" in str(script):
        name = "fairseq-train"
    program = programs()[name]
    # The command ends where the shell would begin another, or send its output to a file.
    own_words = list(
        itertools.takewhile(lambda word: not _ends_command(word), words[start + 1 :])
    )
    own_words = _with_values(own_words, _variables(words[:start]))
    flags, arguments = _split(program, own_words)
    return ForeignCommand(
        script.name, program, tuple(flags), tuple(arguments), _processes(words[:start])
    )


def _ends_command(word: str) -> bool:
    """Return whether a word consists of shell separators only; an empty word does not."""
    return word != "" and word.strip(SEPARATORS) == ""


def _split_words(text: str) -> list[str]:
    """Return the words of a shell command line, without comments.

    Raises ValueError if a quote is not closed.
    """
    # A backslash at the end of a line joins it with the next one.
    joined = re.sub(r"\\\s*\n", " ", text)
    # fairseq's README starts it this way through a launcher.
    joined = re.sub(r"\$\(which +([^()\s]+)\)|`which +([^`\s]+)`", r"\1\2", joined)
    lexer = shlex.shlex(joined, posix=True, punctuation_chars=SEPARATORS)
    # Without it, words would also end at characters such as - and /.
    lexer.whitespace_split = True
    return list(lexer)


def _variables(words: Sequence[str]) -> dict[str, str]:
    """Return the values of the shell variables that `words` set, by name, as in `LR=5e-4`.

    A value in which the shell would run a command is left out, since it is unknown.
    """
    variables: dict[str, str] = {}
    for word in words:
        assignment = re.fullmatch(r"([A-Za-z_]\w*)=(.*)", word, re.DOTALL)
        if assignment and not re.search(r"\$\(|`", assignment[2]):
            variables[assignment[1]] = _expand(assignment[2], variables)
    return variables


def _expand(word: str, variables: Mapping[str, str]) -> str:
    """Return a word in which the names of `variables`, `$LR` or `${LR}`, are replaced by their values."""

    def value(match: re.Match[str]) -> str:
        return variables.get(match[1] or match[2], match[0])

    return re.sub(r"\$(?:(\w+)|\{(\w+)\})", value, word)


def _with_values(words: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """Return the words of a command with variables replaced by their values.

    Raises MasscliError if a variable that holds flags has a quote that is not closed.
    """
    expanded = []
    for word in words:
        value = _expand(word, variables)
        # A variable that is a word of its own may hold several flags, as in ARGS="--fp16 --lr 5e-4".
        if value != word and value.startswith("-"):
            expanded += _read_words(value)
        else:
            expanded.append(value)
    return expanded


def _read_words(text: str) -> list[str]:
    """Return the words of a shell command line. Raises MasscliError if a quote is not closed."""
    try:
        return _join_tuples(_split_words(text))
    except ValueError as error:
        raise MasscliError(
            f"the command line cannot be read: {error}", "close its quotes"
        ) from None


def _join_tuples(words: Sequence[str]) -> list[str]:
    """Join the words of a tuple that was not quoted, as in 'fairseq-train --adam-betas (0.9, 0.98)'.

    Users often leave out the inner quotes when they quote a whole command line.
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
    """Return the index of the word that is a known script. Raises MasscliError if there is none."""
    for number, word in enumerate(words):
        name = PurePath(word).name
        if SCRIPTS.get(name):
            return number
        if name in SCRIPTS:
            raise MasscliError(
                f"{name}: its settings are in YAML files", f"known are {KNOWN}"
            )
    raise MasscliError(
        "there is no known program in this command line", f"known are {KNOWN}"
    )


def _split(
    program: ForeignProgram, words: Sequence[str]
) -> tuple[list[GivenFlag], list[str]]:
    """Split the words after the script into (flags with their values, positional arguments)."""
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
    """Return those of the words after a flag that are its values: as many as the flag takes.

    A flag that is not known takes at most one value. A switch takes none but true or false.
    """
    values: list[str] = []
    for word in words:
        if _is_flag(word):
            break
        values.append(word)
    if flag is None or flag.values == "1":
        return values[:1]
    if flag.values == "0":
        return []
    # What follows a switch is an argument of the program, unless it is true or false.
    if flag.values == "?":
        return [value for value in values[:1] if value.lower() in ("true", "false")]
    return values


def _is_flag(word: str) -> bool:
    """Return whether a word is a flag: one or two hyphens and a letter, so not a negative number."""
    return re.match(r"--?[A-Za-z]", word) is not None


def _processes(words: Sequence[str]) -> str | None:
    """Return the value of --nproc-per-node or --num-processes in the words before the script, or None."""
    for word, following in itertools.pairwise([*words, None]):
        name, equals, value = str(word).partition("=")
        if name.replace("_", "-") in ("--nproc-per-node", "--num-processes"):
            return value if equals else following
    return None
