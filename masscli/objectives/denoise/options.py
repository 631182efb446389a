"""The options of the built-in objectives, apart from them so that help screens need no torch.

The presets of MASS are the table of the released code bases: the fields that a preset fixes default to `None` here and are filled in by
`MassOptions.resolved`; what the user says wins.
"""

from __future__ import annotations

from typing import ClassVar

from masscli.core.config import check, config
from masscli.objectives.shared.options import SwitchingOptions, _share


@config
class DenoiseOptions(SwitchingOptions):
    """Denoising auto-encoder (the DAE baseline; noise of Lample et al. 2018)."""

    implementation: ClassVar[str] = "masscli.objectives.denoise.objective:Denoise"
    parameter_group = "encoder-decoder"
    name: str = "denoise"
    """Which."""
    word_shuffle: float = 3.0
    """No token moves further than about this many places; 0 keeps the order."""
    word_dropout: float = 0.1
    """Share of tokens that are left out."""
    word_blank: float = 0.1
    """Share of tokens that are replaced by [M]."""

    def __post_init__(self) -> None:
        SwitchingOptions.__post_init__(self)
        check(
            (self.word_shuffle >= 0, "word_shuffle", f"must not be negative, got {self.word_shuffle}"),
            _share("word_dropout", self.word_dropout),
            _share("word_blank", self.word_blank),
        )
