"""Explain the flags of a command line that its command does not have, all in one message."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Collection, Mapping, Sequence

from masscli.core.errors import MasscliError

CONVERT_HINT = (
    "masscli convert-command 'fairseq-train ...' converts a whole command line"
)

SIBLINGS = {
    "interactive": (
        "generate",
        "interactive answers the lines of standard input; for a file: masscli generate RUN --input FILE",
    )
}
"""For a command, another one whose flags users may try on it, with a hint that tells the two apart."""


def explain_unknown_flags(
    args: Sequence[str],
    known: Collection[str],
    arguments: Mapping[str, str],
    flags_of_sibling: Collection[str],
) -> MasscliError | None:
    """Return an error that lists every unknown flag in `args`, or None if there is none.

    `args` begins with the name of the command, and `known` are the flags that it has; `arguments` are its
    positional arguments, with the words that stand for them in its help. `flags_of_sibling` are the flags of
    the command that SIBLINGS names for it. Explained are flags of the command written with _ for -, arguments
    written as flags, options of another objective, and flags of the sibling and of other toolkits; of any
    other unknown flag, the most similar one of the command is named.
    """
    from masscli.cli.foreign.table import explain_flag
    from masscli.cli.training_options import explain_unknown_option

    command = args[0]
    lines: list[str] = []
    hints: list[str] = []
    for name, value in unknown_flags(args, known).items():
        own_name = name.replace("_", "-")
        option = explain_unknown_option(name, command)
        foreign = explain_flag(name, value, command)
        argument = arguments.get(own_name.removeprefix("--"))
        if own_name in known:
            lines.append(f"{name} is {own_name} here")
        elif argument is not None:
            lines.append(f"{name} is the argument {value or argument} here")
        elif option is not None:
            lines.append(option.message)
            hints.append(option.hint or "")
        elif own_name in flags_of_sibling:
            sibling, hint = SIBLINGS[command]
            lines.append(f"{name} is an option of masscli {sibling}")
            hints.append(hint)
        elif foreign is not None:
            lines.append(foreign)
            hints.append(CONVERT_HINT)
        else:
            lines.append(f"no such option: {name}{_similar_flag(name, known)}")
    if not lines:
        return None
    # An error has one hint, which is that of the first flag that has one.
    shown_hint = next(filter(None, hints), f"masscli {command} --help")
    return MasscliError("\n".join(lines), shown_hint)


def _similar_flag(name: str, known: Collection[str]) -> str:
    """Return the end of a message that asks for the most similar known flag, or "" if none is similar."""
    # Help is no substitute for a flag, nor is its opposite.
    candidates = set(known) - {"--help"}
    if not name.startswith("--no"):
        candidates = {flag for flag in candidates if not flag.startswith("--no-")}
    # All flags begin with the same hyphens, which are no similarity.
    words = {flag.lstrip("-"): flag for flag in sorted(candidates)}
    close_matches = difflib.get_close_matches(name.lstrip("-"), words, n=1, cutoff=0.55)
    if not close_matches:
        return ""
    return f", did you mean {words[close_matches[0]]}?"


def unknown_flags(args: Sequence[str], known: Collection[str]) -> dict[str, str]:
    """Return the long flags in `args` that are not in `known`, each with its value, or "" if it has none.

    The value is what follows = or else the next word, unless that begins with -. The first word of `args` is
    the command; what follows the word -- is left out.
    """
    unknown: dict[str, str] = {}
    for arg, following in itertools.pairwise([*args[1:], ""]):
        # Words after -- are not flags.
        if arg == "--":
            break
        name, equals, value = arg.partition("=")
        if not name.startswith("--") or name in known:
            continue
        if not equals and not following.startswith("-"):
            value = following
        unknown.setdefault(name, value)
    return unknown
