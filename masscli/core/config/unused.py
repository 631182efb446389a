"""Find the options that were given and have no effect.

There is one rule for all commands. If the result is still what the user asked for, a warning names the option and the command
runs, so that an old command line with one flag too many works. If the result would mislead, because the option asks for
something that does not happen, it is refused (`UnusedOption.misleading`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from masscli.core.config.declare import UnusedOption
from masscli.core.config.errors import ConfigError, Problem


def find_unused(rules: Iterable[UnusedOption]) -> dict[str, UnusedOption]:
    """Return each option without effect, with the first rule that says so."""
    unused: dict[str, UnusedOption] = {}
    for rule in rules:
        if rule.condition:
            for option in rule.options.split():
                unused.setdefault(option, rule)
    return unused


def refuse_misleading(unused: Mapping[str, UnusedOption]) -> list[Problem]:
    """Return a problem for each given option without effect, for a warning.

    Raises one ConfigError that names all options whose rules say that the result would mislead.
    """
    misleading = [
        Problem(key, f"would have no effect: {rule.reason}")
        for key, rule in unused.items()
        if rule.misleading
    ]
    if misleading:
        raise ConfigError(*misleading, hint="leave it out")
    return [Problem(key, rule.reason) for key, rule in unused.items()]
