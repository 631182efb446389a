"""The error for an invalid configuration: a list of problems, each with the key that it concerns."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from masscli.core.errors import MasscliError


class Problem(NamedTuple):
    """One problem with a configuration.

    `key` is the dotted key (`optim.lr`) or the flag that the problem concerns. It is empty if the
    message itself names the options, for example because there are two of them. `hint` says what to do
    about it, if that is not obvious.
    """

    key: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        """Return the problem as the line that a user sees: `key: message`."""
        if not self.key:
            return self.message
        return f"{self.key}: {self.message}"

    def under(self, prefix: str) -> Problem:
        """Return the same problem with `prefix`, the name of a table, put in front of its key."""
        return self._replace(key=join_key(prefix, self.key))


class ConfigError(MasscliError):
    """One or more problems of a configuration; each is a line of the message.

    The hint shown is that of the first problem that has one, or else the argument `hint`.
    """

    def __init__(self, *problems: Problem, hint: str | None = None) -> None:
        for problem in problems:
            if problem.hint is not None:
                hint = problem.hint
                break
        super().__init__("\n".join(map(str, problems)), hint)
        self.problems = problems

    def with_keys(self, rename: Callable[[str], str]) -> ConfigError:
        """Return the same error with each key renamed, for example to the flag that was typed."""
        renamed = [
            problem._replace(key=rename(problem.key)) for problem in self.problems
        ]
        return ConfigError(*renamed, hint=self.hint)


def join_key(prefix: str, key: str) -> str:
    """Return `prefix.key`, or just one of the two if the other is empty."""
    if not prefix or not key:
        return prefix or key
    return f"{prefix}.{key}"


def suggest(word: str, known: Sequence[str]) -> str:
    """Return the end of an error message about an unknown word.

    It names the most similar known word and those that the unknown word begins, or lists all known words if
    there are none.
    """
    # Such as data, which may be short for data_dir and for dataset.
    longer = [name for name in sorted(known) if word and name.startswith(word)]
    close_matches = difflib.get_close_matches(word, known, n=1)
    meant = dict.fromkeys([*close_matches, *longer])
    if not meant:
        return f" (known: {', '.join(sorted(known))})"
    return f", did you mean {' or '.join(map(repr, meant))}?"
