"""Take text and paths from the command line as they were typed, without Typer's conversion.

Newer versions of Typer convert every value with pydantic, also that of an option that was not given. To
import pydantic takes 0.1 s, which is a good part of what a short command needs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

CONVERSIONS: dict[Any, Callable[[Any], Any]] = {
    str: str,
    Path: Path,
    list[str]: list,
    list[Path]: lambda values: [Path(value) for value in values],
}
"""How a value that was typed becomes one of the type of its parameter, by this type."""


class PlainValue:
    """Converts the value of one parameter, in the place of Typer's own conversion.

    A parameter that was not given, whose value is None, becomes an empty tuple if it may have several values,
    and else stays None. `annotation` is the type of the parameter; for a type that is not in CONVERSIONS,
    `original` is called to get Typer's conversion.
    """

    def __init__(self, annotation: object, original: Callable[[], Any]) -> None:
        self.annotation = annotation
        self.original = original

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the converted value; Typer calls this with its parameter and its context."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        convert = CONVERSIONS.get(self.annotation)
        if convert is None:
            return self.original().coerce(value, param=param, ctx=ctx)
        return convert(value)


class PlainValues:
    """A mix-in for Typer commands whose parameters convert their values without pydantic.

    Versions of Typer that do not use pydantic are left as they are.
    """

    def get_params(self, context: Any) -> Any:
        """Return the parameters of the command, its option --help included, with plain conversions."""
        parameters = cast(Any, super()).get_params(context)
        for parameter in parameters:
            # A command is asked for its parameters several times.
            is_changed = "get_runtime_param" in vars(parameter)
            if hasattr(parameter, "get_runtime_param") and not is_changed:
                plain = PlainValue(
                    parameter.type_descriptor.annotation, parameter.get_runtime_param
                )
                parameter.get_runtime_param = lambda plain=plain: plain
        return parameters
