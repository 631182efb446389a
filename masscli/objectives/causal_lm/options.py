"""The options of causal language models. This module does not import torch, so that --help is fast."""

from __future__ import annotations

from typing import Annotated, ClassVar

from masscli.core.config import Flags, check, config
from masscli.objectives.registry import ObjectiveConfig, Stacks
from masscli.objectives.shared.options import SentenceMaskingOptions, min_length_rule


@config
class CausalLMOptions(ObjectiveConfig):
    """Causal language model over sentences, with the decoder alone."""

    implementation: ClassVar[str] = "masscli.objectives.causal_lm.clm:CausalLM"
    stacks: ClassVar[Stacks] = "decoder"
    name: str = "clm"
    """The objective."""


@config
class GptOptions(ObjectiveConfig):
    """Causal language model over running text (Radford et al. 2018)."""

    implementation: ClassVar[str] = "masscli.objectives.causal_lm.gpt:Gpt"
    stacks: ClassVar[Stacks] = "decoder"
    name: str = "gpt"
    """The objective."""
    tokens_per_sample: Annotated[int, Flags("--block-size")] = 512
    """Length of a window of running text in tokens."""

    def __post_init__(self) -> None:
        check(min_length_rule("tokens_per_sample", self.tokens_per_sample))

    def max_example_length(self, prefix_length: int) -> tuple[str, int]:
        """Return the name of the option that sets the length of a window, and its value in tokens."""
        return "tokens_per_sample", self.tokens_per_sample


@config
class BertLMOptions(SentenceMaskingOptions):
    """Masked language model for the encoder, causal one for the decoder: the BERT+LM baseline of MASS."""

    implementation: ClassVar[str] = "masscli.objectives.causal_lm.bert_lm:BertLM"
    stacks: ClassVar[Stacks] = "encoder-decoder"
    name: str = "bert+lm"
    """The objective."""
