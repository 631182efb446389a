"""The options of the built-in objectives, apart from them so that help screens need no torch.

The presets of MASS are the table of the released code bases: the fields that a preset fixes default to `None` here and are filled in by
`MassOptions.resolved`; what the user says wins.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from masscli.core.config import Flags, check, config
from masscli.objectives.masked_lm.options import MaskedLMOptions
from masscli.objectives.registry import ObjectiveConfig


@config
class CausalLMOptions(ObjectiveConfig):
    """Causal language model over sentences, with the decoder alone."""

    implementation: ClassVar[str] = "masscli.objectives.causal_lm.clm:CausalLM"
    stacks: ClassVar[Literal["encoder-decoder", "encoder", "decoder", "any"]] = "decoder"
    name: str = "clm"
    """Which."""


@config
class GptOptions(ObjectiveConfig):
    """Causal language model over running text (Radford et al. 2018)."""

    implementation: ClassVar[str] = "masscli.objectives.causal_lm.gpt:Gpt"
    stacks = "decoder"
    name: str = "gpt"
    """Which."""
    tokens_per_sample: Annotated[int, Flags("--block-size")] = 512
    """Tokens of a window of running text."""

    def __post_init__(self) -> None:
        check(
            (
                self.tokens_per_sample >= 8,
                "tokens_per_sample",
                f"must be at least 8, got {self.tokens_per_sample}",
            )
        )

    def max_example_length(self, lead: int) -> tuple[str, int]:
        return "tokens_per_sample", self.tokens_per_sample


@config
class BertLMOptions(MaskedLMOptions):
    """Masked language model for the encoder and causal language model for the decoder: the BERT+LM baseline of the MASS paper."""

    implementation: ClassVar[str] = "masscli.objectives.causal_lm.bert_lm:BertLM"
    stacks = "encoder-decoder"
    name: str = "bert+lm"
    """Which."""
