"""Turn configuration dataclasses into Typer options, and parsed options back into dataclasses.

`bind` gives a command's function the parameters that Typer expects: one that is annotated with a
configuration dataclass becomes an option for each field (`--field-name`, and the other names in its `Flags`),
except fields that are dictionaries, and the function receives the dataclass. `Annotated[T, Group]` takes its
options from a subclass of `OptionGroup`.

An option that was not given is absent from the data, so that it never hides a value from a file. Values
are parsed only by masscli.core.config, since Typer's errors differ between its versions; errors name
the flags as they were typed.
"""

from __future__ import annotations

import copy
import functools
import inspect
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Annotated, Any, cast

import typer

from masscli.cli.allowed_code import (
    READERS,
    allow_code_parameter,
    allow_named_code,
    peek_option,
)
from masscli.cli.typer_parameters import (
    choices_of,
    completer,
    flag,
    flag_text,
    format_facts,
    section_parameters,
    without_none,
)
from masscli.cli.unused_options import warn_unused
from masscli.core.config import (
    ConfigError,
    Problem,
    find_unused,
    from_dict,
    iter_options,
    parse_value,
    refuse_misleading,
    type_name,
)
from masscli.core.errors import MasscliError

Values = Mapping[str, Any]
"""The values that Typer parsed, by parameter name; the value of an option that was not given is None."""


class OptionGroup(ABC):
    """A group of options that fill one parameter of a command's function.

    Subclasses in `Annotated[T, Subclass]` are created with the name of the command and its arguments, because
    their options may depend on them.
    """

    @abstractmethod
    def parameters(self) -> Sequence[inspect.Parameter]:
        """Return the Typer parameters of the options in this group, for the command's signature."""

    @abstractmethod
    def collect(self, values: Values) -> object:
        """Return the object that the command's function receives, made from the values that Typer parsed."""

    @abstractmethod
    def names(self, values: Values) -> dict[str, str]:
        """Return the flag of each option that was given, by dotted key: `--lr` under `optim.lr`."""


class SectionOptions(OptionGroup):
    """An option group with the options of a configuration dataclass and of the dataclasses nested in it.

    Each of their fields has an option, except fields that are dictionaries.
    """

    def __init__(self, section: type) -> None:
        self.section = section

    def parameters(self) -> Sequence[inspect.Parameter]:
        """Return a Typer parameter for each field of the dataclass and of the dataclasses nested in it.

        A field that is a dictionary has none.
        """
        return section_parameters(self.section)

    def collect(self, values: Values) -> object:
        """Return the dataclass with the given options; print warnings about those that have no effect.

        Raises ConfigError for invalid values, and for an option without effect that would mislead.
        """
        names = self.names(values)
        try:
            section: Any = from_dict(self.section, self.given(values))
        except ConfigError as error:
            # Options come only from flags, so a missing value is a missing flag, too. A problem with
            # several options has no key, and names them itself.
            raise error.with_keys(
                lambda key: names.get(key, flag(key)) if key else ""
            ) from None
        # Only options that were given are worth a warning; unused defaults are not.
        unused = {
            key: rule for key, rule in find_unused(section).items() if key in names
        }
        warn_unused(refuse_misleading(unused), names)
        return section

    def given(self, values: Values) -> dict[str, Any]:
        """Return only the options that were given, unparsed, as nested dictionaries by section and name."""
        raw: dict[str, Any] = {}
        for key in self.names(values):
            section, _, name = key.rpartition(".")
            table = raw.setdefault(section, {}) if section else raw
            table[name] = join_repeated(values[name])
        return raw

    def names(self, values: Values) -> dict[str, str]:
        """Return the flag of each option that was given, by dotted key: `--lr` under `optim.lr`."""
        names = {}
        for option in iter_options(self.section):
            # Names of options are unique over all sections, so parameters need no prefix.
            name = option.key.rpartition(".")[2]
            value = join_repeated(values.get(name))
            if value is not None:
                names[option.key] = flag_text(name, value)
        return names


def bind(
    run: Callable[..., None], command: str, args: Sequence[str]
) -> Callable[..., None]:
    """Return a function that calls `run`, the function of a command, and whose parameters Typer understands.

    A parameter of `run` that is a dataclass or an option group becomes several options, whose values are
    collected again before the call. `args` are the arguments of the command, on which options may depend.
    The function raises ConfigErrors as MasscliErrors, which name options as they were typed.
    """
    allow_named_code(command, args)
    # The parser empties the list that it is given.
    args = tuple(args)
    # Annotations are texts, which have to be evaluated to tell dataclasses from other types.
    signature = inspect.signature(run, eval_str=True)
    groups: dict[str, OptionGroup] = {}
    parameters: list[inspect.Parameter] = []
    for declared in signature.parameters.values():
        group = _option_group(declared.annotation, command, args)
        if group is None:
            parameters.append(_plain_parameter(declared))
        else:
            groups[declared.name] = group
            parameters += group.parameters()
    if command in READERS:
        parameters.append(allow_code_parameter())

    @functools.wraps(run)
    def call(**values: Any) -> None:
        plain = [name for name in signature.parameters if name not in groups]
        names = {name: _declared_name(signature.parameters[name]) for name in plain}
        for group in groups.values():
            names |= group.names(values)
        try:
            arguments = _parse_plain(
                [signature.parameters[name] for name in plain], values
            )
            for name, group in groups.items():
                arguments[name] = group.collect(values)
            run(**arguments)
        # The error names keys, which the user may have given by a flag, in a file or with --set.
        except ConfigError as error:
            raise _with_help_hint(
                error.with_keys(lambda key: names.get(key, key)), command, args
            ) from None

    # Typer reads these two; the type stubs do not know that inspect honors the first.
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {
        declared.name: declared.annotation for declared in parameters
    }
    return call


def _with_help_hint(
    error: ConfigError, command: str, args: Sequence[str]
) -> MasscliError:
    """Return a MasscliError with the message and hint of `error`, whose keys are flags as they were typed.

    Without a hint, it says what a refused value of another toolkit is here, or else names the help of the
    command. `args` are the arguments of the command.
    """
    from masscli.cli.foreign.table import explain_value

    hint = error.hint
    for problem in error.problems:
        value = peek_option(args, problem.key)
        if hint is None and value is not None:
            hint = explain_value(problem.key, value, command)
    return MasscliError(error.message, hint or f"masscli {command} --help")


def join_repeated(value: Any) -> Any:
    """Return the value of an option; those of a repeated one are joined by commas, or None if not given.

    An empty value that was given is kept: it is an empty list, which overrides that of a file.
    """
    if isinstance(value, (list, tuple)):
        if not value:
            return None
        return ",".join(value)
    return value


def _option_group(
    annotation: Any, command: str, args: Sequence[str]
) -> OptionGroup | None:
    """Return the options that a parameter of a command stands for, or None for an ordinary Typer parameter.

    The annotation is a configuration dataclass, or `Annotated[T, Group]` with a subclass of OptionGroup,
    which is made for the arguments `args` of the command. Raises MasscliError if they name something that the
    group does not know, such as an objective.
    """
    # Of Annotated[T, Group] the arguments are T and Group.
    for extra in typing.get_args(annotation)[1:]:
        if isinstance(extra, type) and issubclass(extra, OptionGroup):
            try:
                return cast(OptionGroup, cast(Any, extra)(command, args))
            # For example an objective in `args` that does not exist.
            except ConfigError as error:
                raise _with_help_hint(error, command, args) from None
    if isinstance(annotation, type) and is_dataclass(annotation):
        return SectionOptions(annotation)
    return None


def _plain_parameter(declared: inspect.Parameter) -> inspect.Parameter:
    """Return the Typer parameter for a parameter of a command that is not a group of options.

    It is passed by name, since the parameters of groups have no fixed number. Typer gets the values as
    strings, except those of a bool; the help of an option says its choices and its default.
    """
    declared = declared.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    kind, info, *_ = typing.get_args(declared.annotation)
    if without_none(kind) is bool:
        return declared
    info = copy.copy(info)
    if isinstance(info, typer.models.OptionInfo):
        # The names that Typer gives to types differ between its versions, too.
        info.metavar = info.metavar or type_name(kind).upper()
        choices = choices_of(kind)
        if choices:
            info.metavar = "CHOICE"
            info.autocompletion = completer(choices)
    # The limit is checked when the string has been parsed.
    info.min = None
    if declared.default is not inspect.Parameter.empty:
        facts = format_facts(choices_of(kind), declared.default)
        info.help = f"{info.help} {facts}".rstrip()
        declared = declared.replace(default=None)
    text_kind: Any = str | None
    if _item_kind(kind) is not None:
        text_kind = list[str] | None
    return declared.replace(annotation=Annotated[text_kind, info])


def _declared_name(declared: inspect.Parameter) -> str:
    """Return what a user calls a parameter of a command: `--from`, or for an argument its name in the help.

    The flag need not be the name of the parameter, which may be a reserved word of Python.
    """
    _, info, *_ = typing.get_args(declared.annotation)
    # Within Annotated, Typer keeps the first of the declared flags as the default.
    if isinstance(info, typer.models.OptionInfo):
        return info.default if isinstance(info.default, str) else flag(declared.name)
    return info.metavar or declared.name.upper()


def _item_kind(kind: Any) -> Any:
    """Return the type of the items of a list type, which may be optional, or None for any other type."""
    kind = without_none(kind)
    if typing.get_origin(kind) is not list:
        return None
    (item_kind,) = typing.get_args(kind)
    return item_kind


def _parse_plain(
    parameters: Iterable[inspect.Parameter], values: Values
) -> dict[str, Any]:
    """Return the values of parameters that are not groups of options, in the types of their declarations.

    One that was not given has its default. Raises one ConfigError with all values that do not fit; its keys
    are the names of the parameters.
    """
    parsed = {}
    problems: list[Problem] = []
    for declared in parameters:
        name = declared.name
        kind, info, *_ = typing.get_args(declared.annotation)
        given = values[name]
        # A list without items was not given either.
        if given is None or given == () or given == []:
            parsed[name] = declared.default
            continue
        try:
            parsed[name] = _parse_given(kind, info, given)
        except ConfigError as error:
            problems += [problem.under(name) for problem in error.problems]
    if problems:
        raise ConfigError(*problems)
    return parsed


def _parse_given(
    kind: Any, info: typer.models.ParameterInfo, given: str | bool | Sequence[str]
) -> object:
    """Return the value that was given to a parameter of a command, in the type `kind`.

    It is one string, several strings for a list, or a bool. Raises ConfigError, with an empty key, if it does
    not fit or is below the `min` in Typer's `info`.
    """
    item_kind = _item_kind(kind)
    if item_kind is not None:
        items = cast(Sequence[str], given)
        return [parse_value(item_kind, item) for item in items]
    value: Any = parse_value(kind, given)
    if info.min is not None and value < info.min:
        raise ConfigError(Problem("", f"must be at least {info.min}, got {value}"))
    return value
