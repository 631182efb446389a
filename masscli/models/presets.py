"""Named sizes: from what the user said about a model to a complete `ModelConfig`."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from masscli.core.config import ConfigError, Problem, from_dict, suggest
from masscli.models.config import ModelConfig


@functools.cache
def presets() -> dict[str, dict[str, Any]]:
    """Every named size of presets.toml."""
    return tomllib.loads(files("masscli.models").joinpath("presets.toml").read_text(encoding="utf-8"))


def resolve(said: Mapping[str, Any], stacks: str = "encoder-decoder") -> ModelConfig:
    """Defaults, below the named size, below what was said; `stacks` leaves out the half that an objective has no use for.

    Raises ConfigError on an unknown name or key.
    """
    arch = said.get("arch", "tiny")
    if arch not in presets():
        known = suggest(str(arch), list(presets()))
        raise ConfigError(Problem("model.arch", f"no size called {arch!r}{known}"))
    halves: dict[str, Any] = {"encoder": {"decoder_layers": 0}, "decoder": {"encoder_layers": 0}}.get(
        stacks, {}
    )
    return from_dict(ModelConfig, {"arch": arch, **presets()[arch], **halves, **said}, "model")
