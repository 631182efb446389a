"""Named sizes: from the options that a user gave for a model to a complete `ModelConfig`."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from masscli.core.config import ConfigError, Problem, from_dict, suggest
from masscli.models.config import ModelConfig

WITHOUT_OTHER_STACK = {
    "encoder": {"decoder_layers": 0},
    "decoder": {"encoder_layers": 0},
}
"""The options that leave out the stack that is not needed, by the name of the only stack that is."""


@functools.cache
def presets() -> dict[str, dict[str, Any]]:
    """Return the options of every named size in presets.toml, by its name."""
    return tomllib.loads(
        files("masscli.models").joinpath("presets.toml").read_text(encoding="utf-8")
    )


def resolve(options: Mapping[str, Any], stacks: str = "encoder-decoder") -> ModelConfig:
    """Return the complete configuration of a model from the options that a user gave.

    Missing options come from the preset that `arch` names (default: tiny), or else from the defaults.
    If `stacks` is `encoder` or `decoder`, the other stack gets no layers unless `options` says so.
    Raises ConfigError for an unknown size or key, or for a value that is not allowed.
    """
    arch = options.get("arch", "tiny")
    if arch not in presets():
        suggestion = suggest(str(arch), list(presets()))
        raise ConfigError(Problem("model.arch", f"no size called {arch!r}{suggestion}"))
    # Later entries override earlier ones: user options, then the needs of the objective, then the
    # preset.
    values = {
        "arch": arch,
        **presets()[arch],
        **WITHOUT_OTHER_STACK.get(stacks, {}),
        **options,
    }
    return from_dict(ModelConfig, values, "model")
