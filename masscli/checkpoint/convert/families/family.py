"""Describe a model family of Hugging Face's library: names of tensors and settings, and fixed settings.

This module does not import torch. A table of names maps masscli's name of a tensor to Hugging Face's.
In both, `*` stands for `weight` and `bias`, and `#` for the number of a layer; in Hugging Face's name,
`~` stands for the family's prefix. Queries, keys and values are one tensor in masscli: Hugging Face's
names are separated by spaces, and their tensors are concatenated in this order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Names = Mapping[str, str]
"""A table of names as described above, or one of fields of `ModelConfig` and keys of config.json."""


@dataclass(frozen=True, slots=True)
class Family:
    """A family of models with one stack, such as BERT: its names in Hugging Face's library, and limits."""

    model_type: str
    """The value of `model_type` in config.json."""
    title: str
    """The name of the family in messages."""
    arch: str
    """The preset (presets.toml) for the settings of the model that config.json does not give."""
    preset_prefix: str
    """The prefix of the names of the family's presets."""
    tokenizer_class: str
    """Hugging Face's tokenizer class, used if the files of a folder do not name one."""
    roles: tuple[str, ...]
    """The special tokens that the models have, as named by `Vocabulary`, such as `pad` and `cls`."""
    objective: str
    """masscli's name of the objective that the published models were pre-trained with."""
    prefix: str
    """The prefix of tensor names of the body in a model with heads, such as `bert.`; bare models lack it."""
    body: Names
    """Tensor names of embeddings and layers."""
    pooler: Names
    """Tensor names of the pooler over the first token; empty if the family has none."""
    lm_head: Names
    """Tensor names of the LM head except its output weights: transform and bias; empty if it has neither."""
    output_weight: str
    """Hugging Face's name of the output weights, which files may lack if the token embeddings are tied."""
    objective_head: Names
    """Tensor names of the head of the pre-training objective besides the LM head; empty if there is none."""
    tied_bias: Names
    """A second name of the output bias in files, mapped to its first name; both are Hugging Face's."""
    task_prefixes: tuple[str, ...]
    """Prefixes of the tensor names of downstream task heads."""
    config_keys: Names
    """Fields of masscli's `ModelConfig`, mapped to the keys of config.json that hold them."""
    full_class: str
    """Hugging Face's class for pre-training: with the LM head and the head of the objective, if the
    family has both; ELECTRA's class has only the latter."""
    lm_class: str
    """Hugging Face's class with the LM head only."""
    bare_class: str
    """Hugging Face's class for a model without heads or, for GPT and GPT-2, with the only head that
    they have."""
    activations: Mapping[str, str]
    """masscli's name of each activation by its name in config.json; others are not supported."""
    objective_outputs: Mapping[str, int] = field(default_factory=dict)
    """The number of outputs of the linear layers in the objective's head, by masscli's name of the
    layer, where it differs from the width of the model."""
    config_defaults: Mapping[str, Any] = field(default_factory=dict)
    """Hugging Face's defaults for settings that config.json may lack, by field of `ModelConfig`. Sizes
    have no defaults: a file without them is incomplete."""
    required_config: Mapping[str, Any] = field(default_factory=dict)
    """Values that keys of config.json must have if they are present; an export also writes them."""
    transposed: bool = False
    """Whether Hugging Face stores the weight matrices of layers as (in, out) instead of (out, in)."""
    positions_after_padding: bool = False
    """Whether position embeddings begin at row (id of padding) + 1, as in fairseq, instead of row 0."""
    fixed_head_activation: str | None = None
    """The activation of the LM head, whatever config.json says; None if it is that of the layers."""
    unknown_tensor_hint: str = (
        "a model with other parts than the published ones cannot be imported"
    )
    """The hint in the error about a tensor that the family does not have."""

    @property
    def is_encoder(self) -> bool:
        """Whether the models are encoders; otherwise they are decoder-only language models."""
        return "encoder_layers" in self.config_keys

    def tensor_names(self, *tables: Names, layers: int) -> dict[str, tuple[str, ...]]:
        """Return, for each of masscli's tensors by name, Hugging Face's names of the tensors that make it up.

        `tables` are tables of names of this family, whose placeholders are filled in for `layers`
        layers. Where there are several names, the tensors are concatenated.
        """
        names = {}
        for table in tables:
            for our_pattern, their_pattern in table.items():
                for ours, theirs in expand_names(our_pattern, their_pattern, layers):
                    names[ours] = tuple(theirs.replace("~", self.prefix).split())
        return names


def expand_names(ours: str, theirs: str, layers: int) -> list[tuple[str, str]]:
    """Return the pairs (masscli's tensor name, Hugging Face's) that one row of a table of names stands for.

    `#` is replaced by each number below `layers`, and `*` by weight and bias, in both names alike.
    """
    pairs = [(ours, theirs)]
    if "#" in ours:
        pairs = [
            (ours.replace("#", str(layer)), theirs.replace("#", str(layer)))
            for layer in range(layers)
        ]
    if "*" not in ours:
        return pairs
    expanded = []
    for left, right in pairs:
        for kind in ("weight", "bias"):
            expanded.append((left.replace("*", kind), right.replace("*", kind)))
    return expanded
