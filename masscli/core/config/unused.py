"""Find the options that were given but have no effect.

All commands treat them the same way. If the result is still what the user asked for, a warning names
the option and the command runs, so that an old command line with one flag too many works. If the result
would mislead, because the option asks for something that does not happen, it is refused
(`UnusedOption.misleading`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from masscli.core.config.declare import UnusedOption
from masscli.core.config.document import iter_options
from masscli.core.config.errors import ConfigError, Problem


def find_unused(
    section: Any, rules: Iterable[UnusedOption] | None = None
) -> dict[str, UnusedOption]:
    """Return the options of a section that have no effect, each with the first rule that says so.

    The rules are those in the section's property `unused_options`, unless `rules` are given. In the result a
    rule is `misleading` only if the option also differs from its default.
    """
    if rules is None:
        rules = getattr(section, "unused_options", ())
    unused: dict[str, UnusedOption] = {}
    for rule in rules:
        if not rule.condition:
            continue
        for option in rule.options.split():
            misleads = rule.misleading and is_changed(section, option)
            # The first rule gives the reason; others would only repeat that the option is unused.
            unused.setdefault(option, rule._replace(misleading=misleads))
    return unused


def is_changed(section: Any, key: str) -> bool:
    """Return whether the option `key` of a section differs from its default."""
    defaults = {option.key: option.default for option in iter_options(type(section))}
    return bool(getattr(section, key) != defaults[key])


def refuse_misleading(unused: Mapping[str, UnusedOption]) -> list[Problem]:
    """Return a problem to warn about for each option in `unused`, the given options without effect.

    Raises one ConfigError that names all of them that are marked as misleading, if there are any.
    """
    misleading = []
    for key, rule in unused.items():
        if rule.misleading:
            misleading.append(Problem(key, f"would have no effect: {rule.reason}"))
    # Name all of them at once, so that the user need not try again for each.
    if misleading:
        raise ConfigError(*misleading, hint="leave it out")
    return [Problem(key, rule.reason) for key, rule in unused.items()]
