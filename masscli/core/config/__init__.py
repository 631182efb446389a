"""Typed configuration: dataclasses that define TOML schema, command line and checkpoint metadata.

A section is declared with `@config`; a field's type, its default and the string literal under it are
the whole declaration. `from_dict` builds a section from plain data, `to_dict` is its inverse, `to_toml`
writes plain data and `parse_toml` reads it, `merge` and `override` replace values in it, and
`iter_options` lists the fields for help screens and flags. This package does not depend on models or
text. No string is ever evaluated: it is parsed according to the type of its field, and all problems of
a file are collected before one `ConfigError` is raised.
"""

from __future__ import annotations

from masscli.core.config.declare import (
    NUMBER_AS_TEXT,
    Flags,
    PlugIn,
    PlugInRegistry,
    Rule,
    UnusedOption,
    check,
    config,
)
from masscli.core.config.decode import from_dict, parse_value, split_at_commas
from masscli.core.config.document import OptionInfo, field_docs, iter_options, type_name
from masscli.core.config.encode import to_dict
from masscli.core.config.errors import ConfigError, Problem, join_key, suggest
from masscli.core.config.overrides import merge, override
from masscli.core.config.rules import (
    at_least,
    at_most,
    below_one,
    each_once,
    not_negative,
    positive,
)
from masscli.core.config.toml import MAX_INTEGER, parse_toml, to_toml
from masscli.core.config.unused import find_unused, is_changed, refuse_misleading

__all__ = [
    "MAX_INTEGER",
    "NUMBER_AS_TEXT",
    "ConfigError",
    "Flags",
    "OptionInfo",
    "PlugIn",
    "PlugInRegistry",
    "Problem",
    "Rule",
    "UnusedOption",
    "at_least",
    "at_most",
    "below_one",
    "check",
    "config",
    "each_once",
    "field_docs",
    "find_unused",
    "from_dict",
    "is_changed",
    "iter_options",
    "join_key",
    "merge",
    "not_negative",
    "override",
    "parse_toml",
    "parse_value",
    "positive",
    "refuse_misleading",
    "split_at_commas",
    "suggest",
    "to_dict",
    "to_toml",
    "type_name",
]
