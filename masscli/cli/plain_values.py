"""Take values from the command line as they were typed, without Typer's conversion.

Newer versions of Typer convert every value with pydantic, even for options that were not given.
Importing pydantic takes 0.1 s, a large part of the duration of a short command. Commands declare their
parameters as strings and flags anyway, and parse them with masscli.core.config.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast


class PlainValues:
    """A mix-in for Typer commands whose parameters keep the strings that were typed."""

    def get_params(self, context: Any) -> Any:
        """Return the parameters of the command, its option --help included, without conversions."""
        parameters = cast(Any, super()).get_params(context)
        for parameter in parameters:
            # A command is asked for its parameters several times.
            is_changed = "process_value" in vars(parameter)
            if not is_changed:
                parameter.process_value = partial(
                    _keep_value, parameter, parameter.process_value
                )
        return parameters


def _keep_value(
    parameter: Any, process: Callable[[Any, Any], Any], context: Any, value: Any
) -> Any:
    """Return what was typed for a parameter: a string, a bool, or a list of strings; None or [] for nothing.

    The callback of the parameter, if it has one, is called as Typer does. `process` is Typer's own function
    for all this, which is left to complain if a required value is missing.
    """
    if parameter.required and parameter.value_is_missing(value):
        return process(context, value)
    if parameter.multiple or parameter.nargs != 1:
        value = list(value or ())
    if parameter.callback is not None:
        value = parameter.callback(context, parameter, value)
    return value
