"""Masked sequence-to-sequence pre-training (MASS) and its relatives, on the command line and in Python.

`import masscli` is fast: public names, and with them PyTorch, are imported on first use.
"""

from __future__ import annotations

import sys

# `python -m masscli` lets any file of the current folder, such as one called json.py, take the place of a
# module. Unless masscli itself is imported from there, nothing else should be. At this time sys.argv still
# begins with -m, since the program is only being looked for.
_is_program = sys.argv[:1] == ["-m"] and "masscli" in sys.orig_argv
if (
    _is_program
    and not sys.flags.safe_path
    and not __file__.startswith(f"{sys.path[0]}/")
):
    del sys.path[0]

import importlib  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

from masscli.version import __version__  # noqa: E402

if TYPE_CHECKING:
    from masscli.api.model import Model, load
    from masscli.api.text_translation import TextTranslation
    from masscli.api.training import compose_recipe, finetune, pretrain
    from masscli.core.errors import MasscliError
    from masscli.generation.translation import Translation
    from masscli.objectives.shared.evaluable_objective import Prediction
    from masscli.training.recipe import Recipe

__all__ = [
    "MasscliError",
    "Model",
    "Prediction",
    "Recipe",
    "TextTranslation",
    "Translation",
    "__version__",
    "compose_recipe",
    "finetune",
    "load",
    "pretrain",
]

_MODULES = {
    "MasscliError": "masscli.core.errors",
    "Model": "masscli.api.model",
    "Prediction": "masscli.objectives.shared.evaluable_objective",
    "Recipe": "masscli.training.recipe",
    "TextTranslation": "masscli.api.text_translation",
    "Translation": "masscli.generation.translation",
    "compose_recipe": "masscli.api.training",
    "finetune": "masscli.api.training",
    "load": "masscli.api.model",
    "pretrain": "masscli.api.training",
}
"""Where each public name is defined."""


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'masscli' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """List the public names, including those not used yet."""
    return sorted(__all__)
