"""Convert generation settings between Hugging Face's library and masscli.

A folder of Hugging Face has them in generation_config.json, and an older one in config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.folder import read_json_if_present
from masscli.core.config import ConfigError, from_dict
from masscli.core.errors import MasscliError
from masscli.generation.config import GenerationConfig

GENERATION_CONFIG = "generation_config.json"
_NAMES = {
    "beam": "num_beams",
    "lenpen": "length_penalty",
    "no_repeat_ngram_size": "no_repeat_ngram_size",
    "min_len": "min_length",
}
"""Fields of masscli's `GenerationConfig`, each with its name in generation_config.json."""

_START_AND_END = 2
"""Special tokens that Hugging Face's max_length counts besides forced ones: start and end symbol."""


def read_generation_settings(folder: Path, config: Mapping[str, Any], forced: int) -> dict[str, str]:
    """Return the default search of a model of Hugging Face, as text by field of `GenerationConfig`.

    Each setting comes from generation_config.json in `folder`, or else from `config`, its config.json; those
    that neither of them has are left out. `forced` is the number of tokens that every output is forced to
    begin with; masscli's lengths do not count them. Raises MasscliError if a setting is wrong.
    """
    settings = {**config, **read_json_if_present(folder / GENERATION_CONFIG)}
    options: dict[str, Any] = {}
    for field, name in _NAMES.items():
        if settings.get(name) is not None:
            options[field] = settings[name]
    if settings.get("early_stopping") is True:
        options["early_stop"] = True
    # Their lengths count the start symbol, forced tokens, and the end symbol.
    if type(settings.get("max_length")) is int:
        options["max_len_a"] = 0.0
        options["max_len_b"] = max(1, settings["max_length"] - _START_AND_END - forced)
    if "min_len" in options and type(options["min_len"]) is int:
        options["min_len"] = max(1, options["min_len"] - 1 - forced)
    try:
        from_dict(GenerationConfig, options)
    except ConfigError as error:
        reason = str(error).splitlines()[0]
        raise MasscliError(f"{folder}: its generation settings are wrong: {reason}") from None
    # In the form that is typed on a command line.
    return {field: str(value).lower() for field, value in options.items()}


def write_generation_settings(options: Mapping[str, str], max_positions: int, forced: int) -> dict[str, Any]:
    """Return a search as entries of Hugging Face's generation_config.json.

    `options` are fields of `GenerationConfig` as text, and other fields have their defaults; early_stopping
    is always true. max_length is `max_positions`, or less if `options` give max_len_b and max_len_a is 0.
    `forced` is the number of tokens that every output is forced to begin with.
    """
    search = from_dict(GenerationConfig, options)
    settings: dict[str, Any] = {name: getattr(search, field) for field, name in _NAMES.items()}
    # There is no rule like max_len_a: the length limit is that of the model.
    longest = max_positions
    if "max_len_b" in options and search.max_len_a == 0:
        longest = min(longest, search.max_len_b + _START_AND_END + forced)
    return {
        **settings,
        "early_stopping": True,
        "max_length": longest,
        "min_length": search.min_len + 1 + forced,
    }
